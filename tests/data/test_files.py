"""Local files, folders, patterns and streams: what is read, and what is said about everything else."""

import bz2
import gzip
import json
import lzma
import subprocess
import sys
from pathlib import Path

import pytest

from gspo_lite.checked_recipe import load_recipe, refuse
from gspo_lite.data.files import read_file
from gspo_lite.data.local import TYPES, UNREAD, is_local, source_problem
from gspo_lite.data.rows import explained, has_splits, read_rows
from gspo_lite.data.sources import load_problems
from gspo_lite.errors import DataError, MachineError, RecipeError
from gspo_lite.recipe.data_settings import DataSettings
from gspo_lite.recipe.shipped import find_recipe

ROWS = [{"prompt": "q0?", "answer": "é1"}, {"prompt": "q1?", "answer": "2"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
LIST = json.dumps(ROWS, ensure_ascii=False)
CSV = "prompt,answer\nq0?,é1\nq1?,2\n"

# file, its bytes
READ = [
    ("a.jsonl", LINES.encode()),
    ("a.ndjson", LINES.encode()),
    ("A.JSONL", LINES.encode()),
    ("windows.jsonl", LINES.replace("\n", "\r\n").encode()),
    ("marked.jsonl", LINES.encode("utf-8-sig")),
    ("wide.jsonl", LINES.encode("utf-16")),
    ("lines.jsonl.gz", gzip.compress(LINES.encode())),
    ("lines.jsonl.bz2", bz2.compress(LINES.encode())),
    ("lines.jsonl.xz", lzma.compress(LINES.encode())),
    ("list.json", LIST.encode()),
    ("pretty.json", json.dumps(ROWS, indent=2).encode()),
    ("list.json.gz", gzip.compress(LIST.encode())),
    ("lines.json", LINES.encode()),
    ("data.json", json.dumps({"data": ROWS}).encode()),
    ("squad.json", json.dumps({"version": "1.1", "data": ROWS, "license": None}).encode()),
    ("columns.json", json.dumps({"prompt": ["q0?", "q1?"], "answer": ["é1", "2"]}).encode()),
    ("wide.json", LIST.encode("utf-16")),
    ("a.csv", CSV.encode()),
    ("packed.csv.gz", gzip.compress(CSV.encode())),
    ("marked.csv", CSV.encode("utf-8-sig")),
    ("wide.csv", CSV.encode("utf-16")),
    ("semicolons.csv", CSV.replace(",", ";").encode()),
    ("tabs.csv", CSV.replace(",", "\t").encode()),
    ("bars.csv", CSV.replace(",", "|").encode()),
    ("a.tsv", CSV.replace(",", "\t").encode()),
    ("blanks.csv", CSV.replace("prompt,answer", " prompt , answer ").encode()),
    ("quoted.csv", 'prompt,answer\n"q0?",é1\n\n"q1?","2"\n'.encode()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), READ, ids=[case[0] for case in READ])
def test_a_file_is_read_row_by_row(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert [row.values for row in read_file(tmp_path / name)] == ROWS
    assert is_local(name)


def test_tables_of_the_datasets_library_are_read(tmp_path, monkeypatch):
    from datasets import Dataset, DatasetDict

    monkeypatch.chdir(tmp_path)
    table = Dataset.from_list(ROWS)
    table.to_parquet("a.parquet")
    table.save_to_disk("saved")
    DatasetDict({"train": table, "test": table.select([1])}).save_to_disk("splits")
    for name in ("a.parquet", "saved/data-00000-of-00001.arrow", "saved", "splits"):
        assert [row.values for row in read_rows(DataSettings(source=name), name, "train")] == ROWS, name
    assert [has_splits(name) for name in ("a.parquet", "saved", "splits", "user/hub")] == [False, False, True, True]
    with pytest.raises(DataError, match="`splits` has no split `dev`; it has `train`, `test`"):
        list(read_rows(DataSettings(source="splits"), "splits", "dev"))


def test_fields_of_a_csv_may_be_long_and_hold_any_line_break(tmp_path):
    long = "a" * 200_000 + "\u2028\x0bb"
    (tmp_path / "a.csv").write_text(f'prompt,answer\n"{long}","x\ny"\n', encoding="utf-8", newline="")
    assert [row.values for row in read_file(tmp_path / "a.csv")] == [{"prompt": long, "answer": "x\ny"}]


BROKEN = [
    ("a.json", b'{"a": [1]', "is not JSON"),
    ("a.json", b'{"train": [{"a": 1}], "test": [{"a": 1}]}', "an object with `train`, `test`, not a list of rows"),
    ("a.json", b"7", "holds 7, not a list of rows"),
    ("a.json", "é".encode("latin-1"), "is not UTF-8; it may be Windows-1252 or Latin-1"),
    ("a.csv", "prompt,answer\né,1".encode("cp1252"), "iconv -f WINDOWS-1252 -t UTF-8"),
    ("a.csv", CSV.encode("utf-16-le"), "looks like UTF-16 without a byte order mark\nhint: iconv -f UTF-16LE -t UTF-8"),
    ("a.jsonl", LINES.encode("utf-16-le"), "looks like UTF-16 without a byte order mark"),
    ("a.json", LIST.encode("utf-16-be"), "looks like UTF-16 without a byte order mark"),
    ("a.csv", b"prompt,prompt\na,1\n", "the header names `prompt` 2 times"),
    ("a.jsonl.gz", b"plain", "cannot be read: Not a gzipped file"),
    ("a.jsonl.gz", gzip.compress(LINES.encode())[:20], "cannot be read"),
    ("a.jsonl.xz", b"plain", "cannot be read"),
    ("a.parquet", b"plain", "is not Parquet"),
    ("a.arrow", b"plain", "is not an Arrow stream"),
    ("a.xlsx", b"", "is a spreadsheet; save it as CSV"),
    ("a.zip", b"", "is an archive; unpack it and name the file or the folder"),
    ("a.jsonl.zst", b"", "is packed with zstd; unpack it (`unzstd`)"),
    ("a.txt", b"", "is text without columns; write one JSON object a line into a .jsonl file"),
    ("a.pkl", b"", "is a pickle, which may run code when it is read; save it as Parquet"),
    ("a.parquet.gz", b"", "has an unknown file type"),
    ("./b", b"", "has an unknown file type; allowed: .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .arrow"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "says"), BROKEN, ids=[f"{name}: {says}" for name, _, says in BROKEN])
def test_a_file_that_cannot_be_read_says_what_it_is(tmp_path, monkeypatch, name, content, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_rows(DataSettings(source=name), name, "train"))
    assert says in str(caught.value)
    assert name.removeprefix("./") in str(caught.value)


NOWHERE = [
    ("trian.jsonl", "there is no file `trian.jsonl`; did you mean `train.jsonl`?"),
    ("held_out.parquet", "there is no file `held_out.parquet`; a path is relative to the current folder, `"),
    ("./nowhere", "there is no file `nowhere`"),
    ("~no_such_user/a.jsonl", "there is no file `~no_such_user/a.jsonl`"),
    ("data/*.jsonl", "no file matches `data/*.jsonl`"),
    ("https://x.org/a.jsonl", "is an address; download the file (`curl -LO https://x.org/a.jsonl`) and name it"),
    ("s3://bucket/a.parquet", "is an address"),
    ("https://huggingface.co/datasets/openai/gsm8k", "is an address; write the id, `openai/gsm8k`"),
    ("https://huggingface.co/datasets/openai/gsm8k/viewer/main", "write the id, `openai/gsm8k`"),
    ("hf://datasets/openai/gsm8k", "write the id, `openai/gsm8k`"),
    ("my data", "`my data` is neither a file nor the id of a hub data set"),
    ("a/b/c", "`a/b/c` is neither a file nor the id of a hub data set"),
    ("trian.jsonl.gz", "there is no file"),
    ("a.xlsx", "there is no file"),
]


@pytest.mark.parametrize(("source", "says"), NOWHERE, ids=[case[0] for case in NOWHERE])
def test_check_and_run_name_a_source_that_is_not_there(tmp_path, monkeypatch, source, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_text(LINES)
    here = ["data.source=train.jsonl", "output.dir=run"]
    for key in ("data.source", "data.eval.source"):
        with pytest.raises(RecipeError) as caught:
            load_recipe("quickstart", [*here, f"{key}='{source}'"])
        assert f"`{key}`: " in str(caught.value)
        assert says in str(caught.value)
        loaded = load_recipe("quickstart", [*here, f"{key}='{source}'"], with_data=False).recipe
        with pytest.raises(RecipeError, match="source"):
            refuse(loaded)
    with pytest.raises(DataError) as error:
        list(read_rows(DataSettings(source=source), source, "train"))
    assert says in error.value.message


@pytest.mark.parametrize("source", ["openai/gsm8k", "gsm8k", "user/data-v1.5", "arithmetic", "countdown"])
def test_a_hub_id_or_an_embedded_task_is_no_local_file(source):
    assert source_problem(source) is None
    assert not is_local(source)


def test_a_warm_up_from_a_file_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"`warmup\.source`: there is no file `examples\.jsonl`"):
        load_recipe("quickstart_warmup", ["warmup.source=examples.jsonl"])


def test_every_type_has_either_a_reader_or_a_remedy():
    assert not set(TYPES) & set(UNREAD)


def many(start, count):
    return "".join(json.dumps({"prompt": f"q{n}?", "answer": n}) + "\n" for n in range(start, start + count))


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """A folder of files as on the hub: two shards to train on, one to test."""
    from datasets import Dataset

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "shards").mkdir()
    for name, start, count in (("train-0", 0, 30), ("train-1", 30, 30), ("test-0", 100, 20)):
        rows = [json.loads(line) for line in many(start, count).splitlines()]
        Dataset.from_list([*rows, rows[0]]).to_parquet(f"shards/{name}.parquet")
    return tmp_path / "shards"


def settings(source, **options):
    return DataSettings.model_validate({"source": str(source), "prompt": "plain", **options})


def test_a_folder_has_the_splits_of_its_files(shards):
    problems = load_problems(settings("shards"))
    assert (len(problems.train), len(problems.held_out)) == (60, 20)
    assert problems.notes == [
        "2 problems of `shards` repeat an earlier prompt and are left out",
        "1 problems of `shards` repeat an earlier prompt and are left out",
    ]
    with pytest.raises(DataError, match=r'Unknown split "dev".*') as caught:
        load_problems(settings("shards", split="dev"))
    assert "`train[:-500]` and `train[-500:]` cut one split in two" in caught.value.hint


def test_a_pattern_names_the_file_of_a_bad_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in range(2):
        (tmp_path / f"part{n}.jsonl").write_text(many(20 * n, 20))
    problems = load_problems(settings("part*.jsonl"))
    assert (len(problems.train), len(problems.held_out)) == (36, 4)
    assert problems.train[20]["answer"] == "20"
    (tmp_path / "part1.jsonl").write_text(many(20, 2) + "{\n")
    with pytest.raises(DataError, match=r"row 3 of `part1\.jsonl`: not JSON"):
        load_problems(settings("part*.jsonl"))


def test_a_stream_is_read_no_further_than_needed(shards, monkeypatch):
    import datasets

    taken = []
    load = datasets.load_dataset

    def counted(*args, **options):
        assert options["streaming"]
        return (taken.append(options["split"]) or row for row in load(*args, **options))

    monkeypatch.setattr(datasets, "load_dataset", counted)
    problems = load_problems(settings("shards", streaming=True, limit=5, eval={"limit": 3}))
    assert [row["answer"] for row in problems.train] == ["0", "1", "2", "3", "4"]
    assert [row["answer"] for row in problems.held_out] == ["100", "101", "102"]
    assert (taken.count("train"), taken.count("test")) == (8, 3)
    shared = load_problems(settings("shards", streaming=True, limit=5, eval={"limit": 3, "split": "train"}))
    assert [row["answer"] for row in shared.train] == ["3", "4", "5", "6", "7"]  # behind those that are held out
    assert [row["answer"] for row in shared.held_out] == ["0", "1", "2"]


def test_bad_and_repeated_rows_of_a_stream_are_counted(shards):
    (shards / "train-0.parquet").unlink()
    (shards / "train-1.parquet").unlink()
    (shards / "test-0.parquet").unlink()
    (shards / "train.jsonl").write_text(many(0, 3) + '{"prompt": "", "answer": 1}\n' + many(0, 1) + many(3, 20))
    (shards / "test.jsonl").write_text(many(50, 3))
    options = {"streaming": True, "limit": 5, "eval": {"limit": 2}}
    problems = load_problems(settings("shards", bad_rows="skip", **options))
    assert len(problems.train) == 5
    assert problems.notes[0] == "1 rows of `shards` skipped: row 4: the prompt is empty"
    assert problems.notes[1].startswith("1 problems of `shards` repeat")
    with pytest.raises(DataError, match="row 4: the prompt is empty"):
        load_problems(settings("shards", **options))


def test_a_stream_of_rows_that_cannot_be_used_ends(monkeypatch):
    import datasets

    endless = iter(lambda: {"question": "a", "answer": "b"}, None)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: endless)
    with pytest.raises(DataError, match="has 1000 rows that cannot be used"):
        load_problems(settings("user/huge", streaming=True, limit=5))


@pytest.mark.parametrize(
    ("options", "key", "says"),
    [
        (["data.source=user/huge"], "data.limit", "reads the first rows and needs to know how many; set a number"),
        (["data.source=user/huge", "data.limit=9", "data.eval.limit=null"], "data.eval.limit", "set a number"),
        (["data.limit=9"], "data.streaming", "is for a hub data set or a folder of files"),
        (["data.limit=9", "data.source=train.jsonl"], "data.streaming", "`train.jsonl` is read without it"),
    ],
)
def test_a_stream_needs_limits_and_a_source_that_has_one(tmp_path, monkeypatch, options, key, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_text(LINES)
    with pytest.raises(RecipeError) as caught:
        load_recipe("quickstart", ["data.streaming=true", *options])
    assert f"`{key}`: " in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (ConnectionError("no route"), MachineError, "the hub cannot be reached\nhint: go online once"),
        (RuntimeError("Dataset scripts are no longer supported, but found x.py"), DataError, "needs code of its own"),
        (KeyError("x"), DataError, "KeyError: 'x'\nhint: check data.subset, data.split and the files"),
        (ValueError('Unknown split "test". Should be one of [\'train\'].'), DataError, "cut one split in two"),
        (ImportError("install torchcodec"), DataError, "ImportError: install torchcodec"),
    ],
)  # fmt: skip
def test_an_error_of_the_datasets_library_becomes_one_line(error, kind, says):
    found = explained(error, "user/data")
    assert type(found) is kind
    assert says in str(found)
    assert "`data.source` `user/data`" in str(found)


def test_a_gated_or_misspelled_data_set_is_told_apart_from_a_missing_network():
    from datasets.exceptions import DatasetNotFoundError

    found = explained(DatasetNotFoundError("Dataset 'arithmatic' doesn't exist on the Hub"), "arithmatic")
    assert "did you mean `arithmetic`?" in found.message
    assert "hf auth login" in found.hint
    assert isinstance(explained(DatasetNotFoundError("offline mode is enabled"), "user/data"), MachineError)


@pytest.mark.parametrize(
    ("command", "code"), [(["check"], 2), (["doctor", "--quick"], 2), (["plan", "--vram", "8"], 0)]
)
def test_commands_that_need_the_data_name_a_missing_file(tmp_path, command, code):
    arguments = [*command, "quickstart", "--set", "data.source=mine.jsonl"]
    done = subprocess.run(
        [sys.executable, "-m", "gspo_lite", *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == code
    assert ("`data.source`: there is no file `mine.jsonl`" in done.stderr) == (code == 2)


def test_a_trained_model_needs_no_data(tmp_path):
    from gspo_lite.load_trained import find_trained
    from gspo_lite.recipe.dump import to_yaml

    recipe = load_recipe("quickstart", ["data.source=gone.jsonl"], with_data=False).recipe
    (tmp_path / "adapter").mkdir()
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe, "resolved"))
    found, adapter = find_trained(str(tmp_path), None)
    assert (found.model, found.data, adapter) == (recipe.model, recipe.data, tmp_path / "adapter")


def test_a_pattern_may_not_leave_the_recipes_tree_either(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "other.jsonl").write_text(LINES)
    monkeypatch.chdir(tmp_path / "home")
    text = find_recipe("quickstart").read_text(encoding="utf-8").replace("source: arithmetic", "source: ../oth*.jsonl")
    Path("mine.yaml").write_text(text)
    with pytest.raises(RecipeError, match="is outside the current folder and the recipe's own"):
        load_recipe("mine.yaml")
    assert load_recipe("mine.yaml", allow_outside=True).recipe.data.source == "../oth*.jsonl"
