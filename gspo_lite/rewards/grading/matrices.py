"""Reads matrices and vectors: LaTeX environments with a factor in front, lists of lists, columns, sums of i, j and k.

Texts are spelled (`spelling.spell`). Must not know when two matrices are the same, which `answers.py` decides.
"""

from __future__ import annotations

import re

from gspo_lite.rewards.grading.shapes import CLOSE, OPEN, Bracketed, split, without_label

MATRIX = re.compile(
    r"(.*?)[(\[]? ?\\begin\{([pbB]?matrix|smallmatrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end\{\2\} ?[)\]]?"
    r"( ?\^ ?\{? ?(?:T|\\top|\\intercal) ?\}?)?"
)
SEMICOLON, COMMA = re.compile(";"), re.compile(",")
UNIT = re.compile(r"(.*?)(?:\\vec\{([ijk])\}|(?<![a-zA-Z\\])([ijk]))")

Rows = list[list[str]]


def rows_of(text: str) -> Rows | None:
    """Return the cells of a matrix by rows, without its label; None if the text is not a matrix."""
    text = without_label(text).strip()
    match = MATRIX.fullmatch(text)
    if match is None:
        return listed_rows(text)
    rows = [row for row in re.sub(r"\\\\\s*\[[^\]]{0,9}\]", r"\\\\", match[3]).split("\\\\") if row.strip()]
    cells = [[times(match[1].strip(), cell.strip()) for cell in row.split("&")] for row in rows]
    if match[4] and len({len(row) for row in cells}) == 1:
        return [list(column) for column in zip(*cells, strict=True)]
    return cells


def times(factor: str, cell: str) -> str:
    """Return a cell multiplied by the factor in front of its matrix."""
    factor = factor.removesuffix("\\cdot").removesuffix("\\times").strip()
    if not factor:
        return cell
    return f"-({cell})" if factor == "-" else f"({factor})\\cdot ({cell})"


def listed_rows(text: str) -> Rows | None:
    """Return the rows of `[[1, 2], [3, 4]]` or `[1, 2; 3, 4]`; None for other texts."""
    outer = Bracketed.read(text)
    if outer is None or outer.brackets != "[]":
        return None
    if ";" in text and "[" not in text[1:]:
        return [split(row, COMMA, thousands=False) for row in split(text[1:-1], SEMICOLON)] if "," in text else None
    inner = [Bracketed.read(part) for part in outer.parts]
    rows = [row.parts for row in inner if row is not None and row.brackets == "[]"]
    return rows if len(rows) == len(inner) else None


def vector_of(text: str) -> list[str] | None:
    """Return the components of a tuple, of a single row or column, or of a sum of i, j and k; None for other texts."""
    rows = rows_of(text)
    if rows is not None:
        single = rows[0] if len(rows) == 1 else [row[0] for row in rows if len(row) == 1]
        return single if len(single) > 1 and len(single) in (len(rows), len(rows[0])) else None
    bracketed = Bracketed.read(text)
    if bracketed is not None and bracketed.brackets in ("()", "[]") and len(bracketed.parts) > 1:
        return bracketed.parts
    return unit_vectors(without_label(text))


def unit_vectors(text: str) -> list[str] | None:
    """Return the three factors in a sum of i, j and k, each at most once; None for other texts."""
    factors: dict[str, str] = {}
    for term in terms_of(text):
        match = UNIT.fullmatch(term.strip())
        name = (match[2] or match[3]) if match else ""
        if match is None or name in factors:
            return None
        factor = match[1].replace("\\cdot", "").replace(" ", "")
        factors[name] = f"{factor}1" if factor in ("", "+", "-") else factor
    if not {"j", "k"} & set(factors) or ("\\vec" not in text and len(factors) < 2):
        return None
    return [factors.get(name, "0").removeprefix("+") for name in "ijk"]


def terms_of(text: str) -> list[str]:
    """Return the terms of a sum, each with its sign."""
    terms, depth = [""], 0
    for character in text:
        depth += (character in OPEN) - (character in CLOSE)
        if character in "+-" and depth == 0 and terms[-1].strip():
            terms.append("")
        terms[-1] += character
    return terms
