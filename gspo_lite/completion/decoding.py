"""Decodes sampled tokens to the text that is judged, the same in training, evaluation, preview and export.

Special tokens are left out, except those of the layout: where `[THINK]` or `<|channel|>` is a special token, a text
without it would not show where the thoughts end. Must not know models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gspo_lite.completion.text import Layout

Decode = Callable[[Sequence[int]], str]


def decoder(tokenizer: Any, layout: Layout, opened: str = "") -> Decode:
    """Return the function from sampled ids to the text that is judged; `opened` is what the prompt wrote of it."""
    special = special_tokens(tokenizer)
    written = f"{layout.thoughts.open}{layout.thoughts.close}{''.join(layout.answer_tags)}"
    end = getattr(tokenizer, "eos_token_id", None)  # training samples it, evaluation cuts it off
    kept = {token for token, text in special.items() if text and text in written and token != end}
    if not kept:
        return lambda ids: opened + str(tokenizer.decode(ids, skip_special_tokens=True))
    dropped = special.keys() - kept
    return lambda ids: opened + str(tokenizer.decode([i for i in ids if i not in dropped], skip_special_tokens=False))


def as_judged(completion: Any, ids: Sequence[int], decode: Decode) -> Any:
    """Return a completion whose content is the text that is judged, thoughts included, as in evaluation.

    A parser may have split thoughts and tool calls off. One message is what all its tokens decode to. The messages of a
    conversation with tools stay as they were parsed; `completion_text` puts their thoughts back.
    """
    if isinstance(completion, str):
        return decode(ids)
    return [{**completion[0], "content": decode(ids)}] if len(completion) == 1 else completion


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Return the text of each token that a decoder leaves out when it skips special tokens."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    named = zip(getattr(tokenizer, "all_special_ids", ()), getattr(tokenizer, "all_special_tokens", ()), strict=False)
    return dict(named) | {token: str(one) for token, one in added.items() if getattr(one, "special", False)}
