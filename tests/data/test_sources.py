import json

import pytest

from gspo_lite.completion.text import Layout
from gspo_lite.data.prompts import as_text, messages, style_message
from gspo_lite.data.sources import load_problems
from gspo_lite.errors import DataError
from gspo_lite.recipe.data_settings import DataSettings

GOOD = [{"question": f"{n} + 1?", "answer": n + 1, "level": "easy"} for n in range(20)]


def settings(path, **options):
    defaults = {"source": str(path), "prompt": "plain", "columns": {"prompt": "question", "answer": "answer"}}
    return DataSettings.model_validate({**defaults, **options})


def jsonl(folder, rows, name="train.jsonl"):
    path = folder / name
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def csv_file(folder):
    path = folder / "train.csv"
    lines = ["question,answer,level", *(f'"{n} + 1?",{n + 1},easy' for n in range(20))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def parquet(folder):
    from datasets import Dataset

    path = folder / "train.parquet"
    Dataset.from_list(GOOD).to_parquet(path)
    return path


@pytest.mark.parametrize(
    "write", [lambda folder: jsonl(folder, GOOD), csv_file, parquet], ids=["jsonl", "csv", "parquet"]
)
def test_local_files_give_prompt_answer_and_the_other_columns(tmp_path, write):
    problems = load_problems(settings(write(tmp_path)))
    assert problems.train[0] == {
        "prompt": [{"role": "user", "content": "0 + 1?"}], "answer": "1", "level": "easy",
    }  # fmt: skip
    assert (len(problems.train), len(problems.held_out)) == (18, 2)
    assert "the last 2 problems" in problems.notes[0]


def test_held_out_problems_are_not_trained_on(tmp_path):
    train, held_out = jsonl(tmp_path, GOOD), jsonl(tmp_path, GOOD[5:8], "test.jsonl")
    problems = load_problems(settings(train, eval={"source": str(held_out)}))
    asked = {as_text(prompt) for prompt in problems.train["prompt"]}
    assert not asked & {as_text(prompt) for prompt in problems.held_out["prompt"]}
    assert len(problems.train) == 17
    assert "3 training problems are also held out" in problems.notes[0]


def test_limits_keep_the_first_problems(tmp_path):
    train, held_out = jsonl(tmp_path, GOOD[:10]), jsonl(tmp_path, GOOD[10:], "test.jsonl")
    problems = load_problems(settings(train, limit=4, eval={"source": str(held_out), "limit": 3}))
    assert (len(problems.train), len(problems.held_out)) == (4, 3)
    assert problems.train[0]["answer"] == "1"


BAD = [
    ("{", "row 2: not JSON"),
    ("[1]", "row 2: a list, not a JSON object"),
    ({"question": "q"}, "row 2: there is no column `answer`; the row has `question`"),
    ({"qestion": "q", "answer": 1}, "did you mean `qestion`"),
    ({"question": "q", "answer": None}, "row 2: the answer is missing"),
    ({"question": "q", "answer": " "}, "row 2: the answer is empty"),
    ({"question": "q", "answer": ["7"]}, "row 2: the answer is a list"),
    ({"question": "q", "answer": True}, "row 2: the answer is a bool"),
    ('{"question": "q", "answer": NaN}', "row 2: the answer is nan"),
    ({"question": "", "answer": "7"}, "row 2: the prompt is empty"),
    ({"question": 7, "answer": "7"}, "row 2: the prompt is a int"),
    ({"question": [1], "answer": "7"}, "row 2: the prompt is a list"),
    ({"question": "q" * 100_001, "answer": "7"}, "row 2: the prompt has 100001 characters"),
]


@pytest.mark.parametrize(("row", "says"), BAD, ids=[says[:40] for _, says in BAD])
def test_a_bad_row_is_named_with_number_and_reason(tmp_path, row, says):
    path = jsonl(tmp_path, [GOOD[0], row, *GOOD[1:]])
    with pytest.raises(DataError) as caught:
        load_problems(settings(path))
    assert says in caught.value.message
    skipped = load_problems(settings(path, bad_rows="skip"))
    assert len(skipped.train) + len(skipped.held_out) == 20
    assert "1 rows" in skipped.notes[0]
    assert says in skipped.notes[0]


def test_only_the_first_bad_rows_are_spelled_out(tmp_path):
    with pytest.raises(DataError, match="has 7 rows that cannot be used") as caught:
        load_problems(settings(jsonl(tmp_path, ["{"] * 7)))
    assert "... and 2 more" in caught.value.message


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'{"question": "q", "answer": "1"}\n{"question": "\xff", "answer": "1"}\n')
    with pytest.raises(DataError, match="row 2: not UTF-8 at byte 14"):
        load_problems(settings(path))


def test_repeated_prompts_are_kept_once_and_counted(tmp_path):
    problems = load_problems(settings(jsonl(tmp_path, [*GOOD, GOOD[3]])))
    assert len(problems.train) + len(problems.held_out) == 20
    assert "1 problems" in problems.notes[0]


@pytest.mark.parametrize(
    ("name", "says"),
    [("trian.jsonl", "did you mean"), ("train.xlsx", "there is no file"), ("./nowhere", "there is no file")],
)
def test_a_source_that_is_not_there_is_named(tmp_path, monkeypatch, name, says):
    monkeypatch.chdir(tmp_path)
    jsonl(tmp_path, GOOD)
    if name == "train.xlsx":
        (tmp_path / name).write_text("x")
        name, says = "./train.xlsx", "is a spreadsheet; save it as CSV"
    with pytest.raises(DataError, match=says):
        load_problems(settings(name))


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_refused(tmp_path, text):
    path = tmp_path / "train.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match="no row that can be used"):
        load_problems(settings(path))


def test_a_csv_row_of_another_width_is_bad(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("question,answer\na,1\nb\nc,3,4\n")
    with pytest.raises(DataError, match="has 2 rows") as caught:
        load_problems(settings(path))
    assert "row 2: a different number of fields than the header" in caught.value.message


def test_gsm8k_takes_the_number_behind_the_hashes(tmp_path):
    rows = [{"question": f"q{n}", "answer": f"So 1,000 + {n}.\n#### 1,00{n}"} for n in range(4)]
    problems = load_problems(settings(jsonl(tmp_path, rows), adapter="gsm8k"))
    assert problems.train[0]["answer"] == "1000"
    assert problems.train[0]["solution"].endswith("#### 1,000")
    with pytest.raises(DataError, match="row 1: `answer` has no `####`"):
        load_problems(settings(jsonl(tmp_path, [{"question": "q", "answer": "7"}]), adapter="gsm8k"))


def test_the_embedded_task_brings_both_splits():
    data = DataSettings.model_validate({"source": "arithmetic", "subset": "hard", "eval": {"limit": 500}})
    problems = load_problems(data)
    assert len(problems.held_out) == 500
    assert len(problems.train) == 3000
    assert problems.notes == []


@pytest.mark.parametrize(("style", "where"), [("think_answer", "tag"), ("boxed", "boxed"), ("plain", "gsm8k")])
def test_a_prompt_style_says_where_the_answer_stands(style, where):
    assert DataSettings(source="arithmetic", prompt=style).layout == Layout(where)
    chat = messages("Why?", style_message(style, Layout()))
    assert chat[-1] == {"role": "user", "content": "Why?"}
    assert (len(chat) == 1) == (style == "plain")
    assert as_text(chat).endswith("Why?\n")


def test_a_chat_with_its_own_system_message_keeps_it():
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert messages(chat, "mine") == chat
    assert messages(chat[1:], "mine")[0] == {"role": "system", "content": "mine"}
