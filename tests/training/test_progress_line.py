"""What a person reads while training: the objective's clip and the length limit have names of their own."""

from types import SimpleNamespace

from gspo_lite.training.watch.callbacks import Progress


def lines(*logs):
    shown = []
    progress = Progress("math_correct")
    progress.view = SimpleNamespace(update=lambda done, text: shown.append(text))
    for step, figures in enumerate(logs, 1):
        progress.on_log(None, SimpleNamespace(global_step=step), None, figures)
    return shown


def test_clipped_ratios_and_cut_off_completions_are_told_apart():
    first = {"reward": 0.5, "clip_ratio/region_mean": 0.0, "completions/clipped_ratio": 0.03}
    second = {"clip_ratio/region_mean": 0.4, "tokens_per_second": 1234.0}
    assert lines(first, second) == [
        "reward 0.50  ratio clipped 0%  cut off 3%",
        "reward 0.50  ratio clipped 20%  cut off 3%  tok/s 1234",  # the mean of the last steps
    ]


def test_what_is_not_cut_off_takes_no_room():
    cut, whole = {"reward": 0.5, "completions/clipped_ratio": 1.0}, {"reward": 0.5, "completions/clipped_ratio": 0.004}
    assert lines(cut, whole) == ["reward 0.50  cut off 100%", "reward 0.50"]


def test_a_run_with_tools_says_how_often_they_are_called_and_fail():
    bad = {"reward": 0.5, "tools/calls_per_episode": 1.52, "tools/error": 0.1, "tools/late": 0.02, "tools/refused": 0.0}
    good = {"tools/calls_per_episode": 2.0, "tools/error": 0.0, "tools/cut": 1.0}
    assert lines(bad, {"reward": 0.5}, good) == [
        "reward 0.50  calls 1.5  failed 12%", "reward 0.50  calls 1.5  failed 12%", "reward 0.50  calls 2.0",
    ]  # fmt: skip
