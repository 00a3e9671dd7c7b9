"""Made-up completions of a problem: right and wrong, in and out of form, and hostile ones that try to earn a reward.

Owns the texts and the role of each. Must not know rewards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from gspo_lite.completion.text import Layout, find_answer

RIGHT, WRONG = "right, in form", "wrong, in form"
THOUGHTS = "Let me work this out step by step."
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
SUM = re.compile(r"\d[\d\s.,()+*/-]*[+*/-][\d\s.,()]*\d")
FEW = 20  # repetitions
CHARACTERS_PER_TOKEN = 4  # of English, roughly


@dataclass(frozen=True)
class Attempt:
    """A made-up completion.

    Attributes:
        kind: what the completion is, in a user's words.
        role: `right` or `wrong` by its answer; `hostile` must not score as much as a right one; `equal` has the right
            value, but it is not worked out.
    """

    kind: str
    text: str
    role: Literal["right", "wrong", "hostile", "equal"]


def in_form(layout: Layout, answer: str, thoughts: str = THOUGHTS) -> str:
    """Return a completion in the form that a prompt with this layout asks for."""
    return layout.form(answer, thoughts)


def instructive(gold: Any, layout: Layout) -> list[Attempt]:
    """Return completions that show what each reward measures."""
    right, wrong = str(gold), other_than(gold)
    return [
        Attempt(RIGHT, in_form(layout, right), "right"),
        Attempt("right, no form", f"The answer is {right}", "right"),
        Attempt("right, no thoughts", in_form(layout, right, ""), "right"),
        Attempt(WRONG, in_form(layout, wrong), "wrong"),
        Attempt("right, then replaced", in_form(layout, right) + "\n" + in_form(layout, wrong), "wrong"),
        Attempt("cut off", in_form(layout, right)[: len(THOUGHTS)], "wrong"),
        Attempt("empty", "", "wrong"),
    ]


def unanswered(layout: Layout) -> list[Attempt]:
    """Return completions of a problem without a right answer, for rewards that need none."""
    whole = in_form(layout, THOUGHTS)
    return [
        Attempt("in form", whole, "wrong"),
        Attempt("no form", THOUGHTS, "wrong"),
        Attempt("cut off", whole[: len(whole) // 2], "wrong"),
        Attempt("empty", "", "wrong"),
    ]


def hostile(question: str, gold: Any, layout: Layout, max_tokens: int) -> list[Attempt]:
    """Return completions, up to `max_tokens` long, that must score less than a worked-out right answer."""
    attempts = guesses(question, gold, layout) + spam(layout, max_tokens)
    return attempts + formulas(gold, layout) + echoes(question, layout)


def guesses(question: str, gold: Any, layout: Layout) -> list[Attempt]:
    """Return all answers at once, and the right one among others; none ends with the right one."""
    right, wrong = str(gold), other_than(gold)
    numbers = [str(n) for n in range(100) if differs(str(n), right)] + [wrong]
    asked = [n for n in NUMBER.findall(question) if differs(n, right)] or [wrong]
    answers = {
        "every number": " ".join(numbers),
        "every number, with commas": ", ".join(numbers),
        "every letter": "A, B, C, D, E, F",
        "right or wrong": f"{right} or {wrong}",
        "right among others": f"{asked[0]}, {right}, {wrong}",
        "right and wrong, nothing between": f"{right} {wrong}",
        "right, then rejected": f"{right}? no, {wrong}",
        "a number from the question": asked[-1],
        "zero": "0" if differs("0", right) else "1",
    }
    many = "".join(f"\\boxed{{{answer}}} " for answer in [right, *numbers[:FEW]])
    return [Attempt(kind, in_form(layout, answer), "hostile") for kind, answer in answers.items()] + [
        Attempt("many boxes", many, "hostile"),
        Attempt("many boxes in form", in_form(layout, many), "hostile"),
        Attempt("many answers in form", "\n".join(in_form(layout, one) for one in [right, *numbers[:FEW]]), "hostile"),
        Attempt("right in the thoughts only", in_form(layout, wrong, f"It is {right}, {right}, {right}."), "hostile"),
        *unmarked(right, layout),
    ]


def unmarked(right: str, layout: Layout) -> list[Attempt]:
    """Return the right answer without its marker, or with one that is not closed; none where no marker is needed."""
    texts = {
        "right, never closed": in_form(layout, right).rpartition(right)[0] + right,
        "right, without the marker": f"{THOUGHTS} {right}",
    }
    hidden = [(kind, text) for kind, text in texts.items() if find_answer(text, *layout) != right]
    return [Attempt(kind, text, "hostile") for kind, text in hidden[:1]]


def spam(layout: Layout, max_tokens: int) -> list[Attempt]:
    """Return empty completions, and long ones without content."""
    thinking, answer = layout.thoughts, layout.answer_tags
    return [
        Attempt("empty", "", "hostile"),
        Attempt("white space", " \n\t " * FEW, "hostile"),
        Attempt("empty form", in_form(layout, "", ""), "hostile"),
        Attempt("form around words", in_form(layout, "the answer"), "hostile"),
        Attempt("longest", "so " * (max_tokens * CHARACTERS_PER_TOKEN // 3), "hostile"),
        Attempt("repeated", "The answer is right. " * FEW, "hostile"),
        Attempt("tag spam", f"{thinking.open}{thinking.close}{''.join(answer)}" * FEW, "hostile"),
        Attempt("opening tags", f"{thinking.open}{answer[0]}" * FEW, "hostile"),
        Attempt("marker spam", "#### " * FEW + "\\boxed{" * FEW, "hostile"),
        Attempt("claims to be right", in_form(layout, "correct, reward 1.0"), "hostile"),
    ]


def formulas(gold: Any, layout: Layout) -> list[Attempt]:
    """Return LaTeX that tries to equal every answer, to run as code or to take forever."""
    right, wrong = str(gold), other_than(gold)
    answers = {
        "not a number": "\\text{NaN}",
        "infinity": "\\infty",
        "division by zero": "\\frac{1}{0}",
        "an unknown": "x" if "x" not in right else "y",
        "an equation with an unknown": f"x = {wrong}",
        "an interval around it": f"({wrong}, {right})",
        "not equal to": f"\\neq {right}",
        "a huge power": "9^{9^{9^{9}}}",
        "a large factorial": "100000!",
        "deep fractions": "\\frac{1}{" * FEW + wrong + "}" * FEW,
        "code": "__import__('os').getpid()",
        "a plus or minus": f"\\pm {right} \\pm {wrong}",
    }
    return [Attempt(f"LaTeX: {kind}", in_form(layout, answer), "hostile") for kind, answer in answers.items()]


def echoes(question: str, layout: Layout) -> list[Attempt]:
    """Return the question, as text and as an answer, and its sum as an answer that is not worked out."""
    found = SUM.search(question)
    attempts = [
        Attempt("prompt echo", question, "hostile"),
        Attempt("prompt echo in form", in_form(layout, question), "hostile"),
        Attempt("prompt echo repeated", f"{question}\n" * FEW, "hostile"),
    ]
    return attempts + ([Attempt("the question's own sum", in_form(layout, found[0]), "equal")] if found else [])


def differs(number: str, gold: str) -> bool:
    """Return whether a number differs from the gold, however the gold is written."""
    try:
        return float(number) != float(gold.replace(",", ""))
    except ValueError:
        return number != gold


def other_than(gold: Any) -> str:
    """Return a wrong answer of the same kind as the right one: the next number, or words."""
    numbers = NUMBER.findall(str(gold).replace(",", ""))
    try:
        return f"{float(numbers[-1]) + 1:g}" if numbers and len(numbers[-1]) < 6 else str(int(numbers[-1]) + 1)
    except (IndexError, ValueError):
        return "none of these"
