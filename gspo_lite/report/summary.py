"""The final summary of a run: result, figures before and after, files and next commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from gspo_lite.report.facts import FORM, FigureRow, having_form
from gspo_lite.report.verdict import verdict, watched
from gspo_lite.system import run_folder
from gspo_lite.system.figures import measured, minutes, number
from gspo_lite.tools.shown import CALLS, END_WORDS

OVERSAMPLE = "gspo/oversample/"
WORTH_SAYING = 0.1  # share of groups without variance
WIDTH = 24  # of a column of figures, wider than `100.0% (100% to 100%)`
ROWS: tuple[FigureRow, ...] = (
    ("greedy accuracy", "accuracy", "ci95"),
    ("sampled accuracy", "sampled_accuracy", "sampled_ci95"),
    ("answer anywhere", "lenient_accuracy", None),
    ("right format", FORM, None),
)


def final_summary(folder: Path) -> str:
    """Return the summary of a finished run, from the files in its folder, with its files and what to do next."""
    return "\n".join(
        [
            "",
            *outcome(folder),
            "",
            f"  {folder}/report.html     the report: open it in a browser",
            f"  {folder}/{run_folder.ADAPTER}/        the trained adapter, for PEFT",
            "",
            "next:",
            *next_commands(folder),
        ]
    )


def resumed(facts: dict[str, Any]) -> str:
    """Return how often a run was resumed, in parentheses; nothing for one that never was."""
    times = len(facts.get("resumed", []))
    return f" (resumed {'once' if times == 1 else f'{times} times'})" if times else ""


def outcome(folder: Path) -> list[str]:
    """Return the lines on what a finished run has reached and what it took."""
    evaluation = run_folder.read_json(folder / run_folder.EVAL)
    facts = run_folder.read_json(folder / run_folder.ENVIRONMENT)
    steps = run_folder.read_jsonl(folder / run_folder.METRICS)
    return [
        verdict(evaluation),
        *warmed(evaluation),
        *watched(steps, evaluation, run_folder.read_jsonl(folder / run_folder.EVENTS)),
        "",
        *table(evaluation["before"], evaluation["after"]),
        "",
        f"{steps[-1]['step']} steps in {minutes(facts['seconds']['train'])}, the whole run in "
        f"{minutes(sum(facts['seconds'].values()))}{resumed(facts)}, peak memory "
        f"{facts['peak_memory_gib']:.1f} GiB",
        *failed_calls(steps),
        *dynamic_sampling(steps),
    ]


def next_commands(folder: Path) -> list[str]:
    """Return the commands for a finished run and their purpose, in two columns."""
    commands = {
        f"chat {folder}": "talk to it",
        f"eval {folder}": "measure it again",
        f"export {folder} --to merged": "write a model folder to use elsewhere",
        f"run {folder / run_folder.RECIPE} --output FOLDER": "repeat the run",
        "recipes": "list other recipes",
    }
    width = max(map(len, commands))
    return [f"  gspo-lite {command:{width}}  {purpose}" for command, purpose in commands.items()]


def dynamic_sampling(steps: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line on the gain and cost of `generation.sample_factor`, or on what it would gain; none if too little.

    Where it is off, the estimate takes the same share of further groups to be flat in each rollout.
    """
    flat, left, dropped = (
        [step[name] for step in steps if step.get(name) is not None]
        for name in ("frac_reward_zero_std", OVERSAMPLE + "flat_share", OVERSAMPLE + "dropped_share")
    )
    share = mean(flat) if flat else 0.0
    if left:
        return [
            f"{share:.0%} of the sampled groups had no variance, and {mean(left):.0%} of those trained on; "
            f"{mean(dropped):.0%} of the groups with variance did not fit into their rollout and were dropped"
        ]
    if share < WORTH_SAYING:
        return []
    said = f"{share:.0%} of the groups had no variance and taught nothing"
    if share == 1:
        return [f"{said}; `gspo-lite rewards preview RECIPE` says what to change"]
    gained = sum(min(one, 1 - one) for one in flat) / sum(1 - one for one in flat)
    offer = f"twice as many completions in one call for about {gained:.0%} more groups with variance"
    return [f"{said}; generation.sample_factor=2 would sample {offer}"]


def failed_calls(steps: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line on the calls of tools in training that went wrong, or none where all went well."""
    counted = [step for step in steps if step.get(CALLS)]
    calls = sum(step[CALLS] for step in counted)
    shares = {
        told: sum(step[CALLS] * (step.get(f"tools/{end}") or 0) for step in counted) / calls if calls else 0
        for end, told in END_WORDS.items()
    }
    named = [f"{share:.1%} {told}" for told, share in shares.items() if share > 0]
    return [f"of the calls of tools in training, {', '.join(named)}; completions.jsonl shows some"] if named else []


def warmed(evaluation: dict[str, Any]) -> list[str]:
    """Return a line on the figures after a supervised warm-up, or none without one."""
    figures = evaluation.get("warmed")
    if figures is None:
        return []
    form = [] if figures[FORM] is None else [f"right format {measured(figures, FORM)}"]
    reached = [measured(figures, "accuracy", "ci95"), *form]
    return [f"The supervised warm-up alone reached {', '.join(reached)}; RL did the rest."]


def table(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the table of figures before and after, with their intervals."""
    rows = [["", "before", "after"], *rows_of(before, after)]
    return ["  " + "".join([f"{label:18}", *(f"{cell:>{WIDTH}}" for cell in cells)]) for label, *cells in rows]


def lines_of(figures: dict[str, Any]) -> list[str]:
    """Return the figures of one evaluation as lines."""
    rewards = [[name, number(mean, 3, "-")] for name, mean in figures["rewards"].items()]
    rows = [*rows_of(figures), *rewards, ["problems", str(figures["n"])]]
    return [f"{label:18}{cell:>{WIDTH}}" for label, cell in rows]


def rows_of(*evaluations: dict[str, Any]) -> list[list[str]]:
    """Return rows of a label and a figure of each evaluation; the format is left out where the recipe has none."""
    shown = having_form(ROWS, evaluations)
    rows = [[label, *(measured(one, key, ends) for one in evaluations)] for label, key, ends in shown]
    return [*rows, ["tokens, mean", *(f"{one['mean_tokens']:.1f}" for one in evaluations)]]
