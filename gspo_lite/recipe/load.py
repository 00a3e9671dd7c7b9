"""Makes a checked recipe of YAML and `--set`, or one error with every problem, its place and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gspo_lite.errors import Place, RecipeError, did_you_mean
from gspo_lite.recipe.check import Problem, check_paths
from gspo_lite.recipe.schema import Recipe
from gspo_lite.recipe.shipped import find_recipe
from gspo_lite.recipe.source import Source, parse, read_source
from gspo_lite.system.redaction import note_values, redact

SHOWN = 60  # characters of a wrong value in a message
# Values that pydantic's kinds of problems require.
BOUNDS = {"greater_than": "above", "greater_than_equal": "at least", "less_than": "below", "less_than_equal": "at most"}
FORMS = {
    "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "finite_number": "a finite number", "string_type": "text", "bool_type": "true or false", "list_type": "a list",
    "dict_type": "a mapping", "model_type": "a mapping", "model_attributes_type": "a mapping",
}  # fmt: skip


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that passed every check, its file, and the warnings about it."""

    recipe: Recipe
    path: Path
    warnings: list[str] = field(default_factory=list)


def load_checked(
    reference: str,
    overrides: Sequence[str],
    checks: Sequence[Callable[[Recipe], list[Problem]]],
    *,
    output: str | None = None,
    allow_outside: bool = False,
) -> LoadedRecipe:
    """Read, override and check a recipe.

    Args:
        reference: path of a recipe, or name of one that is installed with the package.
        overrides: `a.b=value` with the value in YAML, as on the command line after `--set`.
        checks: rules between fields, applied once every field is valid.
        output: the run folder, instead of the recipe's `output.dir`.
        allow_outside: let the file name paths outside its own folder and the current one.

    Raises:
        RecipeError: lists every problem that was found.
    """
    path = find_recipe(reference)
    source = read_source(path)
    for override in overrides:
        apply_override(source, override)
    if output is not None:
        put(source, ("output", "dir"), output, "--output")
    note_values(source.values)
    try:
        recipe = Recipe.model_validate(source.values)
    except ValidationError as error:
        raise RecipeError(sorted(set(problems_of(error, source)), key=line_of)) from None
    found = [problem for check in checks for problem in check(recipe)]
    if not allow_outside:
        found += [p for p in check_paths(recipe, path.parent) if source.where(p.place).startswith(str(path))]
    lines = [f"{source.where(p.place)}: `{dotted(p.place)}`: {p.message}" for p in found if p.severity == "error"]
    if lines:
        raise RecipeError(sorted(lines, key=line_of))
    return LoadedRecipe(recipe, path, [f"`{dotted(p.place)}`: {p.message}" for p in found])


def apply_override(source: Source, override: str) -> None:
    """Set the value of one `a.b=value` in the recipe."""
    name, separator, text = override.partition("=")
    spot = f"--set {override[:SHOWN]}"
    if not separator or not name.strip():
        raise RecipeError([f"{spot}: is not of the form `key.key=value`"])
    value, _ = parse(text, spot)
    put(source, tuple(int(part) if part.isdigit() else part for part in name.strip().split(".")), value, spot)


def put(source: Source, place: Place, value: Any, spot: str) -> None:
    """Set one value, creating the mappings on its path, and note where it came from."""
    holder: Any = source.values
    key: Any
    for depth, key in enumerate(place[:-1]):
        inner = place[: depth + 1]
        if isinstance(holder, dict) and isinstance(key, str):
            if holder.get(key) is None:
                holder[key] = {}
                source.places[inner] = spot
        elif not (isinstance(holder, list) and isinstance(key, int) and key < len(holder)):
            raise RecipeError([f"{spot}: there is no `{dotted(inner)}` in the recipe"])
        holder = holder[key]
    last: Any = place[-1]
    if (isinstance(holder, list) and isinstance(last, int) and last < len(holder)) or isinstance(holder, dict):
        holder[last] = value
    else:
        raise RecipeError([f"{spot}: `{dotted(place[:-1])}` holds a {type(holder).__name__}, which has no `{last}`"])
    for old in [old for old in source.places if old[: len(place)] == place]:
        del source.places[old]
    source.places[place] = spot


def problems_of(error: ValidationError, source: Source) -> list[str]:
    """Return one line per problem that pydantic found."""
    lines = []
    for problem in error.errors():
        place = key_place(problem["loc"], source.values)
        kind, context = problem["type"], problem.get("ctx", {})
        found = shown(problem["input"])
        if kind == "extra_forbidden":
            message = f"unknown key{nearest(place)}"
        elif kind == "missing":
            message = "missing; it has no default"
        elif place in union_places(error, source):
            message = f"found {found}; allowed: {allowed_at(place)}"
        elif kind == "literal_error":
            message = f"found {found}; allowed: {context['expected']}{guess(problem['input'], context['expected'])}"
        else:
            message = f"found {found}; {wanted(kind, context, problem['msg'])}"
        lines.append(f"{source.where(place)}: `{dotted(place)}`: {message}")
    return lines


def key_place(location: tuple[str | int, ...], values: Any) -> Place:
    """Return the keys of the recipe in pydantic's location, without the union members that pydantic appends."""
    place: list[str | int] = []
    for part in location:
        if isinstance(part, str) and part.startswith("["):  # the name of a form, as in `completion.thinking`
            continue
        if isinstance(values, dict) and isinstance(part, str):
            place.append(part)
            if part not in values:
                break
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            place.append(part)
        else:
            break
        values = values[part]
    return tuple(place)


def union_places(error: ValidationError, source: Source) -> set[Place]:
    """Return the places where several forms are allowed and none fits; pydantic reports each form."""
    places = [key_place(problem["loc"], source.values) for problem in error.errors()]
    return {place for place in places if places.count(place) > 1}


def allowed_at(place: Place) -> str:
    """Return the description of a field that takes several forms."""
    found = field_at(place)
    return str(found.description if found is not None else "see `gspo-lite schema`").rstrip(".")


def wanted(kind: str, context: dict[str, Any], message: str) -> str:
    """Return what a type or range problem requires."""
    if kind in BOUNDS:
        return f"allowed: a number {BOUNDS[kind]} {next(iter(context.values()))}"
    if kind in FORMS:
        return f"allowed: {FORMS[kind]}"
    if kind == "too_short":
        return f"allowed: at least {context['min_length']} of them"
    message = message.removeprefix("Value error, ")  # of a rule of our own
    return message[0].lower() + message[1:]


def nearest(place: Place) -> str:
    """Return a guess at the key that was meant, and the allowed keys."""
    holder = model_at(place[:-1])
    if holder is None:
        return ""
    known = list(holder.model_fields)
    return f"{did_you_mean(str(place[-1]), known)}; allowed: {', '.join(known)}"


def guess(value: Any, expected: str) -> str:
    """Return a guess at the value that was meant."""
    return did_you_mean(str(value), [option.strip(" '") for option in expected.replace(" or ", ",").split(",")])


def model_at(place: Place) -> type[BaseModel] | None:
    """Return the model of the schema whose fields are the keys at a place."""
    current: type[BaseModel] | None = Recipe
    for part in place:
        if isinstance(part, int):
            continue
        if current is None or part not in current.model_fields:
            return None
        current = next(iter(models_in(current.model_fields[part].annotation)), None)
    return current


def field_at(place: Place) -> Any:
    """Return the schema's field for a key."""
    names = [part for part in place if isinstance(part, str)]
    holder = model_at(tuple(names[:-1]))
    return holder.model_fields.get(names[-1]) if holder is not None and names else None


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_in(inner)] if get_origin(annotation) else []


def shown(value: Any) -> str:
    """Return a wrong value as the user wrote it, shortened."""
    text = redact("null" if value is None else str(value).lower() if isinstance(value, bool) else str(value))
    return f"`{text[:SHOWN]}{'...' if len(text) > SHOWN else ''}`"


def dotted(place: Place) -> str:
    """Return a key path as `--set` takes it."""
    return ".".join(str(part) for part in place)


def line_of(problem: str) -> tuple[int, str]:
    """Return a sorting key: problems of the file by line, then the others."""
    line = problem.split(": ", 1)[0].rsplit(":", 1)[-1]
    return (int(line) if line.isdigit() else 10**9, problem)
