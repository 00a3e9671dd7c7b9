"""Finds the thoughts of a completion: which tags mean thinking, and which text the model speaks after them.

    think          <think>..</think>                               reasoning   <reasoning>..</reasoning>
    thinking       <thinking>..</thinking>                         magistral   [THINK]..[/THINK]
    gpt_oss        <|channel|>analysis<|message|>..<|end|><|start|>assistant<|channel|>final<|message|>
    gemma          <|channel>thought\\n..<channel|>

The tags of the last three are special tokens, which many decoders leave out. gpt-oss is then still readable, as
`analysis..assistantfinal..`; Gemma's text then has no end of the thoughts, so that it holds no answer. What a model
wrote is untrusted: every function takes linear time and never raises.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Discriminator, Field, Tag

CharSpan = tuple[int, int]  # start and end character in a text


def distinct(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return a pair of tags; raise ValueError if both are the same."""
    if tags[0] == tags[1]:
        raise ValueError("allowed: two different tags")
    return tags


def form_of(value: Any) -> str:
    """Return which of several forms a value is in, so that an error speaks about that form only."""
    return "[name]" if isinstance(value, str) or not hasattr(value, "__iter__") else "[own]"


Text = Annotated[str, Field(min_length=1)]
Pair = Annotated[tuple[Text, ...], Field(strict=False, min_length=2, max_length=2), AfterValidator(distinct)]
Preset = Literal["think", "thinking", "reasoning", "magistral", "gpt_oss", "gemma"]
# A preset, or an opening and a closing tag of one's own.
Thinking = Annotated[Annotated[Preset, Tag("[name]")] | Annotated[Pair, Tag("[own]")], Discriminator(form_of)]

CHANNEL = r"<\|channel\|>{name}[^<\n]{{0,80}}(?:<\|constrain\|>[^<\n]{{0,40}})?<\|message\|>"
# Without its special tokens a message begins with the bare name of its channel.
GPT_OSS_OPENS = CHANNEL.format(name="(?!final)") + r"|\A(?:analysis|commentary)|assistant(?:analysis|commentary)"
GPT_OSS_CLOSES = (
    r"(?:<\|end\|>)?(?:<\|start\|>assistant)?" + CHANNEL.format(name="final") + r"|assistantfinal|\Afinal(?=\S)"
)


class Tags(NamedTuple):
    """Tags around thoughts: as a model writes them, and the patterns that find them.

    Attributes:
        ends: what ends the model's message where a text holds special tokens.
    """

    open: str
    close: str
    opens: re.Pattern[str]
    closes: re.Pattern[str]
    ends: re.Pattern[str] | None = None


def plain(opening: str, closing: str) -> Tags:
    """Return tags that are always written in the same way."""
    return Tags(opening, closing, re.compile(re.escape(opening)), re.compile(re.escape(closing)))


PRESETS: dict[str, Tags] = {
    "think": plain("<think>", "</think>"),
    "thinking": plain("<thinking>", "</thinking>"),
    "reasoning": plain("<reasoning>", "</reasoning>"),
    "magistral": plain("[THINK]", "[/THINK]"),
    "gpt_oss": Tags(
        "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>",
        re.compile(GPT_OSS_OPENS), re.compile(GPT_OSS_CLOSES), re.compile(r"<\|(?:return|end|call)\|>"),
    ),
    "gemma": Tags(
        "<|channel>thought\n", "<channel|>", re.compile(r"<\|channel>(?:thought\n?)?|\Athought\n"),
        re.compile(r"<channel\|>"), re.compile(r"<turn\|>|<eos>"),
    ),
}  # fmt: skip


@lru_cache
def tags_of(thinking: Thinking) -> Tags:
    """Return the tags of a preset or of a pair."""
    return PRESETS[thinking] if isinstance(thinking, str) else plain(*thinking)


def spoken_span(text: str, thinking: Thinking = "think") -> CharSpan | None:
    """Return the span after the last closing tag; None if thoughts are still open."""
    tags = tags_of(thinking)
    closing = last_match(tags.closes, text)
    start = closing.end() if closing else 0
    if tags.opens.search(text, start):
        return None
    end = tags.ends.search(text, start) if tags.ends else None
    return start, end.start() if end else len(text)


def thought_spans(text: str, thinking: Thinking = "think") -> list[CharSpan]:
    """Return the span of the thoughts, from the opening tag, or the start, to the last closing one, or the end."""
    tags = tags_of(thinking)
    opening, closing = tags.opens.search(text), last_match(tags.closes, text)
    if opening is None and closing is None:
        return []
    closed = closing is not None and spoken_span(text, thinking) is not None
    return [(opening.end() if opening else 0, closing.start() if closing and closed else len(text))]


def after_thinking(text: str, thinking: Thinking = "think") -> str | None:
    """Return what the model speaks after its thoughts; None if they are still open."""
    span = spoken_span(text, thinking)
    return None if span is None else text[slice(*span)]


def last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Return the last match of a pattern."""
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)
