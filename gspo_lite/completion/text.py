"""Finds the answer in what a model wrote. That text is untrusted: every function takes linear time and never raises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

THINK, THINK_END = "<think>", "</think>"
ANSWER, ANSWER_END = "<answer>", "</answer>"
BOX = re.compile(r"\\boxed\s{0,3}\{")
BRACE = re.compile(r"[{}]")
FENCE = re.compile(r"^ {0,3}```([^`\n]*)$", re.MULTILINE)
MOST_BOXES = 20
JOINS_BOXES = re.compile(r"(?:[\s,;$]|\\[,;! ]|and|or|\\text\{\s*(?:and|or)\s*\}){0,12}")


def completion_text(completion: Any) -> str:
    """A completion as text, whether it is a string or a list of messages; what holds no text is empty."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, dict):
        completion = [completion]
    if not isinstance(completion, list | tuple):
        return ""
    return "".join(content_text(message.get("content")) for message in completion if isinstance(message, dict))


def content_text(content: Any) -> str:
    """Text of a message's content: a string, a list of blocks, or None as in a tool call."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    blocks = (block.get("text") for block in content if isinstance(block, dict))
    return "".join(text for text in blocks if isinstance(text, str))


def find_answer(text: str, marker: str) -> str | None:
    """What stands at the last marker after all thinking, stripped; None where there is nothing.

    Args:
        marker: `tag` for <answer>..</answer>, `boxed` for \\boxed{}, `gsm8k` for the rest of the last `####` line.
    """
    spoken = after_thinking(text)
    if spoken is None:
        return None
    found = FINDERS[marker](spoken)
    return (found.strip() or None) if found is not None else None


def after_thinking(text: str) -> str | None:
    """The text behind the last `</think>`; None where a `<think>` is still open."""
    end = text.rfind(THINK_END)
    if text.find(THINK, max(end, 0)) >= 0:
        return None
    return text[end + len(THINK_END) :] if end >= 0 else text


def tagged(text: str) -> str | None:
    """Inside of the last answer tag; None where it is not closed."""
    start = text.rfind(ANSWER)
    if start < 0:
        return None
    end = text.find(ANSWER_END, start)
    return text[start + len(ANSWER) : end] if end >= 0 else None


def boxed(text: str) -> str | None:
    """Inside of the last box; boxes joined by a comma, `and` or `or` are one answer. None where it is not closed."""
    found: list[str] = []
    begin = len(text)  # of the box found before, which is the one behind
    for box in last_boxes(text):
        inside, end = inside_braces(text, box.end() - 1)
        if found and not JOINS_BOXES.fullmatch(text, end, begin):
            break
        if inside is None:
            return None
        found.append(inside)
        begin = box.start()
    return ", ".join(reversed(found)) if found else None


def last_boxes(text: str) -> list[re.Match[str]]:
    """Where the last boxes begin, from the last one back; more than a few are no final answer."""
    return list(BOX.finditer(text))[: -MOST_BOXES - 1 : -1]


def inside_braces(text: str, position: int) -> tuple[str | None, int]:
    """What the brace at `position` encloses and where that ends; None where it is not closed."""
    depth = 0
    for brace in BRACE.finditer(text, position):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[position + 1 : brace.start()], brace.end()
    return None, len(text)


def hashes(text: str) -> str | None:
    """The rest of the last line that has `####`."""
    start = text.rfind("####")
    return text[start + 4 :].split("\n", 1)[0] if start >= 0 else None


def fenced(text: str, languages: Sequence[str]) -> str | None:
    """Inside of the last closed ``` block of one of these languages, `""` for a block that names none."""
    found, opened = None, None
    for fence in FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif not fence[1].strip():  # a line that names a language cannot close
            if opened[1].strip().casefold() in languages:
                found = text[opened.end() + 1 : fence.start()]
            opened = None
    return found


FINDERS = {"tag": tagged, "boxed": boxed, "gsm8k": hashes}
MARKERS = tuple(FINDERS)
