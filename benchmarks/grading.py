"""Answers graded per second: ours, math-verify alone and TRL's accuracy_reward, on the same answers side by side.

    python benchmarks/grading.py [--rounds 5] [--json FILE]

Two kinds of answers: GSM8K solutions (real rows where ../shared/data/gsm8k is there, else made up) with a right and a
wrong final number each, and the LaTeX answers of the grading table. The contenders take turns, round after round; the
share of right verdicts stands beside the rate, as speed without it is worth nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
GSM8K = ROOT.parent / "shared" / "data" / "gsm8k"
Case = tuple[str, str, bool]  # completion, gold, right?
ROWS = 250


def gsm8k_cases() -> list[Case]:
    """Solutions as a model writes them, every second one with a wrong result."""
    files = sorted(GSM8K.rglob("*test*.jsonl")) or sorted(GSM8K.rglob("*.jsonl"))
    if files:
        rows = [json.loads(line)["answer"] for line in files[0].read_text(encoding="utf-8").splitlines()[:ROWS]]
    else:
        rows = [f"{n} times {n + 3} is {n * (n + 3)}.\n#### {n * (n + 3):,}" for n in range(10, 10 + ROWS)]
    cases = []
    for index, row in enumerate(rows):
        gold = row.rsplit("####", 1)[1].strip().replace(",", "")
        right = index % 2 == 0
        cases.append((row if right else f"{row}1", gold, right))
    return cases


def latex_cases() -> list[Case]:
    """Formulas, sets, intervals, matrices of the grading table, in boxes."""
    from tests.rewards.grading_cases import FORMULAS, SHAPES

    return [(text, str(gold), bool(verdict)) for text, gold, _, verdict, _ in FORMULAS + SHAPES if verdict is not None]


def ours(marker: str) -> Callable[[Sequence[Case]], list[bool]]:
    from gspo_lite.rewards.math import grade_all

    def judge(cases: Sequence[Case]) -> list[bool]:
        verdicts = grade_all([text for text, _, _ in cases], [gold for _, gold, _ in cases], marker)  # type: ignore[arg-type]
        return [verdict is True for verdict in verdicts]

    return judge


def math_verify_alone(marker: str) -> Callable[[Sequence[Case]], list[bool]]:
    from math_verify import parse, verify

    def judge(cases: Sequence[Case]) -> list[bool]:
        found = []
        for text, gold, _ in cases:
            said = text.rsplit("####", 1)[1] if marker == "gsm8k" else text
            found.append(bool(verify(parse(f"${gold}$"), parse(said))))
        return found

    return judge


def trl_accuracy(marker: str) -> Callable[[Sequence[Case]], list[bool]]:
    from trl.rewards import accuracy_reward

    def judge(cases: Sequence[Case]) -> list[bool]:
        said = [text.rsplit("####", 1)[1] if marker == "gsm8k" else text for text, _, _ in cases]
        # It looks for LaTeX, so a plain number is handed to it in a box.
        texts = [text if "boxed" in text else f"\\boxed{{{text.strip()}}}" for text in said]
        messages = [[{"role": "assistant", "content": text}] for text in texts]
        scores = accuracy_reward(messages, [f"${gold}$" for _, gold, _ in cases])
        return [score == 1.0 for score in scores]

    return judge


CONTENDERS = {"gspo-lite": ours, "math-verify": math_verify_alone, "trl accuracy_reward": trl_accuracy}


def measure(cases: list[Case], marker: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Rates of all contenders, who take turns; the first round, which starts workers and imports, is not counted."""
    judges = {name: make(marker) for name, make in CONTENDERS.items()}
    rates: dict[str, list[float]] = {name: [] for name in judges}
    right: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, judge in judges.items():
            start = time.perf_counter()
            verdicts = judge(cases)
            seconds = time.perf_counter() - start
            right[name] = statistics.fmean(v == case[2] for v, case in zip(verdicts, cases, strict=True))
            if turn:
                rates[name].append(len(cases) / seconds)
    return {
        name: {"median": statistics.median(seen), "low": min(seen), "high": max(seen), "right": right[name]}
        for name, seen in rates.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    results = {}
    for kind, cases, marker in (("GSM8K", gsm8k_cases(), "gsm8k"), ("LaTeX", latex_cases(), "boxed")):
        results[kind] = measure(cases, marker, chosen.rounds)
        base = results[kind]["math-verify"]["median"]
        print(f"{kind}, {len(cases)} answers, median of {chosen.rounds} rounds (lowest to highest)")
        for name, one in results[kind].items():
            print(
                f"  {name:20} {one['median']:9.0f} a second ({one['low']:.0f} to {one['high']:.0f})  "
                f"{one['median'] / base:6.2f} x math-verify   {one['right']:.1%} right"
            )
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
