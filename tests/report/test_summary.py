"""The final summary: its line on groups without variance, and the next commands."""

from pathlib import Path

import pytest

from gspo_lite.report.summary import (
    dynamic_sampling,
    failed_calls,
    final_summary,
    lines_of,
    next_commands,
    resumed,
    table,
    warmed,
)
from gspo_lite.system import run_folder

FLAT = "frac_reward_zero_std"
COST = "gspo/oversample/"


def test_the_estimate_goes_rollout_by_rollout():
    steps = [{FLAT: 0.0}, {"loss": 1.0}, {FLAT: 0.5}, {FLAT: None}, {FLAT: 0.75}, {FLAT: 0.75}]
    # gained: 0 + 0.5 + 0.25 + 0.25 to 1 + 0.5 + 0.25 + 0.25 that teach
    (line,) = dynamic_sampling(steps)
    assert line.startswith("50% of the groups had no variance")
    assert line.endswith("twice as many completions in one call for about 50% more groups with variance")


def test_what_it_gained_and_cost_is_said_where_it_was_on():
    steps = [
        {FLAT: 0.5, COST + "flat_share": 0.25, COST + "dropped_share": 0.0},
        {"loss": 1.0},
        {FLAT: 0.25, COST + "flat_share": 0.0, COST + "dropped_share": 0.5},
    ]
    assert dynamic_sampling(steps) == [
        "38% of the sampled groups had no variance, and 12% of those trained on; 25% of the groups with variance did "
        "not fit into their rollout and were dropped"
    ]
    assert "0% of the sampled groups" in dynamic_sampling([{FLAT: 0.0, **dict.fromkeys(steps[0], 0.0)}])[0]


@pytest.mark.parametrize(("steps", "said"), [([], 0), ([{FLAT: 0.09}], 0), ([{"loss": 1.0}], 0), ([{FLAT: 1.0}], 1)])
def test_it_is_silent_where_there_is_little_to_gain(steps, said):
    lines = dynamic_sampling(steps)
    assert len(lines) == said
    assert "sample_factor" not in "".join(lines)


def test_where_nothing_could_be_learned_the_way_to_the_cause_is_named():
    (line,) = dynamic_sampling([{FLAT: 1.0}])
    assert line.endswith("taught nothing; `gspo-lite rewards preview RECIPE` says what to change")


def test_calls_that_went_wrong_are_named_with_their_share():
    many, few = {"tools/calls_per_episode": 3.0}, {"tools/calls_per_episode": 1.0}
    steps = [
        {**many, "tools/error": 0.5, "tools/late": 0.0, "tools/cut": 0.0, "tools/refused": 0.0},
        {"loss": 1.0},
        {**few, "tools/error": 0.1, "tools/late": 0.1, "tools/cut": 0.0, "tools/refused": 0.0},
    ]
    # errors: (3 x 0.5 + 1 x 0.1) / 4; late: 1 x 0.1 / 4
    assert failed_calls(steps) == [
        "of the calls of tools in training, 40.0% failed, 2.5% ran out of time; completions.jsonl shows some"
    ]
    assert failed_calls([{"loss": 1.0}, {**many, "tools/error": 0.0}, {"tools/calls_per_episode": 0.0}]) == []


FIGURES = {
    "accuracy": 1.0, "ci95": [1.0, 1.0], "sampled_accuracy": 0.05, "sampled_ci95": [0.0, 0.1],
    "lenient_accuracy": 1.0, "format_rate": 1.0, "n": 400, "mean_tokens": 20.0, "rewards": {"math_correct": 0.5},
}  # fmt: skip


def test_columns_stay_apart_where_everything_is_right():
    lines = table(FIGURES, FIGURES)
    assert lines[1] == "  greedy accuracy      100.0% (100% to 100%)   100.0% (100% to 100%)"
    assert {len(line) for line in lines} == {68}


def test_a_share_in_the_right_format_is_shown_where_there_is_a_format():
    formless = {**FIGURES, "format_rate": None}
    for known in (table(FIGURES, FIGURES), lines_of(FIGURES)):
        assert "right format" in "".join(known)
    for unknown in (table(formless, formless), lines_of(formless), warmed({"warmed": formless})):
        assert "right format" not in "".join(unknown)
    assert warmed({"warmed": FIGURES}) == [
        "The supervised warm-up alone reached 100.0% (100% to 100%), right format 100.0%; RL did the rest."
    ]


def test_times_are_of_all_parts_of_a_resumed_run(tmp_path):
    run_folder.write_json(tmp_path / run_folder.EVAL, {"before": FIGURES, "after": FIGURES})
    facts = {"seconds": {"load": 30.0, "train": 200.0}, "peak_memory_gib": 1.0, "resumed": ["today"]}
    run_folder.write_json(tmp_path / run_folder.ENVIRONMENT, facts)
    run_folder.append_jsonl(tmp_path / run_folder.METRICS, [{"step": 24}])
    assert "24 steps in 3:20, the whole run in 3:50 (resumed once), peak memory 1.0 GiB" in final_summary(tmp_path)
    assert [resumed({"resumed": ["a", "b"]}), resumed({})] == [" (resumed 2 times)", ""]


def test_what_to_do_next_stands_in_two_columns():
    lines = next_commands(Path("runs/one"))
    starts = {
        line.index(what) for line, what in zip(lines, ("talk", "measure", "write", "repeat", "list"), strict=True)
    }
    assert len(starts) == 1
