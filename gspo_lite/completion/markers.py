"""Finds the final answer in the text that a model speaks after its thoughts: the places where it can stand.

Owns the markers of a recipe and the form of a completion that each reads. What a model wrote is untrusted: every
function takes linear time, a pattern of one's own limited time, and none raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from gspo_lite.completion.numbers import last_number_spans
from gspo_lite.completion.patterns import compiled, groups, matches
from gspo_lite.completion.thinking import CharSpan, Pair, Text, form_of

ANSWER_TAGS = ("<answer>", "</answer>")
# TeX takes a number without braces, too.
BOX = re.compile(r"\\(?:boxed|fbox)(?:\s{0,3}\{|\s{1,3}(-?\d(?:[\d.,/]{0,40}\d)?))")
BRACE = re.compile(r"[{}]")
FENCE = re.compile(r"^ {0,3}```([^`\n]*)$", re.MULTILINE)
MOST_BOXES = 20
JOINS_BOXES = re.compile(r"(?:[\s,;$]|\\[,;! ]|and|or|[a-z] ?=|\\text\{\s*(?:and|or)\s*\}){0,12}")
LEAD = (  # what may stand before a prefix: the start of a line or a sentence, markdown, words such as `So the final`
    r"(?:^|(?<=[.!?;:)])[*_]{0,3}[ \t]{1,3})[ \t>#*_`-]{0,12}"
    r"(?:(?:so|thus|hence|therefore|the|my|our|final|correct)\b,?[ \t]{1,3}){0,5}[*_`]{0,3}"
)
MARKDOWN = " \t\r\n*_`"
SAMPLE = "7"  # an answer with which a form is tried on a pattern


class OwnMarker(BaseModel):
    """A place of one's own for the answer: between two tags, behind a prefix, or where a pattern matches."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tags: Pair | None = Field(None, description="Opening and closing tag; the answer is between the last ones.")
    prefix: Text | None = Field(
        None, description="Beginning of the line with the answer, such as `Answer:`; case and markdown are ignored."
    )
    regex: Text | None = Field(
        None, description="Regular expression; the answer is group 1 of the last match, or the match without a group."
    )

    @field_validator("regex")
    @classmethod
    def is_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            compiled(pattern)
        return pattern

    @model_validator(mode="after")
    def names_one_place(self) -> OwnMarker:
        if sum(one is not None for one in (self.tags, self.prefix, self.regex)) != 1:
            raise ValueError("allowed: exactly one of `tags`, `prefix` and `regex`")
        return self


Named = Literal["tag", "boxed", "gsm8k", "last_number", "text", "fence"]
Marker = Annotated[Annotated[Named, Tag("[name]")] | Annotated[OwnMarker, Tag("[own]")], Discriminator(form_of)]
ASKED: tuple[Named, ...] = ("tag", "boxed", "gsm8k")  # the places that a prompt style can ask for


class Place(NamedTuple):
    """A place for an answer.

    Attributes:
        spans: finds the answer in spoken text.
        before, after: what a completion in this form has around its answer.
        tagged: the form has thoughts between their tags; otherwise they are the text before the answer.
    """

    spans: Callable[[str], list[CharSpan]]
    before: str
    after: str
    tagged: bool = False


@lru_cache
def place_of(marker: Marker) -> Place:
    """Return the place that a marker names."""
    if not isinstance(marker, OwnMarker):
        return PLACES[marker]
    if marker.tags is not None:
        return Place(partial(tag_spans, tags=marker.tags), marker.tags[0], marker.tags[1], True)
    if marker.prefix is not None:
        return Place(partial(prefix_spans, pattern=prefix_pattern(marker.prefix)), f"\n{marker.prefix.strip()} ", "")
    pattern = marker.regex or ""
    return Place(partial(regex_spans, pattern=pattern), *around(pattern))


def tag_spans(text: str, tags: tuple[str, ...] = ANSWER_TAGS) -> list[CharSpan]:
    """Return the inside of the last answer tag; nothing if it is not closed."""
    opening, closing = tags
    start = text.rfind(opening)
    end = text.find(closing, start + len(opening))
    return [(start + len(opening), end)] if 0 <= start < end else []


def box_spans(text: str) -> list[CharSpan]:
    """Return the inside of the last box and of those joined to it; nothing if the last one is not closed."""
    spans: list[CharSpan] = []
    begin = len(text)  # of the box found before, which comes later in the text
    for box in list(BOX.finditer(text))[: -MOST_BOXES - 1 : -1]:  # more boxes are not a final answer
        end = box.end(1) if box[1] else closing_brace(text, box.end() - 1)
        if end is None or (spans and not JOINS_BOXES.fullmatch(text, end + (not box[1]), begin)):
            break
        spans.insert(0, box.span(1) if box[1] else (box.end(), end))
        begin = box.start()
    return spans


def closing_brace(text: str, position: int) -> int | None:
    """Return the position of the brace that closes the one at `position`; None if it is not closed."""
    depth = 0
    for brace in BRACE.finditer(text, position):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return None


def hash_spans(text: str) -> list[CharSpan]:
    """Return the rest of the last line that has `####`."""
    start = text.rfind("####")
    end = text.find("\n", start)
    return [(start + 4, end if end >= 0 else len(text))] if start >= 0 else []


def fence_spans(text: str, languages: Sequence[str]) -> list[CharSpan]:
    """Return the inside of the last closed ``` block in one of these languages; `""` is a block without a language."""
    found: list[CharSpan] = []
    opened = None
    for fence in FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif not fence[1].strip():  # a line that names a language cannot close
            if opened[1].strip().casefold() in languages:
                found = [(opened.end() + 1, fence.start())]
            opened = None
    return found


def prefix_pattern(prefix: str) -> re.Pattern[str]:
    """Return the pattern that finds a prefix however instruct models write it: `**Answer:**`, `Final answer:`."""
    core = prefix.strip(MARKDOWN + ":：") or prefix.strip()
    words = r"[ \t]{1,3}".join(map(re.escape, core.split()))
    end = r"[*_`\s]{0,5}[:：]" if prefix.strip(MARKDOWN).endswith((":", "：")) else "[:：]?"
    boundary = r"(?!\w)" if core[-1:].isalnum() else ""
    return re.compile(rf"{LEAD}{words}{boundary}{end}[*_`]{{0,3}}", re.IGNORECASE | re.MULTILINE)


def prefix_spans(text: str, pattern: re.Pattern[str]) -> list[CharSpan]:
    """Return the rest of the last line with the prefix, or the line after it; without markdown around it."""
    found = [match.end() for match in pattern.finditer(text)]
    if not found:
        return []
    start = found[-1] + len(text[found[-1] :]) - len(text[found[-1] :].lstrip(MARKDOWN))
    end = text.find("\n", start)
    line = text[start : end if end >= 0 else len(text)]
    return [(start, start + len(line.rstrip(MARKDOWN)))]


def regex_spans(text: str, pattern: str) -> list[CharSpan]:
    """Return group 1 of the last match, or the whole match where the pattern has no group."""
    return matches(pattern, text, min(groups(pattern), 1))[-1:]


def around(pattern: str) -> tuple[str, str]:
    """Return what a completion may have around its answer so that a pattern finds it, by trial."""
    before, _, after = re.sub(r"\(\?[a-z]+\)|\\[sn][*+?]?", " ", pattern).partition("(")
    plain = [re.sub(r"\\(?=\W)|[\^$]", "", part).strip() for part in (before, after.rpartition(")")[2])]
    known = [(place.before, place.after) for place in PLACES.values()]
    for sides in ([(f"\n{plain[0]} ", plain[1])] if after else []) + known:
        text = f"{sides[0]}{SAMPLE}{sides[1]}"
        if [text[start:end].strip() for start, end in regex_spans(text, pattern)] == [SAMPLE]:
            return sides
    return "\n", ""


PLACES: dict[str, Place] = {
    "tag": Place(tag_spans, *ANSWER_TAGS, True),
    "boxed": Place(box_spans, " So the answer is \\boxed{", "}."),
    "gsm8k": Place(hash_spans, "\n#### ", ""),
    "last_number": Place(last_number_spans, " So the answer is ", "."),
    "text": Place(lambda text: [(0, len(text))], "", "", True),
    "fence": Place(partial(fence_spans, languages=("json", "")), "\n```json\n", "\n```"),
}
