"""Finds the characters of a completion's text that each sampled token stands for.

Handles byte-level BPE with characters split over tokens, sentencepiece, special tokens, and completions cut off in the
middle of a character. Must not know rewards or credit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise, takewhile
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

Offset = tuple[int, int]  # start and end character of a token; equal for a token without text

REPLACEMENT = "\ufffd"  # what a decoder shows for bytes that are not a character (yet)
_TEXTS: WeakKeyDictionary[Any, dict[int, str]] = WeakKeyDictionary()  # of single tokens, by what decodes them
PATIENCE = 8  # tokens tried one by one until their text is complete; a character has at most 4 bytes


def part_offsets(offsets: Sequence[Offset], whole: str, parts: Sequence[str]) -> list[Offset]:
    """Return offsets in `whole` as offsets in the joined `parts`, which occur in it in this order.

    A token between the parts, such as one of a tool call, gets an empty range; a part that does not occur in `whole`,
    such as a tag that the prompt holds, has no tokens.
    """
    places: np.ndarray = np.zeros(len(whole) + 1, dtype=int)
    reached = done = 0
    for part in parts:
        start = whole.find(part, reached)
        if start >= 0:
            reached = start + len(part)
            places[start:reached] = done + np.arange(len(part))
        done += len(part)
        places[reached:] = done
    return [(int(places[start]), int(places[end])) for start, end in offsets]


def token_offsets(
    tokenizer: Any, completion_ids: Sequence[int], text: str, decode: Callable[[list[int]], str] | None = None
) -> list[Offset]:
    """Return the characters of `text` that each sampled token stands for, in time about linear in their number.

    Tokenizing the text again may give other tokens than were sampled, so the ids are decoded a few at a time. Tokens
    that share a character each get all of it; special tokens that the text leaves out get an empty range.

    Args:
        tokenizer: a transformers tokenizer.
        completion_ids: the ids as sampled.
        text: the text they decode to, or a part of it (its last occurrence).
        decode: gives that text for the ids; else the tokenizer does, with or without special tokens.

    Raises:
        ValueError: the text does not occur in the decoded ids.
    """
    ids = [int(token) for token in completion_ids]
    shown, full = (lambda part, skip=skip: tokenizer.decode(part, skip_special_tokens=skip) for skip in (True, False))
    decoded = [(one, one(ids)) for one in ((shown, full) if decode is None else (decode,))]
    matching = [pair for pair in decoded if text == pair[1]] or [pair for pair in decoded if text in pair[1]]
    if not matching:
        raise ValueError(f"text `{text[:80]}` is not part of what the {len(ids)} ids decode to, `{decoded[0][1][:80]}`")
    decode, whole = matching[0]
    shift = whole.rfind(text)
    texts = _single_texts(decode, ids)
    silent = {token for token in set(ids) if not texts[token] and full([token])}
    audible = [token for token in ids if token not in silent]
    found = iter(_joined([texts[token] for token in audible], whole) or _align(decode, audible, whole))
    offsets, end = [], 0
    for token in ids:
        start, end = (end, end) if token in silent else next(found)
        offsets.append((min(max(start - shift, 0), len(text)), min(max(end - shift, 0), len(text))))
    return offsets


def _single_texts(decode: Callable[[list[int]], str], ids: Sequence[int]) -> dict[int, str]:
    """Return at least the text of each of these tokens by itself."""
    known = _TEXTS.setdefault(decode, {})
    known |= {token: decode([token]) for token in set(ids) - known.keys()}
    return known


def _joined(texts: Sequence[str], whole: str) -> list[Offset]:
    """Return the offsets of tokens whose texts, each by itself, make up the whole; [] if they do not."""
    if REPLACEMENT in whole or "".join(texts) != whole:
        return []
    return list(pairwise([0, *np.cumsum([len(one) for one in texts]).tolist()]))


def _align(decode: Callable[[list[int]], str], ids: list[int], whole: str) -> list[Offset]:
    """Return the offsets of `ids` in `whole`, the text they decode to."""
    offsets: list[Offset] = []
    runs = [(0, 0)]  # token and character where each run of tokens that decode together begins; the last run is open
    reached = 0
    for stop in range(1, len(ids) + 1):
        (first, position), start = runs[-1], reached
        length = stop - first
        if length > PATIENCE and length & (length - 1):
            offsets.append((start, start))
            continue  # no end in sight: try powers of two only, so that the work stays about linear
        same, complete = _recognize(decode, ids, stop, runs, whole)
        reached = max(reached, position + same)
        if not complete:
            offsets.append((start, min(reached + 1, len(whole))))  # holds part of the next character
        elif same == 0 and start == position and whole[start - 1 : start] == REPLACEMENT:
            offsets[first:] = [(start - 1, start)] * length  # further bytes of the broken character before
        else:
            offsets.append((start, reached))
        if complete and same:
            runs.append((stop, reached))
            offsets[first:] = offsets[first:] if length <= PATIENCE else [(position, reached)] * length
    first, position = runs[-1]
    return offsets if position == len(whole) else offsets[:first] + [(position, len(whole))] * (len(ids) - first)


def _recognize(
    decode: Callable[[list[int]], str], ids: list[int], stop: int, runs: list[tuple[int, int]], whole: str
) -> tuple[int, bool]:
    """Return how many characters of `whole` the open run up to `stop` stands for, and whether that is all its text.

    The run before is decoded too, because sentencepiece drops the space in front of the very first token. If that does
    not explain the text, a longer stretch may: whether byte tokens form a character depends on the bytes around them.
    """
    first, position = runs[-1]
    near = runs[-2:][0][0]
    before, text = decode(ids[near:first]), decode(ids[near:stop])
    same = 0
    if text.startswith(before):
        added = text[len(before) :]
        pairs = zip(added, whole[position : position + len(added)], strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if same == len(added):
            return same, True
    far, begin = runs[max(-8 * (stop - first), -len(runs))]
    text = decode(ids[far:stop])
    begin += whole[begin : begin + 1] == " " != text[:1]
    reach = begin + len(text) - position
    return (reach, True) if reach > 0 and whole.startswith(text, begin) else (same, False)
