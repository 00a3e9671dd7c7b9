"""Hostile inputs without end: well-formed seeds, the pieces they are made of, and what chance does to both.

A generator of its own instead of hypothesis, which makes a few hundred such texts a second where this makes tens of
thousands; a case is found again by its target and number, because each has a random stream of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

LONGEST = 1_000_000  # characters of the few inputs that are to take time
SHORT = 2_000  # what answers are cut to before they are looked into

TAGS = [
    "<think>", "</think>", "<answer>", "</answer>", "####", "#### ", "\\boxed{", "}", "```json\n", "```",
    "```python",
]  # fmt: skip
LATEX = [
    "\\frac{1}{2}", "\\frac12", "\\frac", "\\dfrac", "\\sqrt", "\\sqrt{2}", "\\pi", "\\pm", "\\mp", "\\infty",
    "\\le", "\\ge", "\\neq", "\\in", "\\cup", "\\cap", "\\mathbb{R}", "\\begin{pmatrix}", "\\end{pmatrix}", "\\\\",
    "&", "\\text{", "\\left(", "\\right)", "\\left", "\\overline{3}", "\\cdot", "\\times", "\\circ", "^\\circ",
    "\\langle", "\\rangle", "\\{", "\\}", "\\int_0^1", "\\sum_{i=1}^{n}", "\\log_2", "\\sin", "\\cos x",
    "\\binom{5}{2}", "\\ldots", "\\%", "\\$", "\\!", "\\,", "\\lor", "\\operatorname{", "\\displaystyle",
    "\\hspace{2em}", "\\emptyset", "\\angle ABC", "\\mid", "\\lim_{x\\to 0}", "e^{i\\pi}",
]  # fmt: skip
NUMBERS = [
    "0", "1", "-1", "7", "42", "1,000", "1 000", "1'000", "0.5", ".5", "5.", "1/2", "3 1/2", "1e5", "1e-400",
    "1e999999", "28%", "$5", "€7", "0.1(6)", "0.333...", "10^5", "10^{-3}", "9" * 30, "9^9^9", "99999!", "1_2",
    "101_2", "1 million", "½", "3½", "²", "٣", "１２", "Ⅷ", "-", "--", "+/-", "1:2", "2-3", "12:30", "0x1F", "NaN",
    "inf", "1." * 3, "0" * 40, "7 or 8", "x=3", "(1,2)",
]  # fmt: skip
WORDS = [
    "or", "and", "not", "about", "the answer is", "x", "y", "f(x)", "km", "m/s", "cm^2", "square meters", "dollars",
    "degrees", "per hour", "base 2", "A", "(B)", "c.", "Answer: ", "Paris", "это", "你好", "مرحبا", "שלום",
    "नमस्ते", "한국", "かな", "é", "e\u0301", "true", "null", "true or false", "import os", "print(1)", "{", "}",
    "[", "]", "(", ")", ":", ",", ";", "'", '"', "=", "<", ">", "<=", "|", "*", "**", "_", "^", "/", "\\", "~", "$",
    "$$", "%", "°", "`", ".", "...", "!", "?", "@", "&amp;", "{\"a\": ", "[1, 2]",
]  # fmt: skip
SPACES = [
    " ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u200b", "\u2028", "\x00", "\x1b[2J", "\u202e", "\ufeff", "\x7f",
    "\ud800", "🙂", "👨‍👩‍👧",
]  # fmt: skip
PIECES = [*TAGS * 3, *LATEX, *NUMBERS * 2, *WORDS * 2, *SPACES]
SEEDS = [
    "<think>7+5=12</think><answer>12</answer>", "so 3 + 4 = 7\n#### 7", "Hence $\\boxed{\\frac{3}{4}}$.",
    "<answer>x = 1, y = 2</answer>", "<answer>\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}</answer>",
    "\\boxed{(-\\infty, 3] \\cup (5, \\infty)}", "<answer>$1,200.50</answer>",
    "<answer>{\"name\": \"x\", \"n\": [1, 2.5, null, {\"a\": true}]}</answer>", "```json\n{\"a\": 1}\n```",
    "<answer>(b) Rome</answer>", "```python\nprint(int(input()) + 1)\n```", "<answer>(1 + 2) * 3 = 9</answer>",
    "<answer>2x^2 - 3x + 1</answer>", "\\boxed{5 \\text{ km/h}}", "<answer>\\{1, 2, 3\\}</answer>",
    "<answer>1/2 < x \\le 3</answer>", "<answer>x \\in \\{1, -1\\}</answer>",
    "\\boxed{1}, \\boxed{2} and \\boxed{3}",
]  # fmt: skip
NESTERS = [
    "(",
    "{",
    "[",
    "\\boxed{",
    "<think>",
    "\\frac{",
    "\\sqrt{",
    "^{",
    "-",
    "1/",
    "9^",
    "!",
    "[[",
    '{"a":',
    "(1+",
    "\\text{",
    "\\left(",
]


def text(rng: random.Random, longest: int = LONGEST) -> str:
    """One hostile text; one in two thousand is as long as is allowed, one in fifty is deep or repetitive."""
    draw = rng.random()
    if draw < 0.0005:
        return repeated(rng, longest)
    if draw < 0.02:
        return repeated(rng, min(longest, rng.choice((200, 2_000, 20_000))))
    if draw < 0.45:
        return "".join(rng.choices(PIECES, k=rng.randint(0, 14)))[:longest]
    if draw < 0.55:
        return "".join(chr(any_character(rng)) for _ in range(rng.randint(0, 30)))
    made = mutated(rng, rng.choice(SEEDS), PIECES)
    return made if draw < 0.8 else in_a_marker(rng, made)[:longest]


def answer(rng: random.Random) -> str:
    """A text of the size of a final answer."""
    return text(rng, SHORT)


def in_a_marker(rng: random.Random, inside: str) -> str:
    """A text where a grader looks for it."""
    return rng.choice(
        ("<answer>{}</answer>", "\\boxed{{{}}}", "#### {}", "<think>a</think><answer>{}</answer>")
    ).format(inside)


def in_tag(make: Callable[[random.Random], str]) -> Callable[[random.Random], tuple[str]]:
    """Where `math_correct` and the like find an answer."""
    return lambda rng: (f"<answer>{make(rng)}</answer>",)


def repeated(rng: random.Random, size: int) -> str:
    """A piece over and over, opened for ever, or opened and closed again."""
    if rng.random() < 0.5:
        piece = rng.choice(NESTERS)
        made = piece * (size // (2 * len(piece)))
        return made if rng.random() < 0.5 else made + "1" + rng.choice("})]") * (size - len(made) - 1)
    piece = "".join(rng.choices(PIECES, k=rng.randint(1, 3))) or "x"
    return rng.choice(("", "<answer>", "\\boxed{")) + piece * (size // len(piece))


def any_character(rng: random.Random) -> int:
    """A code point, mostly of the first planes."""
    return rng.choice((rng.randrange(32, 127), rng.randrange(0x250), rng.randrange(0x3000), rng.randrange(0x110000)))


def mutated(rng: random.Random, text: str, pieces: Sequence[str]) -> str:
    """A text after one to four changes."""
    for _ in range(rng.randint(1, 4)):
        at, to = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        text = rng.choice(CHANGES)(rng, text, at, min(to, at + 40), pieces)
    return text


Change = Callable[[random.Random, str, int, int, Sequence[str]], str]
CHANGES: list[Change] = [
    lambda rng, text, at, to, pieces: text[:at] + rng.choice(pieces) + text[at:],
    lambda rng, text, at, to, pieces: text[:at] + rng.choice(pieces) + text[to:],
    lambda rng, text, at, to, pieces: text[:at] + text[to:],
    lambda rng, text, at, to, pieces: text[:to] + text[at:to] * rng.choice((1, 2, 30)) + text[to:],
    lambda rng, text, at, to, pieces: text[to:] + text[:at],
    lambda rng, text, at, to, pieces: text[:at] + text[at:to][::-1] + text[to:],
    lambda rng, text, at, to, pieces: text[:at] + chr(any_character(rng)) + text[to:],
]


def value(rng: random.Random, depth: int = 0) -> object:
    """Anything a completion, a column or a JSON document can hold."""
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind < 3:
        return answer(rng)
    if kind < 6:
        return rng.choice((None, True, 7, -1, 10**400, 0.5, float("nan"), float("inf"), "", [], {}))
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    names = ("content", "role", "text", "type", "a", "$ref", "pattern")
    return {rng.choice(names): value(rng, depth + 1) for _ in range(rng.randint(0, 3))}


YAML = [
    "a", "on", "no", "~", "null", "010", "1e-5", "5e-6", ".nan", "-.inf", "0x10", "0o7", "1_000", "true",
    "2026-11-21", "12:30:45", "!!int 4", "!!python/name:os.system x", "!x", "&a", "*a", "<<: ", "- ", "? ", ": ",
    "{", "}", "[", "]", ",", "|\n", ">\n", "'", '"', "\t", "\n", "\n  ", "\n    ", "%YAML 1.1\n", "---\n", "...\n",
    "# c", "\x00", "\ufeff", "\u0085", "\u2028", "\\", "🙂", "\ud800", "@", "`", "name", "rewards", "options",
    "training.extra", "../../x", "/etc/passwd", "-1", "0", "99999999999999999999", "1" * 5000, "{a: {b: ", "[[[[",
    "epsilon: 0.2", "model: ", "dir: ", "<<", "=", "- {name: math_correct}", "credit: {tail: 0}", "  x: y\n",
]  # fmt: skip


def recipe(rng: random.Random, seeds: Sequence[str]) -> bytes:
    """Bytes that may be a recipe: mostly one that was a recipe before."""
    if rng.random() < 0.15:
        return "".join(rng.choices(YAML, k=rng.randint(0, 25))).encode("utf-8", "surrogatepass")
    made = mutated(rng, rng.choice(seeds), YAML).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        at = rng.randint(0, len(made))
        made = made[:at] + rng.randbytes(rng.randint(1, 4)) + made[at:]
    return made
