"""Rewards for the format of a completion, in linear time even for hostile text."""

from __future__ import annotations

from itertools import islice

from gspo_lite.completion.markers import ANSWER_TAGS
from gspo_lite.completion.text import Layout, find_answer, tag_patterns
from gspo_lite.completion.thinking import Pair, Thinking, after_thinking
from gspo_lite.rewards.contract.registry import reward


@reward
def think_format(completion: str, *, thinking: Thinking = "think", answer_tags: Pair = ANSWER_TAGS) -> float:
    """Return 1.0 for thinking followed by an answer, each exactly once and with nothing around them, else 0.0.

    The form is `<think>...</think><answer>...</answer>`, with white space allowed around both parts and a non-empty
    answer. `<think>` may be missing, because some prompts already open the thinking. In a recipe, the tags follow
    data.thinking and data.marker.

        <think>7+5=12</think><answer>12</answer>      1.0
        <think>7+5=12</think>12                       0.0
    """
    text = completion.strip()
    opens, closes, before, after = (list(islice(tag.finditer(text), 2)) for tag in tag_patterns(thinking, answer_tags))
    if len(opens) > 1 or not len(closes) == len(before) == len(after) == 1:
        return 0.0
    if opens and opens[0].start() > 0:
        return 0.0
    rest = (after_thinking(text, thinking) or "").strip()
    opening, closing = answer_tags
    well_formed = rest.startswith(opening) and rest.endswith(closing)
    return float(well_formed and bool(rest[len(opening) : -len(closing)].strip()))


@reward
def tag_count(completion: str, *, thinking: Thinking = "think", answer_tags: Pair = ANSWER_TAGS) -> float:
    """Return a quarter for each of the four think and answer tags that occurs exactly once.

    Softer than `think_format`: a model that does not know the format earns more with each step toward it. In a recipe,
    the tags follow data.thinking and data.marker.
    """
    found = (list(islice(tag.finditer(completion), 2)) for tag in tag_patterns(thinking, answer_tags))
    return sum(len(one) == 1 for one in found) / 4


@reward
def boxed_format(completion: str, *, thinking: Thinking = "think") -> float:
    """Return 1.0 if the text after any thinking has a closed \\boxed{} that is not empty, else 0.0."""
    return float(find_answer(completion, "boxed", thinking) is not None)


def follows_form(text: str, layout: Layout) -> bool:
    """Return whether a completion has the form that a prompt with this layout asks for."""
    if layout.in_tags:
        return bool(think_format.function(text, thinking=layout.thinking, answer_tags=layout.answer_tags) == 1.0)
    return find_answer(text, *layout) is not None
