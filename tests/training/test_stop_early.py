"""When training ends early, as a pure function of the held-out figures so far."""

import pytest

from gspo_lite.training.watch.stop_early import best_of, evaluated, reason_to_stop


def rows(*figures):
    """Rows of (accuracy of 100 problems, half a 95 percent interval, training reward), ten steps apart."""
    return [
        {"step": 10 * place, "eval_accuracy": accuracy, "eval_accuracy_low": accuracy - half,
         "eval_accuracy_high": accuracy + half, "eval_training_reward": reward}
        for place, (accuracy, half, reward) in enumerate(figures, 1)
    ]  # fmt: skip


RISING = rows((0.5, 0.1, 0.2), (0.6, 0.1, 0.3), (0.7, 0.09, 0.4))


def test_the_earliest_of_equals_is_the_best():
    assert best_of(rows((0.5, 0.1, 0), (0.6, 0.1, 0), (0.6, 0.1, 0)))["step"] == 20


def test_only_rows_with_held_out_accuracy_count():
    assert evaluated([{"step": 1, "reward": 1.0}, {"step": 2, "eval_accuracy": None}, *RISING]) == RISING


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ([], None),
        ([(0.5, 0.1, 0.2)], None),
        ([(0.5, 0.1, 0.2), (0.6, 0.1, 0.3), (0.7, 0.09, 0.4)], None),
        ([(0.6, 0.1, 0.3), (0.55, 0.1, 0.4)], None),  # one evaluation without a new best, and the intervals overlap
        (
            [(0.6, 0.1, 0.3), (0.55, 0.1, 0.4), (0.6, 0.1, 0.4)],  # an equal is no new best
            "2 evaluations without a new best: held-out accuracy 60.0%, after 60.0% at step 10",
        ),
        ([(0.6, 0.1, 0.3), (0.55, 0.1, 0.4), (0.61, 0.1, 0.4)], None),
        (
            [(0.6, 0.1, 0.3), (0.3, 0.09, 0.4)],  # 39% lies below 50%
            "the training reward rose from 0.30 to 0.40, but held-out accuracy 30.0%, after 60.0% at step 10: reward "
            "hacking is likely",
        ),
        ([(0.6, 0.1, 0.3), (0.4, 0.1, 0.4)], None),  # the intervals touch at 50%
        ([(0.6, 0.1, 0.4), (0.3, 0.09, 0.4)], None),  # the reward did not rise: a collapse, for which patience is there
        ([(0.6, 0.1, None), (0.3, 0.09, 0.4)], None),
    ],
)
def test_training_ends_after_its_patience_or_where_reward_and_accuracy_part(figures, reason):
    assert reason_to_stop(rows(*figures), patience=2) == reason
