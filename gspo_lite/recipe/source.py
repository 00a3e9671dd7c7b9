"""Reads recipe text as plain values with the line of every key, and refuses YAML that no recipe needs.

YAML 1.2: `5e-6` is a float, `on` a string, a repeated key an error. Tags, anchors and aliases, deep nesting and large
files are refused before any value is built. Owns text and lines; must not know the schema.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

from gspo_lite.errors import Place, RecipeError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
LEADING_ZERO = re.compile(r"[-+]?0\d+")


@dataclass(frozen=True)
class Source:
    """Values of a recipe, and the spot of each key as messages name it: `recipe.yaml:12` or `--set a.b=v`."""

    values: dict[str, Any]
    places: dict[Place, str] = field(default_factory=dict)

    def where(self, place: Place) -> str:
        """Return the spot of a key, or of the nearest key around it that was written."""
        while place not in self.places and place:
            place = place[:-1]
        return self.places.get(place, "recipe")


def read_source(path: Path) -> Source:
    """Read a recipe file; raise RecipeError for anything but one plain mapping in UTF-8."""
    values, lines = parse(read_text(path), str(path))
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise RecipeError([f"{path}:1: holds {found}; a recipe is a mapping with `model`, `data`, `rewards`, ..."])
    return Source(values, {place: f"{path}:{line}" for place, line in lines.items()})


def read_text(path: Path) -> str:
    """Return the text of a recipe file; raise RecipeError if it is large or not UTF-8."""
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        raise RecipeError([f"{path}: has {len(data)} bytes; a recipe has at most {MAX_BYTES}"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RecipeError([f"{path}:{line}: is not UTF-8"]) from error


def parse(text: str, name: str) -> tuple[Any, dict[Place, int]]:
    """Return the values of a YAML text and the line of each key; messages call the text `name`."""
    try:
        refuse_unsafe(text, name)
        loaded = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        first, second = error.context_mark, error.problem_mark
        key = re.search(r'"(.*?)"', str(error.problem) or "")
        label = key.group(1) if key else "a key"
        mapping = f"in the mapping that begins at line {first.line + 1}{earlier(text, label, second.line)}"
        raise RecipeError([f"{name}:{second.line + 1}: `{label}` occurs twice {mapping}"]) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise RecipeError([f"{name}:{line}: is not YAML: {error.problem or error.context}"]) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise RecipeError([f"{name}:1: is not YAML: {str(error).splitlines()[0]}"]) from error
    lines: dict[Place, int] = {(): 1}
    return plain(loaded, (), lines, name), lines


def earlier(text: str, key: str, line: int) -> str:
    """Return the line of a key's first occurrence, for the message about its second one."""
    pattern = re.compile(rf"^\s*['\"]?{re.escape(key)}['\"]?\s*:")
    before = [n for n, content in enumerate(text.splitlines()[:line], 1) if pattern.match(content)]
    return f"; first at line {before[-1]}" if before else ""


def refuse_unsafe(text: str, name: str) -> None:
    """Refuse tags, aliases, deep nesting and numbers with a leading zero, without building any value."""
    depth = 0
    for event in YAML(typ="rt").parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise RecipeError([f"{name}:{line}: anchors and aliases (`&`, `*`) are not allowed in a recipe"])
        if isinstance(event, CollectionStartEvent | ScalarEvent) and getattr(event, "tag", None):
            raise RecipeError([f"{name}:{line}: tags are not allowed in a recipe; found `{event.tag}`"])
        if isinstance(event, ScalarEvent) and event.style is None and LEADING_ZERO.fullmatch(event.value):
            bare = event.value.lstrip("+-0") or "0"
            raise RecipeError([f"{name}:{line}: `{event.value}` may mean {bare} or an octal number; write `{bare}`"])
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise RecipeError([f"{name}:{line}: nested more than {MAX_DEPTH} deep"])


def plain(value: Any, place: Place, lines: dict[Place, int], name: str) -> Any:
    """Convert ruamel's values to plain Python values, noting the line of every key and item."""
    if isinstance(value, CommentedMap):
        for key in value:
            spot = (*place, key)
            lines[spot] = value.lc.key(key)[0] + 1
            if not isinstance(key, str):
                raise RecipeError([f"{name}:{lines[spot]}: `{key}` is not text; the keys of a recipe are words"])
        return {str(key): plain(inner, (*place, key), lines, name) for key, inner in value.items()}
    if isinstance(value, CommentedSeq):
        lines |= {(*place, index): value.lc.item(index)[0] + 1 for index in range(len(value))}
        return [plain(inner, (*place, index), lines, name) for index, inner in enumerate(value)]
    for kind in (bool, int, float, str):  # ruamel's scalars are subclasses that remember how they were written
        if isinstance(value, kind):
            return kind(value)
    return value
