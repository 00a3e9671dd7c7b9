"""The command that makes a trained run a file to use elsewhere."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from gspo_lite.cli.shared import JsonOption, RecipeArgument, SetOption, app, load, printable, quiet_libraries


class Form(str, Enum):
    """What a run can be exported to."""

    adapter = "adapter"
    merged = "merged"
    gguf = "gguf"


class Engine(str, Enum):
    """Larger engines a recipe can be handed to."""

    verl = "verl"


class Base(str, Enum):
    """The weights an adapter is folded into."""

    trained = "trained"
    original = "original"


class Dtype(str, Enum):
    """Types of merged weights."""

    auto = "auto"
    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


class Outtype(str, Enum):
    """Types of weights in GGUF, as llama.cpp's converter names them."""

    f16 = "f16"
    bf16 = "bf16"
    f32 = "f32"
    q8_0 = "q8_0"


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")],
    to: Annotated[Form, typer.Option(help="What to write.")],
    output: Annotated[Path | None, typer.Option(help="A new folder; else export-FORM in the run folder.")] = None,
    base: Annotated[
        Base, typer.Option(help="Fold into the weights it was trained on (4-bit ones written out), or the published.")
    ] = Base.trained,
    dtype: Annotated[Dtype, typer.Option(help="Type of merged weights; auto is the run's 16-bit type.")] = Dtype.auto,
    outtype: Annotated[Outtype, typer.Option(help="Type of weights in GGUF.")] = Outtype.f16,
    prompts: Annotated[int, typer.Option(help="Held-out prompts in the round trip.", min=1)] = 200,
    least_agreement: Annotated[
        float, typer.Option(help="Fail where fewer prompts get the adapter's answer.", min=0, max=1)
    ] = 0.95,
    as_json: JsonOption = False,
) -> None:
    """Write a trained run for use elsewhere, and check that it answers as the adapter does; exit code 4 where not."""
    quiet_libraries()
    from gspo_lite.export import round_trip as exporting

    options = exporting.Options(base.value, dtype.value, outtype.value, prompts, least_agreement)
    result = exporting.export(path, to.value, output, options)
    if as_json:
        print(json.dumps(exporting.as_dict(result, path, options), indent=2))
    else:
        print(f"{result.written}\n{exporting.in_words(result.round_trip)}")


@app.command("export-config")
def export_config(
    recipe: RecipeArgument,
    to: Annotated[Engine, typer.Option(help="The engine.")] = Engine.verl,
    gpus: Annotated[int, typer.Option(help="GPUs of the one machine it will run on.", min=1)] = 8,
    overrides: SetOption = None,
) -> None:
    """Print a recipe as a larger engine's command line; what does not carry over is in it, and on stderr."""
    from gspo_lite.export import verl

    checked = load(recipe, overrides or [])
    found = verl.to_verl(checked.recipe, gpus)
    print(verl.as_script(found, recipe), end="")
    print(f"does not carry over to {to.value}:", file=sys.stderr)
    for line in found.left_behind:
        print(f"  - {printable(line)}", file=sys.stderr)
