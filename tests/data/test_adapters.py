"""What makes a problem of a row: the registry of adapters, and a user's own."""

import hashlib
import json
from pathlib import Path

import pytest

from gspo_lite.data.adapters import ADAPTERS, descriptions
from gspo_lite.data.sources import load_problems
from gspo_lite.errors import DataError, UsageError
from gspo_lite.recipe.data_settings import DataSettings

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
OWN = """
seen = open("imports", "a").write(".")

def problem(row):
    return {"prompt": row["task"], "answer": row["values"][0], "level": row["level"]}

def named(row, columns):
    return {"prompt": row[columns.prompt], "answer": row["level"]}

def picky(row):
    if row["level"] == 3:
        raise ValueError("level 3")
    return problem(row)

def inverse(number):
    return 1 / number

def buggy(row):
    return {"prompt": row["task"], "answer": inverse(row["level"] - 3)}

def leaves(row):
    raise SystemExit("bye")

def half(row):
    return {"prompt": row["task"], "level": 1}

def listed(row):
    return [row["task"]]

def mixed(row):
    return {**problem(row), "x": 1 if row["level"] == 3 else "one"}

def two(row, other):
    return row

def none():
    return {}

number_of = 7
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    rows = [{"task": f"task {n}", "values": [10 * n, 0], "level": n} for n in range(1, 7)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def loaded(adapter, **options):
    data = {"source": "rows.jsonl", "prompt": "plain", "adapter": adapter, "eval": {"limit": 1}}
    return load_problems(DataSettings.model_validate({**data, **options}))


def test_the_readme_has_every_adapter_with_its_description():
    text = (RECIPES / "README.md").read_text(encoding="utf-8")
    table = text.split("| `data.adapter` |")[1].split("\n\n")[0].splitlines()[2:]
    assert dict(line.strip("| ").split(" | ") for line in table) == {f"`{k}`": v for k, v in descriptions().items()}
    assert all(text.endswith(".") for text in descriptions().values())


def test_a_built_in_one_is_known_by_the_name_of_its_function():
    assert {"columns", "gsm8k", "math", "countdown", "choices"} <= set(ADAPTERS)
    assert all(name == function.__name__ for name, function in ADAPTERS.items())


def test_a_function_of_a_file_makes_the_problems_and_is_imported_once(home):
    problems = loaded("mine.py:problem", eval={"source": "rows.jsonl", "limit": 1})
    assert problems.train[0] == {"prompt": [{"role": "user", "content": "task 2"}], "answer": "20", "level": 2}
    assert len(problems.train) == 5
    assert problems.adapter.sha256 == hashlib.sha256(OWN.encode()).hexdigest()
    assert (home / "imports").read_text() == "."


def test_a_function_with_columns_gets_the_names_in_the_recipe(home):
    problems = loaded("mine.py:named", columns={"prompt": "task", "answer": "unused"})
    assert problems.train[0] == {"prompt": [{"role": "user", "content": "task 1"}], "answer": "1"}


def test_a_module_or_a_notebook_may_hold_the_function(home, monkeypatch):
    import __main__

    monkeypatch.syspath_prepend(home)
    monkeypatch.setattr(__main__, "cell", lambda row: {"prompt": row["task"], "answer": "7"}, raising=False)
    assert loaded("mine:problem").train[0]["answer"] == "10"
    assert loaded("__main__:cell").train[0]["answer"] == "7"


def test_a_value_error_is_about_the_row_and_can_be_skipped(home):
    with pytest.raises(DataError, match=r"row 3: mine\.py:12: ValueError: level 3"):
        loaded("mine.py:picky")
    problems = loaded("mine.py:picky", bad_rows="skip")
    assert len(problems.train) + len(problems.held_out) == 5
    assert "row 3: mine.py:12: ValueError: level 3" in problems.notes[0]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("buggy", "`rows.jsonl`: row 3: adapter `mine.py:buggy`: mine.py:16: ZeroDivisionError: division by zero"),
        ("leaves", "row 1: adapter `mine.py:leaves`: mine.py:22: SystemExit: bye"),
        ("half", "row 1: adapter `mine.py:half` must return a dict with `prompt` and `answer`; it returned"),
        ("half", "one with ['prompt', 'level']"),
        ("listed", "it returned a list"),
    ],
)
def test_a_fault_of_the_code_stops_even_where_bad_rows_are_skipped(home, name, says):
    with pytest.raises(DataError) as caught:
        loaded(f"mine.py:{name}", bad_rows="skip")
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mine.py:two", "cannot be called as f(row) or f(row, columns): missing a required argument: 'other'"),
        ("mine.py:none", "cannot be called as f(row) or f(row, columns): too many positional arguments"),
        ("mine.py:number_of", "7 is not a callable object"),
        ("mine.py:absent", "`mine.py` has no `absent`; it has buggy, half, "),
        ("nowhere.py:f", "adapter `nowhere.py:f`: there is no file `nowhere.py`"),
        ("no_such_module:f", "there is no module `no_such_module`"),
        ("gsm8", "did you mean `gsm8k`?"),
    ],
)
def test_what_is_no_adapter_is_refused(home, name, says):
    with pytest.raises(UsageError) as caught:
        loaded(name)
    assert says in caught.value.message


def test_a_warm_up_from_a_source_of_its_own_takes_the_same_adapter(home):
    from gspo_lite import load_recipe
    from gspo_lite.models.starter import build_tokenizer
    from gspo_lite.training.examples import load_examples

    sets = ["data.source=rows.jsonl", "data.adapter=mine.py:problem", "data.eval.source=rows.jsonl",
            "data.eval.limit=1", "warmup.source=rows.jsonl"]  # fmt: skip
    recipe = load_recipe("quickstart_warmup", [*sets, "warmup.completion=<answer>{level}</answer>"]).recipe
    tokenizer = build_tokenizer()
    examples = load_examples(recipe, recipe.warmup, load_problems(recipe.data), tokenizer)
    assert "<answer>2</answer>" in tokenizer.decode(examples[0]["input_ids"])
