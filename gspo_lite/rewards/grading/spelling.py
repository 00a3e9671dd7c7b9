"""Gives equal answers one spelling: their Unicode, LaTeX, ASCII and markdown forms become the same text.

Knows signs and layout only; `numbers.py`, `answers.py` and `symbolic.py` find the value. The text may be hostile, so
each pattern is bounded, and callers limit the length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from gspo_lite.rewards.grading.words import with_digits

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
SUBSCRIPT = re.compile(r"[₀₁₂₃₄₅₆₇₈₉]+")
SMALL_FRACTION = re.compile(r"([⁰¹²³⁴⁵⁶⁷⁸⁹]+)⁄([₀₁₂₃₄₅₆₇₈₉]+)")
SUPERSCRIPT = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
BEFORE_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "θ": "theta", "λ": "lambda", "μ": "mu",
    "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "ω": "omega",
}  # fmt: skip
SIGNS = {
    **dict.fromkeys("‐‑−–—‒―﹣－", "-"), "⁄": "/", "÷": "/", "∕": "/", "×": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ",
    **dict.fromkeys("✕✖⨯", r"\times "), "∙": r"\cdot ", "√": r"\sqrt ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ",
    **dict.fromkeys("⩽≦", r"\le "), **dict.fromkeys("⩾≧", r"\ge "), "、": ",",
    "⟨": "(", "⟩": ")", "∠": r"\angle ", "△": r"\triangle ", "∆": r"\triangle ",
    "≠": r"\neq ", "≈": r"\approx ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "±": r"\pm ",
    "∓": r"\mp ", "’": "'", "′": "'", "″": '"', "”": '"', "“": '"', "。": ".", "ℝ": r"\mathbb{R}",
    "∖": r"\setminus ", "→": r"\to ",
    "∧": r"\land ", "∨": r"\lor ", "…": "...",
    **{letter: f"\\{name} " for letter, name in GREEK.items()},
}  # fmt: skip
TABLE = str.maketrans(SIGNS)

# Patterns and their replacements, applied in this order.
LATEX: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^~", r"\\approx "),
    (r"\\(?:text)?color ?\{[^{}]*\}", ""),
    (r"\\(?:tiny|small|normalsize|large|Large|LARGE|huge|Huge|bf|rm|it|sf|tt|em|bfseries|itshape)(?![a-zA-Z])", " "),
    (r"^ ?\\(?:therefore|implies|Rightarrow)(?![a-zA-Z])|\\(?:square|blacksquare|qed|Box) ?$", " "),
    (r"\\(?:Rightarrow|Longrightarrow)(?![a-zA-Z])", r"\\implies "),
    (r"\*\*([^*]{1,60})\*\*$", r"\1"),
    (r"\\wedge(?![a-zA-Z])", r"\\land "),
    (r"\\vee(?![a-zA-Z])", r"\\lor "),
    (r"\\mid(?![a-zA-Z])", "|"),
    (r"\\[pb]?mod(?![a-zA-Z]) ?\{? ?(\w+) ?\}?|\(mod (\w+)\)", lambda match: f"\\mod {match[1] or match[2]}"),
    (r"(?<=\d) ?''", '"'),
    (r"(?<!\\)\{ ?\}", ""),
    (r"\\colon(?![a-z])|\{:\}", ":"),
    (r"\\{1,2} ?$", ""),
    (r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\.?", ""),
    (r"\\(?:displaystyle|textstyle|limits|quad|qquad|hspace\{[^{}]*\}|phantom\{[^{}]*\})(?![a-zA-Z])", " "),
    (r"(?<!\\)\\[()\[\]](?!\d*(?:em|pt|ex))", ""),  # the delimiters of LaTeX formulas
    (r"\\langle(?![a-zA-Z])", "("),
    (r"\\rangle(?![a-zA-Z])", ")"),
    (r"\{,\}", ","),
    (r"(?<!\\)\\[,;:! ]|~", " "),
    (r"\\%", "%"),
    (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
    (r"\\frac(?: ([a-zA-Z])| ?(\d))(?=[ {\da-zA-Z\\])", lambda match: f"\\frac{{{match[1] or match[2]}}}"),
    (r"\\frac ?\{([^{}]*)\} ?([\da-zA-Z])", r"\\frac{\1}{\2}"),
    (r"\\frac\s*\{\s*([^{}]*?)\s*\}\s*\{\s*([^{}]*?)\s*\}", r"\\frac{\1}{\2}"),
    (r"\\sqrt\s*(\d+|[a-zA-Z])", r"\\sqrt{\1}"),
    (r"\\sqrt ?\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"\\dot ?\{(\d)\}(\d*)\\dot ?\{(\d)\}", r"\\overline{\1\2\3}"),
    (r"\\(?:dots|cdots)(?![a-zA-Z])", r"\\ldots "),
    (r"\\log_ ?(?:e(?![a-z])|\{ ?e ?\})", r"\\ln "),
    (r"([a-zA-Z]) ?: ?([a-zA-Z]) ?\\mapsto(?![a-z])", r"\1(\2) ="),
    (r"^<([^<>=]+,[^<>=]+)>$", r"(\1)"),
    (r"\\(?:leqslant|leqq|leq)(?![a-zA-Z])", r"\\le "),
    (r"\\(?:geqslant|geqq|geq)(?![a-zA-Z])", r"\\ge "),
    (r"\\ne(?![a-zA-Z])|\\not ?=|(?<=[\sa-zA-Z])!=|=/=", r"\\neq "),
    (r"\\(?:smallsetminus|backslash)(?![a-zA-Z])", r"\\setminus "),
    (r"\\(?:long)?rightarrow(?![a-zA-Z])|->", r"\\to "),
    (r"\\lt(?![a-zA-Z])", "<"),
    (r"\\gt(?![a-zA-Z])", ">"),
    (r"\\lbrace(?![a-zA-Z])", r"\\{"),
    (r"\\rbrace(?![a-zA-Z])", r"\\}"),
    (r"\\(?:varnothing)(?![a-zA-Z])", r"\\emptyset "),
    (r"(?:\^ ?\{? ?\\(?:circ|degree)|(?<=\d)\^ ?\{? ?o)(?![a-zA-Z])(?: ?\})?|\\(?:text)?degree(?![a-zA-Z])", "°"),
    (r"(?<=\d) ?\^ ?\{? ?(st|nd|rd|th)(?![a-z])(?: ?\})?", r"\1"),
    (r"<=|=<", r"\\le "),
    (r">=|=>", r"\\ge "),
    (r"\+/-", r"\\pm "),
    (r"(?<=[\])}]) ?U ?(?=[\[({\\])", r" \\cup "),  # [0,1] U [2,3]
    (r"\*\*", "^"),
    (r"(?<![\\a-zA-Z])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"(?<![\\a-zA-Z])(sqrt|pi|sin|cos|tan|cot|csc|log|ln|arcsin|arccos|arctan|exp)(?![a-zA-Z])", r"\\\1 "),
    (r"(?<![\\a-zA-Z\d])(?<!\d )sec(?![a-zA-Z])", r"\\sec "),  # 30 sec are seconds
    (r"(?<![\\a-zA-Z])(?:[iI]nfinity|inf|oo)(?![a-zA-Z\d])", r"\\infty "),
    (r"\\mathbb ?\{? ?([A-Z])(?![a-zA-Z]) ?\}?", r"\\mathbb{\1}"),
    (r"\\(?:R|reals|Reals)(?![a-zA-Z])", r"\\mathbb{R}"),
    (r"(?<![\w.}/^])(\d+) ?/ ?(\d+) (?=\\?[a-zA-Z(])", r"\\frac{\1}{\2} "),  # 4/3 \pi is not 4/(3\pi)
    (r"\^ ?\{ ?([\da-zA-Z]) ?\}(?![\da-zA-Z])", r"^\1"),
    (r"\s+", " "),
]  # fmt: skip
DIGITS = re.compile(r" ?[-+$]?[0-9][0-9,.]*%? ?")  # spelled already, as nearly all answers of GSM8K
INCHES = re.compile(r"\d\"$")
MARKDOWN = re.compile(r"^(\*{1,3}|__?)(?=\S)([^*_]{1,60})\1(?!\*)")
BRACED = re.compile(r"^\{ ?([^{}]*?) ?\}$")
WRAPPED = re.compile(
    r"\\(?:text(?:rm|bf|it|sf|tt|sc|normal|up)?|math(?:rm|bf|it|sf|tt|up|normal|cal)|mbox|hbox|fbox|boxed|framebox|boldsymbol|bm|emph"
    r"|ensuremath|underline|operatorname\*?|ce|pu|unit)\s{0,9}\{|\\[{}]|[{}]"
)
OUTWARDS = re.compile(r"(?<![\w)}\]])([\[\]])([^\[\],;]{1,80}[,;][^\[\],;]{1,80})([\[\]])")
UNIT_VECTOR = re.compile(
    r"\\(?:mathbf|hat|vec|boldsymbol|bm|bold) ?\{? ?(?:\\(?:hat|mathbf|vec|boldsymbol) ?\{? ?)?"
    r"\\?([ijk])(?:math)?(?![a-z]) ?\}? ?\}?"
)
REPLACEMENTS = [(re.compile(pattern), new) for pattern, new in LATEX]


def spell(text: str) -> str:
    """Return an answer in that spelling: ASCII digits and signs, LaTeX commands, single spaces, no number words."""
    return without_full_stop(with_digits(spell_signs(text)))


def spell_signs(text: str) -> str:
    """Return a text in that spelling, which leaves its words alone, without layout around it."""
    if DIGITS.fullmatch(text):
        return without_full_stop(text.strip())
    text = SMALL_FRACTION.sub(lambda m: f"{m[1].translate(SUPERSCRIPTS)}/{m[2].translate(SUBSCRIPTS)}", text)
    text = SUPERSCRIPT.sub(lambda match: f"^{{{match[0].translate(SUPERSCRIPTS)}}}", text.replace("º", "°"))
    text = SUBSCRIPT.sub(lambda match: f"_{{{match[0].translate(SUBSCRIPTS)}}}", text)
    # NFKC would change some signs, so they are translated first; a space keeps a fraction apart from its whole number.
    text = unicodedata.normalize("NFKC", BEFORE_FRACTION.sub(" ", text).translate(TABLE)).translate(TABLE)
    text = "".join(str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() else c for c in text)
    text = without_layout("".join(c for c in text if unicodedata.category(c) != "Cf"))
    text = unwrapped(UNIT_VECTOR.sub(r"\\vec{\1} ", text))
    for pattern, new in REPLACEMENTS:
        text = pattern.sub(new, text)
    return without_full_stop(french_brackets(BRACED.sub(r"\1", text.strip())))


def unwrapped(text: str) -> str:
    """Return the text without the commands that only set the type of what is in their braces, however deep."""
    pieces, end, stack = [], 0, []  # of open braces: whether they belong to such a command
    for match in WRAPPED.finditer(text):
        pieces.append(text[end : match.start()])
        end, piece = match.end(), match[0]
        if piece in ("\\{", "\\}", "{"):
            stack += [False] if piece == "{" else []
        elif piece == "}":
            piece = " " if stack and stack.pop() else piece
        else:
            stack.append(True)
            piece = " "
        pieces.append(piece)
    return "".join(pieces) + text[end:]


def french_brackets(text: str) -> str:
    """Return the text with round brackets for square ones that are turned outwards: `]a,b[` is `(a,b)`."""
    opening, closing = {"]": "(", "[": "["}, {"]": "]", "[": ")"}
    return OUTWARDS.sub(lambda match: opening[match[1]] + match[2] + closing[match[3]], text)


def without_layout(text: str) -> str:
    """Return the text without markdown around it or dollar signs around formulas; a currency's dollar sign stays."""
    text = without_full_stop(without_quotes(text.strip().strip("`")))
    text = MARKDOWN.sub(r"\2", text, count=1).strip()
    held = text.replace("\\$", "\0")
    if held.count("$") % 2 == 0:
        held = held.replace("$", " ")
    return held.replace("\0", "$").strip()


def without_quotes(text: str) -> str:
    """Return a text without the quotation marks around it; those of 6'2" are inches."""
    text = text.strip()
    return text if INCHES.search(text) and not text.startswith('"') else text.strip('"').strip()


def without_full_stop(text: str) -> str:
    """Return a text without the full stop or comma at its end, but with three dots or a LaTeX space."""
    return text[:-1].strip() if text.endswith((".", ",")) and not text.endswith(("..", "\\,", "\\.")) else text


def squeezed(text: str) -> str:
    """Return a spelled text without meaningless spaces; `1 2` keeps its space."""
    return re.sub(r"(?<!\d) | (?!\d)", "", text)
