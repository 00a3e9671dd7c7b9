"""The quickstart through gspo-lite and through a plain TRL script with the same settings, start to held-out figures.

    python benchmarks/end_to_end.py [--seeds 42 1 2 3 4] [--against COMMIT] [--profile] [--json FILE]
    python benchmarks/end_to_end.py --against 88b4099 --contenders      # two states of gspo-lite alone
    python benchmarks/end_to_end.py --quick          # shows that it works; no measurement

All get the same starter folder, NF4, LoRA, rewards, rows, batches and objective, and run in turns in processes of their
own, one round for each seed, because a seed moves the held-out accuracy by more than anything compared here. `trl
defaults` is the same script where TRL decides what the recipe's file leaves out, and on gradient checkpointing and
precision, and COMMIT is gspo-lite as it was there, started by the scripts that are here. Compared are

    training     from the first optimizer step's begin to the last one's end: equal rollouts; on a machine that others
                 use as well, its CPU seconds say more
    whole        process start to exit, with one evaluation of the held-out problems; gspo-lite's other one, before
                 training, is measured and taken off, as the plain script has none
    to its score seconds of training until the mean reward of 5 rollouts reaches that of the plain run's last 5
    sampling     passes of the model, positions they compute and tokens they leave, per rollout: no machine changes them

`--profile` runs each once more and says what share of training its parts have; a part may hold another.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contenders import OURS, QUICK, ROOT, launch, moment, shown, source_of, spread, words_of, write_settings

PLAIN = ("trl", "trl defaults")
WINDOW = 5  # rollouts whose mean reward is compared
LEAST_WHOLE = 2.0  # wanted: how many times faster than `trl` the whole run is
MOST_TRAINING = {"88b4099": 0.64}  # wanted: share of a commit's CPU seconds of training


def result_of(
    contender: str, source: Path, folder: Path, overrides: Sequence[str], quick: bool, profile: bool
) -> dict[str, Any]:
    """Figures of one run of the gspo-lite in `source`, or of a plain script that takes rewards from there."""
    marks = folder / "marks.jsonl"
    words = words_of(contender, folder, marks, overrides) + (["--profile"] if profile else [])
    rows = launch(words, marks, source=source, here=quick and source == ROOT)
    begin, steps = moment(rows, "step begins"), [row for row in rows if row["mark"] == "step"]
    last = [row for row in rows if row["mark"] == "step ends"][-1]
    end, first = last["time"], next(row for row in rows if row["mark"] == "step begins")
    trained = next(row for row in rows if row["mark"] == "trained")
    if contender not in PLAIN:
        run = folder / "runs" / contender
        figures = json.loads((run / "eval.json").read_text())["after"]
        before = json.loads((run / "environment.json").read_text())["seconds"]["evaluate before"]
    else:
        figures, before = next(row for row in rows if row["mark"] == "evaluated")["figures"], 0.0
    tokens = [row["num_tokens"] for row in steps if row["num_tokens"] is not None]
    return {
        "to first step": begin - before,
        "training": end - begin,
        "training CPU": last["cpu"] - first["cpu"],
        "start CPU": first["cpu"],
        "whole": rows[-1]["time"] - before,
        "tokens per second": tokens[-1] / (end - begin),
        "accuracy": figures["accuracy"],
        "ci95": figures["ci95"],
        "sampled accuracy": figures["sampled_accuracy"],
        "curve": curve(steps, begin),
        "parts": trained["parts"],
        **{name.replace("_", " "): float(count) for name, count in trained["sampling"].items()},
    }


def curve(steps: Sequence[dict[str, Any]], begin: float) -> list[tuple[float, float]]:
    """(seconds of training, mean reward) of each rollout; its steps repeat its reward or leave it out."""
    found: list[tuple[float, float]] = []
    for row in steps:
        if row["reward"] is not None and (not found or row["reward"] != found[-1][1]):
            found.append((row["time"] - begin, row["reward"]))
    return found


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The curve with means over the last WINDOW rollouts."""
    size = min(WINDOW, len(points))
    return [
        (points[i][0], sum(reward for _, reward in points[i + 1 - size : i + 1]) / size)
        for i in range(size - 1, len(points))
    ]


def seconds_to(points: Sequence[tuple[float, float]], score: float) -> float | None:
    """When the smoothed curve first reaches a score; None where it does not."""
    return next((seconds for seconds, reward in smoothed(points) if reward >= score), None)


def compared(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Ratios round by round, and each contender's own figures."""
    summary: dict[str, Any] = {}
    for name, runs in results.items():
        keys = [key for key, value in runs[0].items() if isinstance(value, float)]
        summary[name] = {key: spread([run[key] for run in runs]) for key in keys}
        summary[name]["ci95 of the first"] = runs[0]["ci95"]
        pairs = list(zip(results[OURS], runs, strict=True))
        summary[name]["speed-up"] = {
            key: spread([theirs[key] / mine[key] for mine, theirs in pairs])
            for key in ("training", "training CPU", "whole")
        }
        scores = [smoothed(theirs["curve"])[-1][1] for _, theirs in pairs]
        reached = [seconds_to(mine["curve"], score) for (mine, _), score in zip(pairs, scores, strict=True)]
        own = [seconds_to(theirs["curve"], score) for (_, theirs), score in zip(pairs, scores, strict=True)]
        summary[name]["last reward"] = spread(scores)
        gaps = [mine["accuracy"] - theirs["accuracy"] for mine, theirs in pairs]
        summary[name]["accuracy of ours less its own"] = {"mean": statistics.fmean(gaps), "error": standard_error(gaps)}
        summary[name]["its own seconds to its score"] = own
        summary[name]["our seconds to its score"] = reached
    return summary


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean; None for a single value."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def table(summary: dict[str, Any]) -> str:
    """The comparison for people."""
    lines = []
    for name, of in summary.items():
        low, high = of["ci95 of the first"]
        lines += [
            f"{name}",
            f"  training {shown(of['training'], ' s', 1)}, {shown(of['training CPU'], ' s', 1)} of CPU, "
            f"whole {shown(of['whole'], ' s', 1)}, first step begins at {shown(of['to first step'], ' s', 1)}",
            f"  {shown(of['tokens per second'], '', 0)} tokens per second; reward of the last {WINDOW} rollouts "
            f"{shown(of['last reward'])}",
            f"  sampling of a rollout: {of['decode steps']['median']:.1f} passes over {of['positions']['median']:.0f} "
            f"positions for {of['generated tokens']['median']:.0f} tokens",
            f"  held-out accuracy {shown(of['accuracy'], '', 3)}, first run's interval {low:.3f} to {high:.3f}; "
            f"sampled {shown(of['sampled accuracy'], '', 3)}",
            *([] if name == OURS else beside(name, of)),
        ]
    return "\n".join(lines)


def beside(name: str, of: dict[str, Any]) -> list[str]:
    """What ours is against this contender."""
    times = zip(of["our seconds to its score"], of["its own seconds to its score"], strict=True)
    reached = ", ".join(f"{ours:.1f}/{own:.1f}" if ours else "never" for ours, own in times)
    faster = ", ".join(f"{key} {shown(ratio, ' x')}" for key, ratio in of["speed-up"].items())
    gap = of["accuracy of ours less its own"]
    error = "" if gap["error"] is None else f" (standard error {gap['error']:.3f})"
    return [
        f"  ours is faster: {faster}",
        *wanted(name, of["speed-up"]),
        f"  accuracy of ours less its own, mean over the seeds: {gap['mean']:+.3f}{error}",
        f"  to its score, ours/its own seconds: {reached}",
    ]


def wanted(name: str, speed_up: dict[str, dict[str, float]]) -> list[str]:
    """Whether ours is as fast as it is meant to be."""
    if name == "trl":
        whole = speed_up["whole"]["median"]
        return [f"  whole run {whole:.2f} x, wanted {LEAST_WHOLE:g}: {'met' if whole >= LEAST_WHOLE else 'MISSED'}"]
    if name in PLAIN:
        return []
    share = 1 / speed_up["training CPU"]["median"]
    most = MOST_TRAINING.get(name)
    verdict = "" if most is None else f", wanted {most:g} at most: {'met' if share <= most else 'MISSED'}"
    return [f"  training takes {share:.3f} of its CPU seconds{verdict}"]


def shares(result: dict[str, Any]) -> str:
    """What bounds a run: each part's share of training."""
    parts = sorted(result["parts"].items(), key=lambda part: -part[1])
    inside = ", ".join(f"{name} {seconds / result['training']:.0%}" for name, seconds in parts)
    return f"{inside}; start {result['to first step']:.1f} s of {result['whole']:.1f} s in all"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 1, 2, 3, 4], help="one round for each")
    parser.add_argument("--contenders", nargs="*", choices=PLAIN, default=list(PLAIN), help="plain scripts")
    parser.add_argument("--against", metavar="COMMIT", help="gspo-lite at another commit as well")
    parser.add_argument("--set", action="append", default=[], help="change one field of the recipe for all")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one tiny round, of the first seed, in this process")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(words)
    overrides, seeds = chosen.set + (QUICK if chosen.quick else []), chosen.seeds[: 1 if chosen.quick else None]
    folder = Path(tempfile.mkdtemp(prefix="end-to-end-"))
    sources = {OURS: ROOT} | ({chosen.against: source_of(chosen.against, folder)} if chosen.against else {})
    names = [*sources, *(name for name in PLAIN if name in chosen.contenders)]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn, seed in enumerate(seeds):
        seeded = [*overrides, f"training.seed={seed}"]
        for defaults in (False, True):
            write_settings(folder, seeded, defaults=defaults)
        for name in names if turn % 2 == 0 else reversed(names):
            results[name].append(result_of(name, sources.get(name, ROOT), folder, seeded, chosen.quick, False))
        if chosen.json:  # now, in case a later round is cut off
            chosen.json.write_text(json.dumps({"runs": results}, indent=2))
    summary = compared(results)
    print(table(summary))
    profiles = {}
    for name in names[:2] if chosen.profile else ():
        profiles[name] = result_of(name, sources.get(name, ROOT), folder, seeded, chosen.quick, True)
        print(f"profile of {name}: {shares(profiles[name])}")
    if chosen.json:
        chosen.json.write_text(json.dumps({"summary": summary, "runs": results, "profiles": profiles}, indent=2))


if __name__ == "__main__":
    main()
