"""`gspo-lite run` with the moments of its steps written down; the contender that end_to_end.py and startup.py start.

python benchmarks/marked_run.py RECIPE --output FOLDER --marks FILE [--set K=V ...] [--profile]
        [--first-step] [--unmeasured]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marks import Sampling, callback, mark, watched


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--output", required=True)
    parser.add_argument("--marks", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--profile", action="store_true", help="time the parts of a step")
    parser.add_argument("--first-step", action="store_true", help="end after one step")
    parser.add_argument("--unmeasured", action="store_true", help="leave the evaluations out; with --first-step only")
    chosen = parser.parse_args(words)

    from gspo_lite import run as story
    from gspo_lite.cli.runs import run

    usual = story.train, story.measure
    story.train = marking(usual[0], chosen)
    if chosen.unmeasured:
        story.measure = lambda *_, **__: {}  # type: ignore[assignment]
    try:
        run(chosen.recipe, chosen.set, output=chosen.output)
    finally:
        story.train, story.measure = usual


def marking(train: Any, chosen: argparse.Namespace) -> Any:
    """run.train with a callback that marks steps."""

    def marked(trainer: Any, *rest: Any) -> None:
        trainer.add_callback(callback(chosen.marks, chosen.first_step))
        sampling, watch = Sampling(trainer), watched(trainer) if chosen.profile else None
        train(trainer, *rest)
        mark(chosen.marks, "trained", parts=dict(watch.seconds) if watch else {}, sampling=sampling.per_rollout())

    return marked


if __name__ == "__main__":
    main()
