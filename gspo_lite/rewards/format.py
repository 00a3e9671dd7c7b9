"""Rewards for the form of a completion. Each looks at the text once, so a million hostile characters take no longer."""

from __future__ import annotations

from gspo_lite.completion.text import ANSWER, ANSWER_END, THINK, THINK_END, find_answer
from gspo_lite.rewards.contract.registry import reward

TAGS = (THINK, THINK_END, ANSWER, ANSWER_END)


@reward
def think_format(completion: str) -> float:
    """1.0 for thinking and then an answer, each once and nothing around them, else 0.0.

    The form is `<think>...</think><answer>...</answer>` with white space allowed around both and an answer that is not
    empty. A prompt that already opened the thinking may leave `<think>` out.

        <think>7+5=12</think><answer>12</answer>      1.0
        <think>7+5=12</think>12                       0.0
    """
    text = completion.strip()
    if text.count(THINK) > 1 or any(text.count(tag) != 1 for tag in TAGS[1:]):
        return 0.0
    if THINK in text and not text.startswith(THINK):
        return 0.0
    behind = text.partition(THINK_END)[2].strip()
    well_formed = behind.startswith(ANSWER) and behind.endswith(ANSWER_END)
    return float(well_formed and bool(behind[len(ANSWER) : -len(ANSWER_END)].strip()))


@reward
def tag_count(completion: str) -> float:
    """A quarter for each of the four think and answer tags that stands exactly once.

    Softer than `think_format`: it has a slope that a model without the format can climb.
    """
    return sum(completion.count(tag) == 1 for tag in TAGS) / 4


@reward
def boxed_format(completion: str) -> float:
    """1.0 where the text after any thinking has a closed \\boxed{} that is not empty, else 0.0."""
    return float(find_answer(completion, "boxed") is not None)


def follows_form(text: str, marker: str) -> bool:
    """Whether a completion has the form that a prompt with this marker asks for."""
    return think_format.function(text) == 1.0 if marker == "tag" else find_answer(text, marker) is not None
