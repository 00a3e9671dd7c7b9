"""Texts of a recipe with columns in braces, `{instruction}\\n{input}`, which hold nothing else: no code, no formats."""

from __future__ import annotations

from string import Formatter

Piece = tuple[str, str | None]  # text, and the column that follows it, if any


def pieces(template: str) -> list[Piece]:
    """Return a template as texts and columns; `{{` and `}}` stand for braces.

    Raises:
        ValueError: a brace is left open or holds anything but the name of a column.
    """
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"is not text with columns in braces: {error}. Write {{{{ for a brace") from None
    for _, name, form, conversion in parsed:
        if name is not None and (not name.strip() or "\n" in name or form or conversion):
            shown = f"{{{name}{'!' + conversion if conversion else ''}{':' + form if form else ''}}}"
            raise ValueError(f"has `{shown}`; braces hold the name of a column. Write {{{{ for a brace")
    return [(text, name) for text, name, _, _ in parsed]


def template_problem(template: str, example: str) -> str | None:
    """Return what is wrong with a template, which must name at least one column, as `example` does."""
    try:
        named = [name for _, name in pieces(template) if name is not None]
    except ValueError as error:
        return str(error)
    return None if named else f"must name at least one column of a row in braces, as in {example}"
