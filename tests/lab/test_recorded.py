"""`rewards test` on completions of a run gives each reward what the run gave it, so that the values are the same."""

import json

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.data.keys import key_of
from gspo_lite.lab.recorded import Finder
from gspo_lite.lab.trials import RECORDED_IDS, trials
from gspo_lite.run import run

CODE = """
def asked(prompts, completions, answer):
    return [len(p[-1]["content"]) + len(p[0]["content"]) / 1000 + int(a) for p, a in zip(prompts, answer)]
def tokens(completion_ids, **kwargs):
    return [len(ids) + sum(ids) / 1e6 for ids in completion_ids]
def curriculum(completions, trainer_state):
    share = trainer_state.global_step / trainer_state.max_steps
    return [share + len(completion[0]["content"]) for completion in completions]
def noted(completions, log_extra, steps):
    log_extra("worked", steps)
    return [float(len(step)) for step in steps]
"""


@pytest.mark.parametrize("rollouts", [1, 3])
def test_a_runs_own_completions_get_the_values_that_the_run_recorded(tmp_path, monkeypatch, quick, starter, rollouts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE)
    names = ("asked", "tokens", "curriculum", "noted")
    rewards = [{"name": "math_correct"}, *({"name": f"mine.py:{name}", "weight": 0.1} for name in names)]
    steps = f"training.max_steps={4 * rollouts}"
    recipe = load_recipe("quickstart", [*quick, steps, f"rewards={json.dumps(rewards)}"]).recipe
    folder = run(recipe).folder
    path = folder / "completions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 4 * rollouts
    one, groups = trials(recipe, path, 1)
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    for verdict, row in zip(verdicts, rows, strict=True):
        assert verdict.values == pytest.approx(row["rewards"], rel=1e-6)  # a run keeps them in float32
    assert [verdict.extra for verdict in verdicts] == [row["extra"] for row in rows]
    assert one.notes == [RECORDED_IDS]
    held_out = trials(recipe, folder / "eval_samples.jsonl", 1)[1]
    assert {group.row["prompt"][0]["role"] for group in held_out} == {"system"}


ROWS = [
    {"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "1 + 1?"}], "answer": "2", "level": 3},
    {"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "1 + 2?"}], "answer": "3", "level": 4},
]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"problem_key": key_of(ROWS[1]), "prompt": "<s>user 1 + 2?", "answer": "9"}, ROWS[1]),
        ({"prompt": "1 + 2?"}, ROWS[1]),
        ({"prompt": " 1 + 2?\n"}, ROWS[1]),
        ({"prompt": ROWS[1]["prompt"]}, ROWS[1]),
        ({"prompt": "s\n\n1 + 2?\n"}, ROWS[1]),  # as eval_samples.jsonl has it
        ({"prompt": "1 + 2?", "answer": "9"}, {**ROWS[1], "answer": "9"}),
        ({"prompt": "other?", "step": 3}, {"prompt": [{"role": "user", "content": "other?"}]}),
        ({"problem_key": "gone", "prompt": "other?"}, {"prompt": [{"role": "user", "content": "other?"}]}),
        ({"problem_key": [], "problem": "p"}, {"prompt": [{"role": "user", "content": ""}], "problem": "p"}),
    ],
)
def test_a_row_finds_its_problem_by_key_or_prompt(values, found):
    find = Finder(ROWS, None)
    assert find(values) == found
    assert find.lost == ("problem_key" in values and found is not ROWS[1])


def test_a_key_is_that_of_all_columns_and_bears_what_is_no_json():
    first = {"prompt": "p", "answer": "1", "images": [object()]}
    assert key_of(first) == key_of({"answer": "1", "images": [object()], "prompt": "p"})
    assert len({key_of(first), key_of({**first, "answer": "2"}), key_of({**first, "images": []})}) == 3
