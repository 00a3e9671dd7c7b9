"""Rows as data sets hold them, with invented contents: the problem that each becomes, or why it is refused."""

import base64
import io
import json
import random
from datetime import date, datetime
from decimal import Decimal

import pytest

from gspo_lite.data.adapters import load_adapter
from gspo_lite.data.prompts import as_text
from gspo_lite.data.sources import answer_text, read_problems
from gspo_lite.data.table import as_dataset
from gspo_lite.errors import DataError
from gspo_lite.recipe.data_settings import DataSettings
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.registry import problem_checks

HOURS = {"role": "user", "content": "How many minutes are 3 hours?"}
SAYS = {"role": "assistant", "content": "180"}
BRIEF = {"role": "system", "content": "Be brief."}
CALL = {"id": "c1", "type": "function", "function": {"name": "times", "arguments": {"a": 3, "b": 60}}}
RESULT = {"role": "tool", "name": "times", "content": "180", "tool_call_id": "c1"}
LETTERED = "Which is a gas?\n\nA. iron\nB. neon\nC. salt\n\nThe answer is the letter alone."
GASES = ["iron", "neon", "salt"]
DOUBLE = "Double the number."
ASKED = "How many minutes are 3 hours?"

# name, row, settings, question, answer, other columns that matter
READ = [
    ("GSM8K", {"question": ASKED, "answer": "It is 3 * 60 = <<3*60=180>>180.\n#### 1,180"}, {"adapter": "gsm8k"},
     ASKED, "1180", {"steps": "It is 3 * 60 = 180."}),
    ("GSM8K, other names", {"q": ASKED, "solution": "So.\n#### 180"},
     {"adapter": "gsm8k", "columns": {"prompt": "q", "answer": "solution"}}, ASKED, "180", {"steps": "So."}),
    ("MATH", {"problem": ASKED, "level": "Level 1", "type": "Time", "solution": "It is $\\boxed{180}$."},
     {"adapter": "math"}, ASKED, "180", {"level": "Level 1"}),
    ("MATH-500", {"problem": ASKED, "solution": "It is \\boxed{180}.", "answer": "180 min", "unique_id": "t/1"},
     {"adapter": "math"}, ASKED, "180", {"source_answer": "180 min"}),
    ("MATH, other names", {"task": ASKED, "worked": "\\boxed{180}"},
     {"adapter": "math", "columns": {"prompt": "task", "answer": "worked"}}, ASKED, "180", {}),
    ("NuminaMath-CoT, the messages", {"source": "s", "problem": ASKED, "messages": [HOURS, SAYS]},
     {"columns": {"prompt": "messages"}}, [HOURS], "180", {"source": "s"}),
    ("OpenR1-Math-220k", {"problem": ASKED, "solution": "long", "answer": "180", "generations": ["a", "b"],
     "correctness_math_verify": [True, False], "messages": [HOURS, SAYS]},
     {"columns": {"prompt": "problem"}}, ASKED, "180", {"generations": ["a", "b"]}),
    ("OpenR1-Math-220k, the messages", {"answer": "180 minutes", "messages": [HOURS, SAYS]},
     {"columns": {"prompt": "messages"}}, [HOURS], "180 minutes", {}),
    ("an answer beside another column of that name", {"problem": ASKED, "solution": "180", "answer": "unused"},
     {"columns": {"prompt": "problem", "answer": "solution"}}, ASKED, "180", {"source_answer": "unused"}),
    ("DAPO-Math-17k (verl)", {"data_source": "math", "prompt": [HOURS], "ability": "MATH",
     "reward_model": {"ground_truth": "180", "style": "rule"}, "extra_info": {"index": "7"}},
     {"columns": {"answer": "reward_model.ground_truth"}}, [HOURS], "180", {"extra_info": {"index": "7"}}),
    ("verl GSM8K", {"prompt": [HOURS], "extra_info": {"answer": "180", "split": "train", "index": 7}},
     {"columns": {"answer": "extra_info.answer"}}, [HOURS], "180", {}),
    ("a dotted column in JSON text", {"prompt": ASKED, "reward_model": '{"ground_truth": 180}'},
     {"columns": {"answer": "reward_model.ground_truth"}}, ASKED, "180", {}),
    ("a column with a dot in its name", {"prompt": ASKED, "gold.text": "180"},
     {"columns": {"answer": "gold.text"}}, ASKED, "180", {}),
    ("ARC", {"id": "1", "question": "Which is a gas?", "choices": {"text": GASES, "label": ["1", "2", "3"]},
     "answerKey": "2"}, {"adapter": "choices"}, LETTERED, "B", {"choices": GASES}),
    ("MMLU", {"question": "Which is a gas?", "subject": "chemistry", "choices": GASES, "answer": 1},
     {"adapter": "choices"}, LETTERED, "B", {"choices": GASES}),
    ("MMLU-Pro", {"question": "Which is a gas?", "options": GASES, "answer": "B", "answer_index": 1},
     {"adapter": "choices"}, LETTERED, "B", {}),
    ("MedQA", {"question": "Which is a gas?", "options": {"A": "iron", "B": "neon", "C": "salt"}, "answer": "neon"},
     {"adapter": "choices"}, LETTERED, "B", {}),
    ("CommonsenseQA as a list", {"question": "Which is a gas?", "answerKey": "B",
     "choices": [{"label": label, "text": text} for label, text in zip("ABC", GASES, strict=True)]},
     {"adapter": "choices"}, LETTERED, "B", {}),
    ("HellaSwag", {"ctx": "Which is a gas?", "endings": GASES, "label": 1}, {"adapter": "choices",
     "columns": {"prompt": "ctx", "answer": "label", "rename": {"choices": "endings"}}}, LETTERED, "B", {}),
    ("choices in a CSV", {"question": "Which is a gas?", "choices": json.dumps(GASES), "answer": "b"},
     {"adapter": "choices"}, LETTERED, "B", {}),
    ("GPQA, without its choices", {"Question": ASKED, "Correct Answer": "180", "Incorrect Answer 1": "3"},
     {"columns": {"prompt": "Question", "answer": "Correct Answer"}}, ASKED, "180", {"Incorrect Answer 1": "3"}),
    ("SVAMP", {"ID": "c-1", "Body": "A film lasts 3 hours.", "Question": "How many minutes?", "Answer": 180.0},
     {"template": "{Body} {Question}", "columns": {"answer": "Answer"}},
     "A film lasts 3 hours. How many minutes?", "180.0", {"Body": "A film lasts 3 hours."}),
    ("Alpaca", {"instruction": DOUBLE, "input": "90", "output": "180"},
     {"template": "{instruction}\n\n{input}", "columns": {"answer": "output"}}, f"{DOUBLE}\n\n90", "180", {}),
    ("Alpaca, no input", {"instruction": DOUBLE, "input": "", "output": "180"},
     {"template": "{instruction}\n\n{input}", "columns": {"answer": "output"}}, DOUBLE, "180", {}),
    ("Dolly, no context", {"instruction": ASKED, "context": "", "response": "180", "category": "closed_qa"},
     {"template": "{context}\n\n{instruction}", "columns": {"answer": "response"}}, ASKED, "180", {}),
    ("a context in the middle, none", {"a": "Read.", "b": None, "c": "Say.", "answer": "1"},
     {"template": "{a}\n\n{b}\n\n{c}"}, "Read.\n\nSay.", "1", {}),
    ("a template with braces and a list", {"set": [1, 2], "answer": "3"},
     {"template": "Sum {{x}} of {set}"}, "Sum {x} of [1, 2]", "3", {}),
    ("a template of dotted columns", {"task": {"text": "Why?", "lang": "en"}, "answer": "so"},
     {"template": "{task.text} ({task.lang})"}, "Why? (en)", "so", {}),
    ("ShareGPT", {"id": "x", "conversations": [{"from": "system", "value": "Be brief."},
     {"from": "human", "value": HOURS["content"]}, {"from": "gpt", "value": "180"}]},
     {"columns": {"prompt": "conversations"}}, [BRIEF, HOURS], "180", {"id": "x"}),
    ("ShareGPT, several turns", {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"},
     {"from": "human", "value": HOURS["content"]}, {"from": "gpt", "value": "180"}]},
     {"columns": {"prompt": "conversations"}},
     [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}, HOURS], "180", {}),
    ("UltraChat", {"prompt": "unused", "prompt_id": "p", "messages": [
     {"content": "Hi", "role": "user"}, {"content": "Ho", "role": "assistant"}, HOURS, SAYS]},
     {"columns": {"prompt": "messages"}}, [{"role": "user", "content": "Hi"},
     {"role": "assistant", "content": "Ho"}, HOURS], "180", {"source_prompt": "unused"}),
    ("preference pairs", {"prompt": ASKED, "chosen": [HOURS, SAYS], "rejected": [HOURS, {**SAYS, "content": "3"}]},
     {"columns": {"answer": "chosen"}}, ASKED, "180", {}),
    ("messages as a mapping of lists", {"messages": {"role": ["user", "assistant"], "content": [ASKED, "180"]}},
     {"columns": {"prompt": "messages"}}, [HOURS], "180", {}),
    ("messages in JSON text", {"messages": json.dumps([HOURS, SAYS])},
     {"columns": {"prompt": "messages"}}, [HOURS], "180", {}),
    ("a question that is JSON", {"prompt": '[{"from": "A", "to": "B"}]', "answer": "1"}, {},
     '[{"from": "A", "to": "B"}]', "1", {}),
    ("prompt only", {"prompt": "Tell a story."}, {}, "Tell a story.", None, {}),
    ("IFEval, prompt only", {"key": 1, "prompt": "Write in capitals.", "instruction_id_list": ["case"],
     "kwargs": [{"n": 3}, {"word": "x"}]}, {}, "Write in capitals.", None, {"kwargs": [{"n": 3}, {"word": "x"}]}),
    ("an answer that is null", {"prompt": ASKED, "answer": None}, {}, ASKED, None, {}),
    ("tool calls before the answer", {"messages": [HOURS, {"role": "assistant", "tool_calls": [CALL]}, RESULT, SAYS]},
     {"columns": {"prompt": "messages"}},
     [HOURS, {"role": "assistant", "content": "", "tool_calls": [CALL]}, RESULT], "180", {}),
    ("tool calls as the answer", {"messages": [HOURS, {**SAYS, "content": None, "tool_calls": [CALL]}]},
     {"columns": {"prompt": "messages"}}, [HOURS], json.dumps([CALL]), {}),
    ("tools beside the messages", {"prompt": [HOURS], "answer": "180", "tools": [{"name": "f", "parameters": {}}]}, {},
     [HOURS], "180", {"tools": [{"name": "f", "parameters": {}}]}),
    ("content blocks beside a system message", {"prompt": [BRIEF, {"role": "user", "content": [
     {"type": "text", "text": HOURS["content"]}]}], "answer": "180"}, {}, [BRIEF, HOURS], "180", {}),
    ("a developer's message", {"prompt": [{"role": "developer", "content": "Be brief."}, HOURS], "answer": "180"}, {},
     [{"role": "developer", "content": "Be brief."}, HOURS], "180", {}),
    ("2**70 that nobody reads", {"prompt": ASKED, "answer": "180", "id": 2**70}, {}, ASKED, "180", {"id": 2**70}),
    ("a list in a list", {"prompt": ASKED, "answer": "180", "x": [1, "a", [None, 2.5]]}, {},
     ASKED, "180", {"x": [1, "a", [None, 2.5]]}),
    ("an empty mapping", {"prompt": ASKED, "answer": "180", "meta": {}}, {}, ASKED, "180", {"meta": {}}),
    ("half a surrogate that nobody reads", {"prompt": ASKED, "answer": "180", "x": "\ud83d"}, {},
     ASKED, "180", {"x": "\ud83d"}),
    ("columns with names of TRL's", {"prompt": ASKED, "answer": "180", "completions": ["a"], "prompts": 1,
     "completion_ids": [1], "completion": "c", "trainer_state": 0, "self": 1}, {}, ASKED, "180",
     {"source_completions": ["a"], "source_prompts": 1, "source_completion_ids": [1], "source_self": 1}),
    ("LiveCodeBench", {"question_content": DOUBLE, "public_test_cases": json.dumps(
     [{"input": "3\n", "output": "6\n", "testtype": "stdin"}])}, {"columns": {"prompt": "question_content",
     "rename": {"tests": "public_test_cases"}}}, DOUBLE, None, {}),
    ("APPS", {"question": DOUBLE, "input_output": '{"inputs": ["3\\n"], "outputs": ["6\\n"]}'},
     {"columns": {"prompt": "question", "rename": {"tests": "input_output"}}}, DOUBLE, None, {}),
    ("TACO, a function", {"question": DOUBLE, "input_output": '{"fn_name": "f", "inputs": [[3]], "outputs": [[6]]}'},
     {"columns": {"prompt": "question", "rename": {"tests": "input_output"}}}, DOUBLE, None, {}),
    ("MBPP", {"text": DOUBLE, "code": "def f(x): ...", "test_list": ["assert f(3) == 6"]},
     {"columns": {"prompt": "text", "rename": {"tests": "test_list"}}}, DOUBLE, None, {}),
    ("verifiable coding problems", {"problem_statement": DOUBLE, "verification_info": json.dumps({"language": "python",
     "test_cases": [{"fn_name": None, "input": "3", "output": "6", "type": "stdin_stdout"}]})},
     {"columns": {"prompt": "problem_statement", "rename": {"tests": "verification_info"}}}, DOUBLE, None, {}),
]  # fmt: skip


def problems_of(path, options, notes=None, rewards=()):
    data = DataSettings.model_validate({"source": str(path), "prompt": "plain", **options})
    checks = problem_checks([RewardSettings(name=name) for name in rewards])
    notes = [] if notes is None else notes
    return as_dataset(read_problems(data, load_adapter(data.adapter), data.source, "train", notes, checks))


def jsonl(folder, *rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "options", "question", "answer", "others"), [case[1:] for case in READ], ids=[case[0] for case in READ]
)
def test_a_row_becomes_a_problem(tmp_path, row, options, question, answer, others):
    problem = problems_of(jsonl(tmp_path, row), options, None, ["code_execution"])[0]
    chat = [{"role": "user", "content": question}] if isinstance(question, str) else question
    assert problem["prompt"] == chat
    assert problem.get("answer") == answer
    assert {name: problem[name] for name in others} == others


SAID = {"role": "assistant", "content": "180"}
REFUSED = [
    ("a message without content", {"prompt": [{"role": "user"}], "answer": 1}, {},
     "message 1 of the prompt (`user`) has no `content`"),
    ("a message with content null", {"prompt": [BRIEF, {"role": "user", "content": None}], "answer": 1}, {},
     "message 2 of the prompt (`user`) has no `content`"),
    ("a message without role", {"prompt": [{"role": None, "content": "a"}], "answer": 1}, {},
     "message 1 of the prompt has no `role`"),
    ("an empty prompt", {"prompt": "", "answer": 1}, {}, "the prompt is empty"),
    ("a prompt of white space", {"prompt": [{"role": "user", "content": " \n"}], "answer": 1}, {},
     "the prompt is empty"),
    ("an empty list", {"prompt": [], "answer": 1}, {}, "the prompt is an empty list, not text or a list of messages"),
    ("no messages but texts", {"prompt": ["a"], "answer": 1}, {},
     "the prompt is a list, not text or a list of messages"),
    ("a mapping", {"prompt": {"text": "a"}, "answer": 1}, {}, "the prompt is a dict, not text or a list of messages"),
    ("only an answer", {"prompt": [SAID], "answer": 1}, {}, "the prompt has no message of a user before the answer"),
    ("only a system message", {"prompt": [BRIEF], "answer": 1}, {}, "the prompt has no message of a user"),
    ("audio in the prompt", {"prompt": [{"role": "user", "content": [{"type": "audio"}]}], "answer": 1}, {},
     "message 1 of the prompt (`user`) has content with a block of type `audio`; text and images can be read"),
    ("a number as content", {"prompt": [{"role": "user", "content": 7}], "answer": 1}, {},
     "message 1 of the prompt (`user`) has content that is a int, not text"),
    ("half a surrogate", {"prompt": "a\ud83d", "answer": 1}, {},
     "the prompt has half of a surrogate pair, which is not a character"),
    ("a column that is not there", {"prompt": "a", "solution": "1"}, {"columns": {"answer": "soluton"}},
     "there is no column `soluton`; the row has `prompt`, `solution`; did you mean `solution`?"),
    ("a part that is not there", {"prompt": "a", "reward_model": {"truth": "1"}},
     {"columns": {"answer": "reward_model.ground_truth"}}, "there is no column `ground_truth`; the row has `truth`"),
    ("a template without its column", {"instruction": "a", "output": "b"},
     {"template": "{instruction}\n{input}", "columns": {"answer": "output"}},
     "there is no column `input`; the row has `instruction`, `output`"),
    ("a template that is empty", {"a": "", "answer": "b"}, {"template": "{a}"}, "the prompt is empty"),
    ("a template cannot reach an attribute", {"a": "x", "answer": "b"}, {"template": "{a.__class__}"},
     "there is no column `a.__class__`; the row has `a`, `answer`"),
    ("BoolQ", {"question": "a", "answer": True}, {"columns": {"prompt": "question"}},
     "the answer is a bool, not text or a number"),
    ("a choice that is none", {"question": "a", "choices": GASES, "answer": 3}, {"adapter": "choices"},
     "column `answer` is 3; expected one of 3 choices"),
    ("one choice", {"question": "a", "choices": ["x"], "answer": 0}, {"adapter": "choices"},
     "there are 1 choices; 2 to 26 can be lettered"),
    ("choices that are text", {"question": "a", "choices": "x, y", "answer": 0}, {"adapter": "choices"},
     "the choices are a str, not a list"),
    ("GSM8K without its mark", {"question": "a", "answer": "7"}, {"adapter": "gsm8k"},
     "`answer` has no `####` before its result"),
    ("MATH without a box", {"problem": "a", "solution": "7"}, {"adapter": "math"},
     "`solution` has no closed \\boxed{} with an answer"),
    ("a value nested without end", {"prompt": "a", "answer": "1", "x": json.loads("[" * 60 + "]" * 60)}, {},
     "a value is nested more than 50 deep"),
    ("an image at an address", {"prompt": "a", "answer": "1", "images": ["https://x.org/a.png"]}, {},
     "the image `https://x.org/a.png` is an address; download it and name the file"),
    ("an image that is none", {"prompt": "a", "answer": "1", "images": [7]}, {},
     "an image is a int, not a path, bytes or a PIL image"),
    ("code tests of HumanEval", {"prompt": "a", "tests": "def check(candidate):\n    assert candidate(1) == 2"}, {},
     ", which is not JSON; expected a list of"),
    ("an assert that is no comparison", {"prompt": "a", "tests": ["assert abs(f(1) - 2) < 0.1"]}, {},
     ", an assert of another form, which would run beside the program and could be answered by it; expected"),
    ("an assert with code on both sides", {"prompt": "a", "tests": ["assert f(1) == set((1, 2))"]}, {},
     ", which compares with `set((1, 2))`, not with a literal value; expected"),
    ("tests of a function without a name", {"prompt": "a", "tests": [{"input": "1", "output": "2",
     "testtype": "functional"}]}, {}, ", a test that does not say which function it calls; expected"),
    ("packed tests", {"prompt": "a", "tests": "eJxrYJmaxwABEUxA=="}, {}, ", which is not JSON; expected"),
    ("inputs without outputs", {"prompt": "a", "tests": {"inputs": ["1"]}}, {}, "; expected a list of"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "options", "says"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_row_that_cannot_be_used_is_named(tmp_path, row, options, says):
    with pytest.raises(DataError) as caught:
        problems_of(jsonl(tmp_path, row), options, None, ["code_execution"])
    assert "has 1 rows that cannot be used:\n  row 1: " in caught.value.message
    assert says in caught.value.message
    named = "there is no column" in says
    remedy = "name the right columns in data.columns or data.template" if named else "fix them"
    assert caught.value.hint == f"{remedy}, or set data.bad_rows to skip"


MIXED = [
    ("whole and broken numbers", [1, 2.5, None]),
    ("a number and a text", [1, "one", "1"]),
    ("a list in some rows", ["a", ["a", "b"], None]),
    ("other keys in each row", [{"a": 1}, {"b": "x"}, {}]),
    ("lists of several types", [[1], ["x"], []]),
    ("true and 1", [True, 1, None]),
    ("beyond 64 bits", [1, 2**70, -(2**63)]),
    ("lists of mappings with other keys", [[{"a": 1}], [{"b": 1}], None]),
]


@pytest.mark.parametrize("values", [case[1] for case in MIXED], ids=[case[0] for case in MIXED])
def test_a_column_of_several_types_reaches_rewards_as_it_is(tmp_path, values):
    rows = [{"prompt": f"q{n}", "answer": n, "x": value} for n, value in enumerate(values)]
    problems = problems_of(jsonl(tmp_path, *rows), {})
    assert [row["x"] for row in problems] == values
    assert [type(row["x"]) for row in problems] == [type(value) for value in values]
    assert problems.select([1])[0]["x"] == values[1]
    assert problems[0]["prompt"] == [{"role": "user", "content": "q0"}]


def test_values_of_parquet_are_read(tmp_path):
    import numpy
    import pandas

    when, cost = datetime(2024, 5, 6, 7), [Decimal("42.50"), Decimal("7.00")]
    columns = {"prompt": ["a", "b"], "answer": cost, "when": [when, when], "day": [date(2024, 5, 6)] * 2,
               "vector": [numpy.array([1, 2]), numpy.array([3])], "x": numpy.array([1.5, 2.5])}  # fmt: skip
    pandas.DataFrame(columns).to_parquet(tmp_path / "rows.parquet")
    rows = list(problems_of(tmp_path / "rows.parquet", {}))
    assert [row["answer"] for row in rows] == ["42.50", "7.00"]
    assert [row["vector"] for row in rows] == [[1, 2], [3]]
    assert (rows[0]["when"], rows[0]["day"], rows[0]["x"]) == (when, date(2024, 5, 6), 1.5)


@pytest.mark.parametrize(
    ("answer", "text"),
    [(Decimal("1E+3"), "1000"), (date(2024, 5, 6), "2024-05-06"), (2.0, "2.0"), (2**70, str(2**70)), (" 7 ", "7")],
)
def test_an_answer_becomes_text(answer, text):
    assert answer_text(answer) == text


@pytest.mark.parametrize("answer", [Decimal("NaN"), float("inf"), ["7"], b"7", ""])
def test_what_is_no_answer_is_refused(answer):
    with pytest.raises(ValueError, match="the answer is"):
        answer_text(answer)


def picture(folder=None):
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (2, 3)).save(folder / "a.png" if folder else buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_images_of_conversations_and_blocks_are_read_in_order(tmp_path):
    picture(tmp_path)
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture()}"}}
    rows = [
        {
            "image": "a.png",
            "chat": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "so"}],
        },
        {"image": None, "chat": [{"role": "user", "content": [url, {"type": "text", "text": "And this?"}]}, SAID]},
        {"image": "a.png", "chat": [{"role": "user", "content": [{"type": "image"}, "Last?"]}, SAID]},
    ]
    options = {"columns": {"prompt": "chat", "images": "image"}}
    problems = list(problems_of(jsonl(tmp_path, *rows), options))
    assert [row["prompt"][0]["content"] for row in problems] == ["What?", "And this?", "Last?"]
    assert [row["answer"] for row in problems] == ["so", "180", "180"]
    assert [[image.size for image in row["images"]] for row in problems] == [[(2, 3)]] * 3


def test_what_was_done_to_rows_is_said(tmp_path):
    notes = []
    rows = [{"messages": [HOURS, SAYS], "prompts": 1}, {"messages": [{**HOURS, "content": "Why?"}, SAYS], "prompts": 2}]
    problems_of(jsonl(tmp_path, *rows), {"columns": {"prompt": "messages"}}, notes)
    assert [note.partition("rows.jsonl` ")[2] or note.partition(": ")[2] for note in notes] == [
        "column `prompts` reaches rewards as `source_prompts`, because TRL has another use for its name",
        "end in an assistant's turn, which is left out and is the answer without another",
    ]


def test_a_row_without_an_answer_is_bad_only_beside_rows_with_one(tmp_path):
    rows = [{"prompt": "a", "answer": "1"}, {"prompt": "b"}, {"prompt": "c", "answer": None}]
    with pytest.raises(DataError, match="has 2 rows that cannot be used") as caught:
        problems_of(jsonl(tmp_path, *rows), {})
    assert "row 2: the answer is missing\n  row 3: the answer is missing" in caught.value.message
    notes = []
    problems = problems_of(jsonl(tmp_path, *rows[1:]), {}, notes)
    assert problems.column_names == ["prompt"]
    assert "has no answers; only a reward that needs none can judge completions" in notes[0]


ATOMS = (
    None, True, 0, -1, 2.5, 2**70, float("nan"), float("inf"), "", "text", "\ud83d", "[{", '[{"role": "user"}]',
    "#### 3", "\\boxed{3}", "assert f(1) == 2", "[1, 2]", "~nobody/a", "a" * 300,
)  # fmt: skip
KEYS = (
    "role", "from", "content", "value", "type", "text", "tool_calls", "label", "inputs", "outputs", "fn_name", "image",
)  # fmt: skip


def anything(rng, depth=0):
    kind = rng.random()
    if depth > 3 or kind < 0.5:
        return rng.choice(ATOMS)
    if kind < 0.75:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(KEYS): anything(rng, depth + 1) for _ in range(rng.randrange(4))}


@pytest.mark.parametrize("adapter", ["columns", "gsm8k", "math", "countdown", "choices", "template"])
def test_no_value_gives_anything_but_a_problem_or_a_data_error(tmp_path, adapter):
    names = ("prompt", "answer", "question", "problem", "solution", "choices", "options", "answerKey", "nums", "target",
             "images", "tests", "completions", "x")  # fmt: skip
    rng = random.Random(adapter)
    options = {"adapter": adapter} if adapter != "template" else {"template": "{x}\n{question}"}
    for _ in range(150):
        rows = [{name: anything(rng) for name in names if rng.random() < 0.8} for _ in range(4)]
        try:
            problems = problems_of(jsonl(tmp_path, *rows), {"bad_rows": "skip", **options}, None, ["code_execution"])
        except DataError:
            continue
        for problem in problems:
            assert as_text(problem["prompt"]).strip()
