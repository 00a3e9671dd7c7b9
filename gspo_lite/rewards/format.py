"""Rewards for the format of a completion, in linear time even for hostile text."""

from __future__ import annotations

from gspo_lite.completion.text import ANSWER, ANSWER_END, THINK, THINK_END, find_answer
from gspo_lite.rewards.contract.registry import reward

TAGS = (THINK, THINK_END, ANSWER, ANSWER_END)


@reward
def think_format(completion: str) -> float:
    """Return 1.0 for thinking followed by an answer, each exactly once and with nothing around them, else 0.0.

    The form is `<think>...</think><answer>...</answer>`, with white space allowed around both parts and a non-empty
    answer. `<think>` may be missing, because some prompts already open the thinking.

        <think>7+5=12</think><answer>12</answer>      1.0
        <think>7+5=12</think>12                       0.0
    """
    text = completion.strip()
    if text.count(THINK) > 1 or any(text.count(tag) != 1 for tag in TAGS[1:]):
        return 0.0
    if THINK in text and not text.startswith(THINK):
        return 0.0
    rest = text.partition(THINK_END)[2].strip()
    well_formed = rest.startswith(ANSWER) and rest.endswith(ANSWER_END)
    return float(well_formed and bool(rest[len(ANSWER) : -len(ANSWER_END)].strip()))


@reward
def tag_count(completion: str) -> float:
    """Return a quarter for each of the four think and answer tags that occurs exactly once.

    Softer than `think_format`: a model that does not know the format earns more with each step toward it.
    """
    return sum(completion.count(tag) == 1 for tag in TAGS) / 4


@reward
def boxed_format(completion: str) -> float:
    """Return 1.0 if the text after any thinking has a closed \\boxed{} that is not empty, else 0.0."""
    return float(find_answer(completion, "boxed") is not None)


def follows_form(text: str, marker: str) -> bool:
    """Return whether a completion has the form that a prompt with this marker asks for."""
    return think_format.function(text) == 1.0 if marker == "tag" else find_answer(text, marker) is not None
