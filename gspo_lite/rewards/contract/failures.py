"""Says where a reward function failed: at one row, which the rows before show, or at every row, which is its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gspo_lite.completion.text import chat_text, completion_text
from gspo_lite.errors import RewardError
from gspo_lite.rewards.contract.signature import LIVE, signature_of

SHOWN = 80  # characters of a text in an error
MESSAGES = 'lists of messages, the text is `completion[0]["content"]`'


def failure(
    name: str,
    function: Callable[..., Any],
    error: BaseException,
    failing: Sequence[int],
    inputs: Mapping[str, Any],
) -> RewardError:
    """Return the error to raise.

    Args:
        failing: the rows that fail alone.
        inputs: arguments of the call by name.
    """
    what, completions = named(error), inputs["completions"]
    if not failing:
        return RewardError(f"reward `{name}` failed: {what}")
    row, each = failing[0], len(failing) == len(completions)
    prompt = chat_text((inputs.get("prompts") or [""] * len(completions))[row])
    return RewardError(
        f"reward `{name}` failed at row {row}: {what}\n"
        f"  prompt: {shortened(prompt)}\n  completion: {shortened(completion_text(completions[row]))}",
        f"no completion can be judged, so look at the code; {given(function, inputs)}"
        if each
        else "a reward should return None if it cannot judge; with `on_error: skip` an error counts as None",
    )


def given(function: Callable[..., Any], inputs: Mapping[str, Any]) -> str:
    """Say what a function got, and in which form the completions were."""
    signature = signature_of(function)
    taken = [name for name in inputs if signature is None or signature.any_name or name in signature.names]
    names = ", ".join(f"`{name}`" for name in taken if name not in LIVE) or "nothing"
    texts = all(isinstance(completion, str) for completion in inputs["completions"])
    return f"it got {names}; the completions are {'texts' if texts else MESSAGES}"


def named(error: BaseException) -> str:
    """Return an error's type and message; a custom exception may fail to give one."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def shortened(text: str) -> str:
    """Return the end of a long text on one line, without control characters."""
    line = "".join(character if character.isprintable() else " " for character in text).strip()
    return line if len(line) <= SHOWN else f"...{line[-SHOWN:]}"
