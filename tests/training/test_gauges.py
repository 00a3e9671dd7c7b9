import math

import pytest
import torch

from gspo_lite.training.watch.gauges import RatioGauges

# Two sequences: log s = (0.002 + 0.004) / 2 = 0.003 and -0.001 / 1; the second row's hole holds NaN.
LOG_RATIO = torch.tensor([[0.002, 0.004], [-0.001, math.nan]])
MASK = torch.tensor([[1, 1], [1, 0]])


def test_figures_of_the_sequence_ratio():
    gauges = RatioGauges("sequence", epsilon=3e-4, epsilon_high=4e-4)
    gauges.record(LOG_RATIO, MASK, torch.tensor([1.0, -1.0]))
    figures = gauges.figures()
    assert figures["gspo/log_ratio_mean"] == pytest.approx(0.001)
    assert figures["gspo/log_ratio_std"] == pytest.approx(0.002)
    assert figures["gspo/log_ratio_min"] == pytest.approx(-0.001)
    assert figures["gspo/log_ratio_max"] == pytest.approx(0.003)
    assert figures["gspo/on_policy_share"] == 0.0
    assert figures["gspo/clip_high_sequences"] == 0.5
    assert figures["gspo/clip_low_sequences"] == 0.5
    assert figures["gspo/clip_high_tokens"] == pytest.approx(2 / 3)


def test_at_token_level_each_token_is_clipped_by_its_own_ratio():
    gauges = RatioGauges("token", epsilon=3e-3, epsilon_high=3e-3)
    gauges.record(LOG_RATIO, MASK, torch.tensor([1.0, 1.0]))
    figures = gauges.figures()
    assert figures["gspo/clip_high_tokens"] == pytest.approx(1 / 3)  # 0.004 only
    assert figures["gspo/clip_high_sequences"] == 0.5


def test_a_sign_of_its_own_for_each_token_decides_what_is_clipped():
    gauges = RatioGauges("sequence_token", epsilon=3e-4, epsilon_high=4e-4)
    gauges.record(LOG_RATIO, MASK, torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
    figures = gauges.figures()
    assert figures["gspo/clip_high_tokens"] == pytest.approx(1 / 3)
    assert figures["gspo/clip_low_tokens"] == 0.0


@pytest.mark.parametrize(
    ("advantages", "share"),
    [
        ([1.0, -1.0], 1.0),  # both beyond the clip, each on the side of its advantage
        ([1.0, 1.0], 0.5),
        ([0.0, -1.0], 1.0),  # a row without an advantage has no say
        ([[1.0, 0.0], [-1.0, 0.0]], 1.0),
        ([[1.0, -1.0], [-1.0, 0.0]], 0.5),
        ([0.0, 0.0], None),
    ],
)
def test_rows_whose_every_token_is_clipped_add_nothing(advantages, share):
    gauges = RatioGauges("sequence_token", epsilon=3e-4, epsilon_high=4e-4)
    gauges.record(LOG_RATIO, MASK, torch.tensor(advantages))
    assert gauges.figures().get("gspo/fully_clipped_share") == share
    gauges.record(LOG_RATIO, MASK, torch.tensor(advantages))
    assert "gspo/fully_clipped_share" not in gauges.figures(unmoved=True)


def test_rows_that_have_not_moved_are_not_asked_whether_they_are_clipped():
    gauges = RatioGauges("sequence", epsilon=3e-4, epsilon_high=4e-4)
    gauges.record(torch.zeros(2, 2), MASK, torch.tensor([1.0, -1.0]))
    gauges.record(LOG_RATIO, MASK, torch.tensor([1.0, -1.0]))
    assert gauges.figures()["gspo/fully_clipped_share"] == 1.0


def test_the_first_mini_batch_is_on_policy():
    gauges = RatioGauges("sequence", epsilon=3e-4, epsilon_high=4e-4)
    gauges.record(torch.zeros(2, 2), MASK, torch.tensor([1.0, -1.0]))
    assert gauges.figures()["gspo/on_policy_share"] == 1.0


def test_figures_are_of_what_came_since_the_last_call():
    gauges = RatioGauges("sequence", epsilon=3e-4, epsilon_high=4e-4)
    assert gauges.figures() == {}
    gauges.record(LOG_RATIO, MASK, torch.tensor([1.0, -1.0]))
    gauges.figures()
    assert gauges.figures() == {}


def test_a_ratio_per_sequence_is_taken_as_it_is():
    gauges = RatioGauges("sequence", epsilon=3e-4, epsilon_high=4e-4)
    gauges.record(torch.tensor([[0.003], [-0.001]]), MASK, torch.tensor([1.0, -1.0]))
    assert gauges.figures()["gspo/log_ratio_mean"] == pytest.approx(0.001)


def test_the_noise_against_the_sampler_is_kept_for_probe():
    old, sampled = torch.tensor([[-1.0, -2.0], [-3.0, -9.0]]), torch.tensor([[-1.5, -2.0], [-3.0, 0.0]])
    gauges = RatioGauges("sequence", 3e-4, 4e-4, keep=True)
    output = {"old_per_token_logps": old, "completion_mask": torch.tensor([[1, 1], [1, 0]])}
    gauges.record_sampler(output)
    assert gauges.kept == {"trainer": [], "sampler": []}
    gauges.record_sampler({**output, "sampling_per_token_logps": sampled})
    assert gauges.kept == {"trainer": [], "sampler": [0.25, 0.0]}


def test_an_evaluation_leaves_no_ratios_for_the_next_step():
    gauges = RatioGauges("sequence", epsilon=3e-4, epsilon_high=4e-4)
    with torch.no_grad():
        gauges.record(LOG_RATIO, MASK, torch.tensor([1.0, -1.0]))
    assert gauges.figures() == {}
