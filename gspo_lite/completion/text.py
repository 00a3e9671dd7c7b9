"""Reads one completion: its text, and the character spans of its thoughts and its final answer.

Graders, `credit`, prompt styles and the reward lab all read a completion through its `Layout`. What a model wrote is
untrusted: every function takes linear time and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from gspo_lite.completion.markers import ANSWER_TAGS, Marker, OwnMarker, Place, box_spans, place_of
from gspo_lite.completion.thinking import CharSpan, Tags, Thinking, spoken_span, tags_of
from gspo_lite.errors import did_you_mean

MARKER: TypeAdapter[Marker] = TypeAdapter(Marker)
THINKING: TypeAdapter[Thinking] = TypeAdapter(Thinking)
OWN_ROLES = ("assistant", None)  # of messages that the model wrote; one without a role is the model's, too
REASONING = ("reasoning_content", "thinking", "reasoning")  # keys under which parsers put thoughts


class Layout(NamedTuple):
    """How a completion is laid out: where its answer stands, and which tags mean thinking."""

    marker: Marker = "tag"
    thinking: Thinking = "think"

    @property
    def thoughts(self) -> Tags:
        """Tags around the thoughts."""
        return tags_of(self.thinking)

    @property
    def place(self) -> Place:
        """Place of the answer."""
        return place_of(self.marker)

    @property
    def answer_tags(self) -> tuple[str, ...]:
        """Tags around the answer; those of `tag` where the answer stands elsewhere."""
        own = self.marker.tags if isinstance(self.marker, OwnMarker) else None
        return own or ANSWER_TAGS

    @property
    def in_tags(self) -> bool:
        """Whether the answer stands between tags."""
        return self.marker == "tag" or (isinstance(self.marker, OwnMarker) and self.marker.tags is not None)

    def form(self, answer: str, thoughts: str) -> str:
        """Return a completion in this layout."""
        tagged = f"{self.thoughts.open}{thoughts}{self.thoughts.close}" if self.place.tagged else thoughts
        return f"{tagged}{self.place.before}{answer}{self.place.after}"


@lru_cache
def tag_patterns(thinking: Thinking, answer_tags: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """Return the patterns of the four tags of thoughts and answer, in the order of a completion."""
    opening, closing = (re.compile(re.escape(tag)) for tag in answer_tags)
    return tags_of(thinking).opens, tags_of(thinking).closes, opening, closing


def layout_of(marker: Any, thinking: Any = "think") -> Layout:
    """Return a layout from values of a user's; raise ValueError for what is neither a marker nor a kind of thinking."""
    read: dict[str, Any] = {}
    for name, kind, value in (("marker", MARKER, marker), ("thinking", THINKING, thinking)):
        try:
            read[name] = kind.validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]
            names = re.findall("[a-z_]+", str(problem.get("ctx", {}).get("expected", "")))
            raise ValueError(f"{name} is {value!r}: {problem['msg']}{did_you_mean(str(value), names)}") from None
    return Layout(read["marker"], read["thinking"])


def first_layout(layouts: Iterable[Layout | None]) -> Layout:
    """Return the first layout that is given, else the usual one."""
    return next(filter(None, layouts), Layout())


def completion_text(completion: Any, thinking: Thinking = "think") -> str:
    """Return the text of a completion, a string or a list of messages; anything without text is empty."""
    return "".join(completion_parts(completion, thinking))


def completion_parts(completion: Any, thinking: Thinking = "think") -> list[str]:
    """Return the parts of a completion's text: of each message that the model wrote, its thoughts and its content."""
    if isinstance(completion, str):
        return [completion]
    if isinstance(completion, dict):
        completion = [completion]
    if not isinstance(completion, list | tuple):
        return []
    own = [message for message in completion if isinstance(message, dict) and message.get("role") in OWN_ROLES]
    return [part for message in own for part in message_parts(message, thinking)]


def message_parts(message: dict[str, Any], thinking: Thinking) -> list[str]:
    """Return the text of a message, with thoughts that a parser split off put back between their tags."""
    content, tags = content_text(message.get("content")), tags_of(thinking)
    reasoning = next(filter(None, (content_text(message.get(key)) for key in REASONING)), "")
    if not reasoning or tags.opens.search(content) or tags.closes.search(content):
        return [content]
    return [tags.open, reasoning, tags.close, content]


def chat_text(chat: Any) -> str:
    """Return the text of a prompt, a string or messages of any role; anything without text is empty."""
    return "".join(text for _, text in chat_turns(chat))


def chat_turns(chat: Any) -> list[tuple[str, str]]:
    """Return the role and the text of each message of a prompt; one that is a string is the user's."""
    if not isinstance(chat, list | tuple):
        return [("user", content_text(chat))]
    messages = (message for message in chat if isinstance(message, dict))
    return [(str(message.get("role") or "user"), content_text(message.get("content"))) for message in messages]


def content_text(content: Any) -> str:
    """Return the text of a message's content: a string, a list of blocks, or None as in a tool call."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    blocks = (block.get("text") for block in content if isinstance(block, dict))
    return "".join(text for text in blocks if isinstance(text, str))


def find_answer(text: str, marker: Marker, thinking: Thinking = "think") -> str | None:
    """Return the text at `answer_spans`; None without an answer. `\\boxed{1} and \\boxed{2}` is one answer, `1, 2`."""
    return text_at(text, answer_spans(text, marker, thinking))


def answer_spans(text: str, marker: Marker, thinking: Thinking = "think") -> list[CharSpan]:
    """Return the spans of the final answer, at the last marker after all thinking, without white space around it.

    It is one span, or one for each of several joined boxes; none without an answer.

    Args:
        marker: `tag` for <answer>..</answer>, `boxed` for \\boxed{}, `gsm8k` for the rest of the last #### line,
            `last_number`, `fence` for a ```json block, `text` for all that follows the thinking, or an `OwnMarker`.
        thinking: which tags mean thinking.
    """
    spoken = spoken_span(text, thinking)
    if spoken is None:
        return []
    offset = spoken[0]
    found = place_of(marker).spans(text[slice(*spoken)])
    spans = [stripped(text, offset + start, offset + end) for start, end in found]
    return spans if any(start < end for start, end in spans) else []


def stripped(text: str, start: int, end: int) -> CharSpan:
    """Return a span without the white space at its ends."""
    start = end - len(text[start:end].lstrip())
    return start, start + len(text[start:end].rstrip())


def text_at(text: str, spans: Sequence[CharSpan]) -> str | None:
    """Return the text at the spans, joined by commas; None without spans."""
    return ", ".join(text[start:end] for start, end in spans) if spans else None


def boxed(text: str) -> str | None:
    """Return the inside of the last box; boxes joined by a comma, `and` or `or` are one answer. None without a box."""
    return text_at(text, box_spans(text))
