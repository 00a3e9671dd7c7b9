"""Columns in braces: what is a template, what a recipe may say with one, and the text that a row makes of it."""

import pytest

from gspo_lite import load_recipe
from gspo_lite.data.columns import column, filled
from gspo_lite.errors import RecipeError
from gspo_lite.recipe.template import pieces, template_problem

FILLED = [
    ("{a}", {"a": "x"}, "x"),
    ("{a} and {b}", {"a": "x", "b": 2}, "x and 2"),
    ("{{a}} {a} }}{{", {"a": "x"}, "{a} x }{"),
    ("{a}", {"a": "{b} {{ }"}, "{b} {{ }"),
    ("Correct: {Correct Answer}", {"Correct Answer": "x"}, "Correct: x"),
    ("{a.b.c}", {"a": {"b": {"c": 7}}}, "7"),
    ("{a.b}", {"a": '{"b": 7}'}, "7"),
    ("{a.b}", {"a.b": 1, "a": {"b": 2}}, "1"),
    ("{a}", {"a": ["é", 1]}, '["é", 1]'),
    ("{a}", {"a": False}, "False"),
    ("{a}\n{b}", {"a": "x", "b": None}, "x"),
    ("{a}\n\n{b}\n\nSay.", {"a": "x", "b": ""}, "x\n\nSay."),
    ("{a}\n\n{b}\n\nSay.", {"a": "", "b": "y"}, "\ny\n\nSay."),
    ("Q: {a}\nHint: {b}", {"a": "x", "b": ""}, "Q: x\nHint: "),
    ("{a} {b}\n{c}", {"a": " ", "b": "", "c": "z"}, "z"),
    ("{a}", {"a": "x\n\n\n\ny"}, "x\n\n\n\ny"),
    ("one\n\n\ntwo {a}", {"a": "x"}, "one\n\n\ntwo x"),
    ("{a} {a}", {"a": "x"}, "x x"),
]


@pytest.mark.parametrize(("template", "row", "text"), FILLED)
def test_a_row_fills_a_template(template, row, text):
    assert filled(template, row) == text
    assert template_problem(template, "..") is None


WRONG = [
    ("no column", "must name at least one column of a row in braces, as in {a}"),
    ("{{a}}", "must name at least one column"),
    ("{a", "is not text with columns in braces"),
    ("a}", "is not text with columns in braces"),
    ("{}", "has `{}`; braces hold the name of a column. Write {{ for a brace"),
    ("{ }", "has `{ }`; braces hold the name of a column"),
    ("{a!r}", "has `{a!r}`; braces hold the name of a column"),
    ("{a:>10}", "has `{a:>10}`; braces hold the name of a column"),
    ("{a:{b}}", "has `{a:{b}}`; braces hold the name of a column"),
    ('{"key": "{a}"}', "braces hold the name of a column"),
    ("{a\nb}", "braces hold the name of a column"),
]


@pytest.mark.parametrize(("template", "says"), WRONG)
def test_what_is_no_template_is_refused(template, says):
    assert says in template_problem(template, "{a}")


@pytest.mark.parametrize("name", ["a.__class__", "a.__init__.__globals__", "a[0]", "a.0", "0", "a.b"])
def test_a_template_reads_columns_and_nothing_else(name):
    assert pieces(f"{{{name}}}") == [("", name)]
    with pytest.raises(ValueError, match="there is no column"):
        filled(f"{{{name}}}", {"a": "x"})


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.template='{a!r}'"], "`data.template`: has `{a!r}`"),
        (["data.template=Why"], "must name at least one column of a row in braces, as in {instruction}\\n{input}"),
        (["data.template='{a}'", "data.columns={prompt: a}"], "replaces data.columns.prompt; remove one of them"),
        (["data.template='{a}'", "data.adapter=countdown"], "is not for adapter `countdown`, which writes its own"),
        (["data.template='{a}'", "data.adapter='json:loads'"], "is not for adapter `json:loads`"),
    ],
)
def test_a_recipe_whose_template_cannot_work_is_refused(overrides, says):
    with pytest.raises(RecipeError) as caught:
        load_recipe("quickstart", overrides)
    assert says in str(caught.value)


def test_a_column_lists_what_there_is():
    with pytest.raises(ValueError, match="there is no column `a`; the row has none"):
        column({}, "a")
    with pytest.raises(ValueError, match="there is no column `tex`; the row has `text`; did you mean `text`"):
        column({"a": {"text": 1}}, "a.tex")
