"""`gspo-lite rewards preview`: what the rewards say about the untrained model, and what to change."""

import json

import pytest
from typer.testing import CliRunner

from gspo_lite import load_recipe
from gspo_lite.cli import app
from gspo_lite.lab.preview import RewardPreview, Sampling, advice, preview

QUICK = ["generation.num_generations=8", "data.limit=16", "data.eval.limit=8"]
ONE = RewardPreview("correct", 1.0, 0.5, 0.0, 1.0, 0.4, 0.1, 0.0, 0.1)
ALWAYS = RewardPreview("short", 0.2, 1.0, 1.0, 1.0, 0.0, 0.5, 0.0, 0.1)


def sampling(**options):
    return Sampling(**{"groups": 8, "group_size": 8, "expected": 0.5, "flat_share": 0.1, "truncated_share": 0.0,
                              "mean_tokens": 20.0, "generation_seconds": 5.0, **options})  # fmt: skip


def reward(**options):
    return RewardPreview(**{**vars(ONE), **options})


@pytest.mark.parametrize(
    ("figures", "rewards", "said"),
    [
        ({}, [ONE], None),
        ({"flat_share": 0.9, "expected": 0.01}, [ONE], "use easier problems"),
        ({"flat_share": 0.9, "expected": 0.97}, [reward(mean=0.97)], "the problems are too easy"),
        ({"flat_share": 0.9, "expected": 0.2}, [reward(mean=0.0, high=0.0), ALWAYS], "use easier problems"),
        ({"truncated_share": 0.5}, [ONE], "50% of the completions are cut off"),
        ({}, [reward(none_share=0.25)], "`correct` could not judge 25%"),
        ({}, [reward(flat_share=1.0)], "every completion of a group the same score"),
        ({}, [reward(flat_share=1.0, weight=0.0)], None),  # only logged
        ({}, [ONE, reward(name="form", weight=0.01)], "`form` contributes 0.0%"),  # 0.01 squared of the variance
        ({}, [reward(seconds=9.0)], "takes longer than sampling, 9.0 s"),
    ],
)
def test_advice(figures, rewards, said):
    found = advice(load_recipe("quickstart").recipe, sampling(**figures), rewards)
    assert (not found) if said is None else (len(found) == 1 and said in found[0])


def test_the_starter_has_something_to_learn(starter):
    found = preview(load_recipe("quickstart", QUICK).recipe, 6)
    assert (found.sampling.groups, found.sampling.group_size) == (6, 8)
    assert 0.1 < found.sampling.expected < 0.9
    correct, form = found.rewards
    assert (correct.name, form.name) == ("math_correct", "think_format")
    assert correct.within > 0.1
    assert len({example["completion"] for example in found.examples}) > 1
    assert set(found.examples[0]["rewards"]) == {"math_correct", "think_format"}


def test_the_command_prints_a_table_and_advice(starter):
    sets = [part for pair in [*QUICK, "generation.max_completion_length=8"] for part in ("--set", pair)]
    text = CliRunner().invoke(app, ["rewards", "preview", "quickstart", "--samples", "2", *sets]).output
    assert "2 groups of 8 completions by the untrained model" in text
    assert "100% of the groups have no variance" in text
    assert "100% of the completions are cut off; raise generation.max_completion_length above 8" in text
    result = CliRunner().invoke(app, ["rewards", "preview", "quickstart", "--samples", "2", *sets, "--json"])
    assert json.loads(result.stdout)["sampling"]["truncated_share"] == 1.0
