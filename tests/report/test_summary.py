"""The final summary: its line on groups without variance, and the next commands."""

from pathlib import Path

import pytest

from gspo_lite.report.summary import dynamic_sampling, next_commands

FLAT = "frac_reward_zero_std"
COST = "gspo/oversample/"


def test_the_estimate_goes_rollout_by_rollout():
    steps = [{FLAT: 0.0}, {"loss": 1.0}, {FLAT: 0.5}, {FLAT: None}, {FLAT: 0.75}, {FLAT: 0.75}]
    # sampled again: mean 0.5; gained: (0.25 + 0.1875 + 0.1875) of 1 + 0.5 + 0.25 + 0.25 that teach
    (line,) = dynamic_sampling(steps)
    assert line.startswith("50% of the groups had no variance")
    assert "about 50% more completions for 31% more groups" in line


def test_what_it_cost_is_said_where_it_was_on():
    steps = [
        {FLAT: 0.5, COST + "extra_groups": 4.0, COST + "kept_share": 0.75, COST + "seconds": 61.0},
        {FLAT: 0.25, COST + "extra_groups": 0.0, COST + "seconds": 0.0},
    ]
    assert dynamic_sampling(steps) == [
        "38% of the groups had no variance and taught nothing; 4 groups of new prompts were sampled in 1:01, and "
        "3 of them replaced such a group"
    ]


@pytest.mark.parametrize(("steps", "said"), [([], 0), ([{FLAT: 0.09}], 0), ([{"loss": 1.0}], 0), ([{FLAT: 1.0}], 1)])
def test_it_is_silent_where_there_is_little_to_gain(steps, said):
    lines = dynamic_sampling(steps)
    assert len(lines) == said
    assert "oversample" not in "".join(lines)


def test_where_nothing_could_be_learned_the_way_to_the_cause_is_named():
    (line,) = dynamic_sampling([{FLAT: 1.0}])
    assert line.endswith("taught nothing; `gspo-lite rewards preview RECIPE` says what to change")


def test_what_to_do_next_stands_in_two_columns():
    lines = next_commands(Path("runs/one"))
    starts = {
        line.index(what) for line, what in zip(lines, ("talk", "measure", "write", "repeat", "list"), strict=True)
    }
    assert len(starts) == 1
