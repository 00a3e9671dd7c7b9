"""Reads one completion: its text, and the character spans of its thoughts and its final answer.

Owns the places of an answer: graders, `credit: answer`, prompt styles and the reward lab all use a row of `PLACES`.
What a model wrote is untrusted: every function takes linear time and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

Marker = Literal["tag", "boxed", "gsm8k"]  # where a prompt can ask for the answer
CharSpan = tuple[int, int]  # start and end character in a text

MARKERS: tuple[str, ...] = get_args(Marker)
THINK, THINK_END = "<think>", "</think>"
ANSWER, ANSWER_END = "<answer>", "</answer>"
BOX = re.compile(
    r"\\(?:boxed|fbox)(?:\s{0,3}\{|\s{1,3}(-?\d(?:[\d.,/]{0,40}\d)?))"
)  # TeX takes a number without braces, too
BRACE = re.compile(r"[{}]")
FENCE = re.compile(r"^ {0,3}```([^`\n]*)$", re.MULTILINE)
MOST_BOXES = 20
JOINS_BOXES = re.compile(r"(?:[\s,;$]|\\[,;! ]|and|or|[a-z] ?=|\\text\{\s*(?:and|or)\s*\}){0,12}")


def completion_text(completion: Any) -> str:
    """Return the text of a completion, a string or a list of messages; anything without text is empty."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, dict):
        completion = [completion]
    if not isinstance(completion, list | tuple):
        return ""
    return "".join(content_text(message.get("content")) for message in completion if isinstance(message, dict))


def content_text(content: Any) -> str:
    """Return the text of a message's content: a string, a list of blocks, or None as in a tool call."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    blocks = (block.get("text") for block in content if isinstance(block, dict))
    return "".join(text for text in blocks if isinstance(text, str))


def find_answer(text: str, marker: str) -> str | None:
    """Return the text at `answer_spans`; None without an answer. `\\boxed{1} and \\boxed{2}` is one answer, `1, 2`."""
    return text_at(text, answer_spans(text, marker))


def answer_spans(text: str, marker: str) -> list[CharSpan]:
    """Return the spans of the final answer, at the last marker after all thinking, without white space around it.

    It is one span, or one for each of several joined boxes; none without an answer.

    Args:
        marker: a key of `PLACES`: `tag` for <answer>..</answer>, `boxed` for \\boxed{}, `gsm8k` for the rest of the
            last #### line, `fence` for a ```json block, `text` for all that follows the thinking.
    """
    spoken = after_thinking(text)
    if spoken is None:
        return []
    offset = len(text) - len(spoken)
    spans = [stripped(text, offset + start, offset + end) for start, end in PLACES[marker].spans(spoken)]
    return spans if any(start < end for start, end in spans) else []


def stripped(text: str, start: int, end: int) -> CharSpan:
    """Return a span without the white space at its ends."""
    start = end - len(text[start:end].lstrip())
    return start, start + len(text[start:end].rstrip())


def text_at(text: str, spans: Sequence[CharSpan]) -> str | None:
    """Return the text at the spans, joined by commas; None without spans."""
    return ", ".join(text[start:end] for start, end in spans) if spans else None


def thought_spans(text: str) -> list[CharSpan]:
    """Return the span of the thoughts: from `<think>`, perhaps in the prompt, to the last `</think>` or the end."""
    opening, spoken = text.find(THINK), after_thinking(text)
    if opening < 0 and spoken == text:
        return []
    end = len(text) if spoken is None else len(text) - len(spoken) - len(THINK_END)
    return [(opening + len(THINK) if opening >= 0 else 0, end)]


def after_thinking(text: str) -> str | None:
    """Return the text after the last `</think>`; None if a `<think>` is still open."""
    end = text.rfind(THINK_END)
    if text.find(THINK, max(end, 0)) >= 0:
        return None
    return text[end + len(THINK_END) :] if end >= 0 else text


def tag_spans(text: str) -> list[CharSpan]:
    """Return the inside of the last answer tag; nothing if it is not closed."""
    start = text.rfind(ANSWER)
    end = text.find(ANSWER_END, max(start, 0))
    return [(start + len(ANSWER), end)] if 0 <= start < end else []


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


def boxed(text: str) -> str | None:
    """Return the inside of the last box; boxes joined by a comma, `and` or `or` are one answer. None without a box."""
    return text_at(text, box_spans(text))


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


class Place(NamedTuple):
    """A place for an answer: a function that finds it after the thinking, and the form of a whole completion."""

    spans: Callable[[str], list[CharSpan]]
    form: str


PLACES: dict[str, Place] = {
    "tag": Place(tag_spans, "<think>{thoughts}</think><answer>{answer}</answer>"),
    "boxed": Place(box_spans, "{thoughts} So the answer is \\boxed{{{answer}}}."),
    "gsm8k": Place(hash_spans, "{thoughts}\n#### {answer}"),
    "fence": Place(partial(fence_spans, languages=("json", "")), "{thoughts}\n```json\n{answer}\n```"),
    "text": Place(lambda text: [(0, len(text))], "<think>{thoughts}</think>{answer}"),
}
