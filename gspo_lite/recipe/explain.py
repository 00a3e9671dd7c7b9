"""Explains what is wrong with the fields of a recipe: what was found, what is allowed, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gspo_lite.errors import Place, did_you_mean
from gspo_lite.recipe.foreign.keys import answer
from gspo_lite.recipe.foreign.rewards import form_of, ours
from gspo_lite.recipe.schema import Recipe, RewardSettings
from gspo_lite.system.redaction import redact

MISSING = "missing; it has no default"
SHOWN = 60  # characters of a wrong value in a message
# Values that pydantic's kinds of problems require.
BOUNDS = {"greater_than": "above", "greater_than_equal": "at least", "less_than": "below", "less_than_equal": "at most"}
FORMS = {
    "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "finite_number": "a finite number", "string_type": "text", "bool_type": "true or false", "list_type": "a list",
    "dict_type": "a mapping", "model_type": "a mapping", "model_attributes_type": "a mapping",
}  # fmt: skip


def explained(error: ValidationError, values: dict[str, Any]) -> list[tuple[Place, str]]:
    """Return the place and the explanation of each problem that pydantic found in these values."""
    return [explain(problem, error, values) for problem in error.errors()]


def explain(problem: Any, error: ValidationError, values: dict[str, Any]) -> tuple[Place, str]:
    """Return the place and the explanation of one problem."""
    place = key_place(problem["loc"], values)
    kind, context = problem["type"], problem.get("ctx", {})
    found = shown(problem["input"])
    if kind == "extra_forbidden":
        return place, f"unknown key{nearest(place)}"
    if kind == "missing":
        return place, MISSING
    if place[0] == "rewards" and (form := reward_form(place, problem["input"])):
        return place, f"found {found}; write {form}"
    if place in union_places(error, values) or (place[0] == "tools" and len(place) <= 2):
        return place, f"found {found}; allowed: {allowed_at(place)}"
    if kind == "literal_error":
        expected = context["expected"]
        return place, f"found {found}; allowed: {expected}{guess(problem['input'], expected)}"
    return place, f"found {found}; {wanted(kind, context, problem['msg'])}"


def key_place(location: tuple[str | int, ...], values: Any) -> Place:
    """Return the keys of the recipe in pydantic's location, without the union members that pydantic appends."""
    place: list[str | int] = []
    for part in location:
        if isinstance(part, str) and part.startswith("["):  # the name of a form, not a key
            continue
        if isinstance(values, dict) and (isinstance(part, str) or part in values):  # YAML's `4:` is a number
            place.append(part)
            if part not in values:
                break
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            place.append(part)
        else:
            break
        values = values[part]
    return tuple(place)


def union_places(error: ValidationError, values: dict[str, Any]) -> set[Place]:
    """Return the places where several forms are allowed and none fits; pydantic reports each form."""
    places = [key_place(problem["loc"], values) for problem in error.errors()]
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


def reward_form(place: Place, value: Any) -> str | None:
    """Return how to write a reward that was given by its name alone, as in TRL; None if that is not what is wrong."""
    if len(place) <= 2 and isinstance(value, str):
        return form_of(value)
    if place == ("rewards",) and isinstance(value, dict) and value:
        return "a list: " + form_of(str(next(iter(value))))
    return None


def nearest(place: Place) -> str:
    """Return where an unknown key belongs, or a guess at the key that was meant and the keys that are allowed."""
    key, holder = str(place[-1]), model_at(place[:-1])
    if holder is None:
        return ""
    if known := belongs(key, holder):
        return known
    hint = did_you_mean(key, holder.model_fields) or near_elsewhere(key)
    return f"{hint}; allowed: {', '.join(holder.model_fields)}"


def belongs(key: str, holder: type[BaseModel]) -> str:
    """Return another place of a key, our name for another trainer's, or the reason why there is none; else nothing."""
    theirs = answer(key)
    elsewhere = [place for place, name, _ in fields_in(Recipe) if name == key]
    if theirs is not None and theirs.place is not None:
        return f"; it is `{theirs.place}`"
    if elsewhere:
        return f"; it is `{'` or `'.join(elsewhere)}`"
    if theirs is not None:
        return f": {theirs.reason}"
    return f"; write {form_of(key)}" if holder is RewardSettings and ours(key) is not None else ""


def near_elsewhere(key: str) -> str:
    """Return a near name in any section, as its place."""
    places = {name: place for place, name, _ in fields_in(Recipe)}
    hint = did_you_mean(key, places)
    name = hint.split("`")[1] if hint else ""
    return hint.replace(f"`{name}`", f"`{places.get(name)}`")


def guess(value: Any, expected: str) -> str:
    """Return the field that has this value among its own, if it is a single one, or a guess at the value meant."""
    owners = [other for other, _, annotation in fields_in(Recipe) if value in options_in(annotation)]
    if len(owners) == 1:
        return f"; `{value}` belongs to `{owners[0]}`"
    return did_you_mean(str(value), [option.strip(" '") for option in expected.replace(" or ", ",").split(",")])


def fields_in(holder: type[BaseModel], section: str = "") -> Iterator[tuple[str, str, Any]]:
    """Return place, name and annotation of every field below a model."""
    for name, found in holder.model_fields.items():
        yield f"{section}{name}", name, found.annotation
        item = "N." if get_origin(found.annotation) is list else ""
        for inner in models_in(found.annotation):
            yield from fields_in(inner, f"{section}{name}.{item}")


def options_in(annotation: Any) -> list[Any]:
    """Return the values that an annotation lists one by one."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [option for inner in get_args(annotation) for option in options_in(inner)]


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
