"""Commands that export a trained run, or a recipe, for use elsewhere."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from gspo_lite.cli.shared import JsonOption, OutsideOption, RecipeArgument, SetOption, app, load, printable
from gspo_lite.system.quiet import quiet_libraries


class Form(str, Enum):
    """Forms a run can be exported to."""

    adapter = "adapter"
    merged = "merged"
    gguf = "gguf"
    gguf_lora = "gguf-lora"


class Engine(str, Enum):
    """Larger engines a recipe can be translated for."""

    verl = "verl"


class Base(str, Enum):
    """Base weights an adapter can be merged into."""

    trained = "trained"
    original = "original"


class Dtype(str, Enum):
    """Types of merged weights."""

    auto = "auto"
    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


class Outtype(str, Enum):
    """Types of GGUF weights, as llama.cpp names them; those with a `q` are smaller and lossy."""

    f16 = "f16"
    bf16 = "bf16"
    f32 = "f32"
    q8_0 = "q8_0"
    q6_k = "q6_k"
    q5_k_m = "q5_k_m"
    q4_k_m = "q4_k_m"


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="A run folder or one of its checkpoints.", metavar="RUN")],
    to: Annotated[Form, typer.Option(help="Form to write.")],
    output: Annotated[Path | None, typer.Option(help="A new folder; by default export-FORM in the run folder.")] = None,
    base: Annotated[
        Base, typer.Option(help="Merge into the weights used in training (4-bit dequantized) or the published ones.")
    ] = Base.trained,
    dtype: Annotated[Dtype, typer.Option(help="Type of merged weights; auto is the run's 16-bit type.")] = Dtype.auto,
    outtype: Annotated[Outtype, typer.Option(help="Type of GGUF weights.")] = Outtype.f16,
    prompts: Annotated[int, typer.Option(help="Held-out prompts for the round trip.", min=1)] = 200,
    least_agreement: Annotated[
        float | None,
        typer.Option(
            help="Minimum share of prompts with the adapter's answer; default 0.95; a lossy type only warns.",
            min=0,
            max=1,
        ),
    ] = None,
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
    as_json: JsonOption = False,
) -> None:
    """Export a trained run and check that it answers as the adapter does; exit code 4 if it does not."""
    quiet_libraries()
    from gspo_lite.export import round_trip as exporting

    options = exporting.Options(base.value, dtype.value, outtype.value, prompts, least_agreement)
    result = exporting.export(path, to.value, output, options, overrides or [], allow_outside=allow_outside)
    if as_json:
        print(json.dumps(exporting.as_dict(result, path, options), indent=2))
    else:
        print("\n".join(exporting.told(result)))


@app.command("export-config")
def export_config(
    recipe: RecipeArgument,
    to: Annotated[Engine, typer.Option(help="The engine.")] = Engine.verl,
    gpus: Annotated[int, typer.Option(help="GPUs of the machine it will run on.", min=1)] = 8,
    overrides: SetOption = None,
    allow_outside: OutsideOption = False,
) -> None:
    """Print a recipe as the command line of a larger engine, and on stderr what does not carry over."""
    from gspo_lite.export import verl

    checked = load(recipe, overrides or [], with_data=False, allow_outside=allow_outside)
    found = verl.to_verl(checked.recipe, gpus)
    print(verl.as_script(found, recipe), end="")
    print(f"does not carry over to {to.value}:", file=sys.stderr)
    for line in found.left_behind:
        print(f"  - {printable(line)}", file=sys.stderr)
