"""The command line. Every heavy import is inside the command that needs it, so that the light ones answer at once.

Results go to stdout, messages to stderr. Exit codes are those of `errors.py`: 0 done, 2 wrong recipe or command line,
3 this machine lacks something, 4 the run failed, 130 and 143 interrupted.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

import gspo_lite
from gspo_lite.errors import GspoLiteError, UsageError

app = typer.Typer(
    help="RL fine-tuning on one GPU by GSPO and GSPO-token.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
rewards_app = typer.Typer(help="The reward functions a recipe can use.", no_args_is_help=True)
app.add_typer(rewards_app, name="rewards")

RecipeArgument = Annotated[
    str, typer.Argument(help="Path of a recipe, or the name of a shipped one.", metavar="RECIPE")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Change one field: key.key=value.", metavar="K=V")]
OutsideOption = Annotated[bool, typer.Option("--allow-outside", help="Let the recipe name paths outside its tree.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that stand before the command."""
    if debug:
        os.environ["GSPO_LITE_DEBUG"] = "1"
    if version:
        print(gspo_lite.__version__)
        raise typer.Exit


@app.command()
def run(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    output: Annotated[str | None, typer.Option(help="The run folder, in place of output.dir.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps, in place of training.max_steps.")] = None,
    allow_outside: OutsideOption = False,
) -> None:
    """Train as a recipe says, and measure before and after."""
    steps = [] if max_steps is None else [f"training.max_steps={max_steps}"]
    checked = load(recipe, [*(overrides or []), *steps], output=output, allow_outside=allow_outside)
    quiet_libraries()
    from gspo_lite.run import run as train

    result = train(checked.recipe, resume=resume, command=shlex.join(["gspo-lite", *sys.argv[1:]]))
    print(result)


@app.command()
def check(recipe: RecipeArgument, overrides: SetOption = None, allow_outside: OutsideOption = False) -> None:
    """Say everything that is wrong with a recipe, without loading anything."""
    checked = load(recipe, overrides or [], allow_outside=allow_outside)
    chosen = checked.recipe
    training = chosen.training
    print(
        f"{checked.path}: ok. {chosen.objective.algorithm} on {chosen.model.name}, {training.max_steps} steps; "
        f"{training.rollout_size} completions a rollout, {training.updates_per_rollout:g} optimizer steps on each"
    )


@app.command()
def probe(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    allow_outside: OutsideOption = False,
) -> None:
    """Measure how noisy the ratios of a recipe are on this machine, and which epsilon makes sense."""
    checked = load(recipe, overrides or [], allow_outside=allow_outside)
    quiet_libraries()
    from gspo_lite.probe import lines_of
    from gspo_lite.probe import probe as measure

    found = measure(checked.recipe)
    print(json.dumps(found.as_dict(), indent=2) if as_json else "\n".join(lines_of(found)))


@app.command()
def plan(
    recipe: RecipeArgument,
    vram: Annotated[float, typer.Option(help="Memory of the card in GB, as it is sold.", min=1)],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the memory a recipe takes, and say what to change where it does not fit; exit code 3 then."""
    from gspo_lite import plan as planning

    chosen = load(recipe, overrides or []).recipe
    found = planning.plan(chosen, planning.room_for(chosen, vram))
    print(json.dumps(planning.as_dict(found), indent=2) if as_json else "\n".join(planning.lines_of(found)))
    if not found.fits:
        raise typer.Exit(3)


@app.command()
def doctor(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe to check this machine for.", metavar="[RECIPE]")
    ] = None,
    overrides: SetOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the loss self-test, which imports torch.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what this machine has and lacks for a run; exit code 3 where a run could not work."""
    if overrides and recipe is None:
        raise UsageError("--set changes a recipe, and none is named", "add the recipe's name")
    chosen = load(recipe, overrides or []).recipe if recipe is not None else None
    quiet_libraries()
    from gspo_lite import doctor as ward
    from gspo_lite.doctor.selftest import run_self_test

    machine = ward.this_machine()
    checks = ward.examine(machine, chosen, None if quick else lambda: run_self_test(machine, chosen))
    print(json.dumps(ward.as_dict(checks, machine), indent=2) if as_json else "\n".join(ward.lines_of(checks, machine)))
    if not ward.works(checks):
        raise typer.Exit(3)


@app.command("eval")
def evaluate(
    path: Annotated[
        str, typer.Argument(help="A run folder, an adapter, a model folder or a hub id.", metavar="RUN_OR_MODEL")
    ],
    recipe: Annotated[str | None, typer.Option(help="Whose problems to ask; a run folder brings its own.")] = None,
    overrides: SetOption = None,
    limit: Annotated[int | None, typer.Option(help="Ask the first so many problems.", min=1)] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a run, an adapter or a model on held-out problems."""
    if overrides and recipe is None:
        raise UsageError("--set changes a recipe, and none is named", "add --recipe NAME")
    chosen = load(recipe, overrides or []).recipe if recipe is not None else None
    quiet_libraries()
    from gspo_lite.evaluation import evaluate_path
    from gspo_lite.summary import lines_of

    figures = evaluate_path(path, chosen, limit)
    print(json.dumps(figures, indent=2) if as_json else "\n".join(lines_of(figures)))


@app.command()
def recipes() -> None:
    """List the recipes that are installed with the package."""
    from gspo_lite.recipe.shipped import headline, shipped_recipes

    for name, path in shipped_recipes().items():
        print(f"{name:18} {headline(path)}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a recipe, for editors."""
    from gspo_lite.recipe.schema import Recipe

    print(json.dumps(Recipe.model_json_schema(), indent=2))


@app.command()
def report(path: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]) -> None:
    """Write report.html and README.md of a run folder again."""
    from gspo_lite import folder
    from gspo_lite.report import write_model_card, write_report

    if not folder.is_run(path):
        raise UsageError(f"`{path}` is no run folder; it has no {folder.RECIPE} and {folder.ENVIRONMENT}")
    write_model_card(path)
    print(write_report(path))


@rewards_app.command("list")
def list_rewards() -> None:
    """List the rewards by name."""
    from gspo_lite.rewards.registry import describe, reward_names

    for name in reward_names():
        print(f"{name:20} {describe(name).summary}")


@rewards_app.command("show")
def show_reward(name: Annotated[str, typer.Argument(help="A reward's name.")]) -> None:
    """Show what a reward measures, its options with their ranges, and how it stands in a recipe."""
    from gspo_lite.rewards.options import recipe_line
    from gspo_lite.rewards.registry import describe

    found = describe(name)
    options = "".join(f"\n  {option}: {default}" for option, default in found.options.items())
    print(f"{found.name}\n\n{found.text}\n\noptions:{options or ' none'}")
    print(f"\nin a recipe:\n  {recipe_line(name, found.options)}")


@rewards_app.command("test")
def try_rewards(
    recipe: RecipeArgument,
    completions: Annotated[
        Path | None, typer.Option(help="JSONL rows with a `completion`; else some are made up.")
    ] = None,
    problems: Annotated[int, typer.Option(help="Make completions up for the first so many problems.", min=1)] = 3,
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
    as_json: JsonOption = False,
) -> None:
    """Lay completions before every reward of a recipe and show what each gets, and why."""
    chosen = load(recipe, overrides or [], allow_outside=allow_outside).recipe
    quiet_libraries()
    from gspo_lite.lab import lines_of_trials, trials

    bench, done = trials(chosen, completions, problems)
    if as_json:
        print(json.dumps([record for trial in done for record in trial.records()], indent=2))
    else:
        print(printable("\n".join(lines_of_trials(bench, done))))


@rewards_app.command("stress")
def stress_rewards(
    recipe: RecipeArgument,
    problems: Annotated[int, typer.Option(help="Try the first so many problems.", min=1)] = 8,
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
) -> None:
    """Look for hostile completions that a recipe's rewards pay like a right answer; exit code 4 where there are any."""
    chosen = load(recipe, overrides or [], allow_outside=allow_outside).recipe
    quiet_libraries()
    from gspo_lite.lab import lines_of_findings, stressed

    found, notes, tried = stressed(chosen, problems)
    print(printable("\n".join(lines_of_findings(found, notes, tried))))
    if found:
        raise typer.Exit(4)


def load(reference: str, overrides: list[str], **options: Any) -> Any:
    """Load a recipe and say what it is warned about."""
    from gspo_lite.preflight import load_recipe

    checked = load_recipe(reference, overrides, **options)
    for warning in checked.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return checked


def quiet_libraries() -> None:
    """Keep the libraries' own notices and bars out of what a user reads; the lines of a run say what matters."""
    import logging
    import warnings

    if os.environ.get("GSPO_LITE_DEBUG"):
        return
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    for name in ("bitsandbytes", "torchao"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("torch.utils._pytree").disabled = True  # a notice of torchao's, meant for its own developers


class Terminated(BaseException):
    """SIGTERM came; no `Exception`, so that nothing which guards against errors of rewards takes it for one."""


def terminated(*_: Any) -> None:
    """SIGTERM ends the run like Ctrl-C, with an exit code of its own."""
    raise Terminated


def main() -> None:
    """Entry point: runs a command and turns errors into one message and an exit code."""
    signal.signal(signal.SIGTERM, terminated)
    try:
        app(standalone_mode=True)
    except GspoLiteError as error:
        tell(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Terminated:
        print("terminated", file=sys.stderr)
        sys.exit(143)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        print(f"error: {type(error).__name__}: {printable(str(error))}", file=sys.stderr)
        print(
            "hint: this is not one of the errors gspo-lite knows; --debug before the command shows where",
            file=sys.stderr,
        )
        if os.environ.get("GSPO_LITE_DEBUG"):
            traceback.print_exc()
        sys.exit(4 if "run" in sys.argv[1:2] else 1)


def tell(error: GspoLiteError) -> None:
    """Print an error as a user reads it."""
    if os.environ.get("GSPO_LITE_DEBUG"):
        traceback.print_exc()
    print(f"error: {printable(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"hint: {printable(error.hint)}", file=sys.stderr)


def printable(text: str) -> str:
    """Text without escapes that could steer a terminal."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
