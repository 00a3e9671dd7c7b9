"""`gspo-lite rewards preview`: what the rewards say about the untrained model, and what to change."""

import json
import re
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from gspo_lite import load_recipe
from gspo_lite.cli import app
from gspo_lite.lab.advice import advice, without_form
from gspo_lite.lab.preview import preview
from gspo_lite.lab.sampling import Completions, RewardPreview, Sampling, decoded
from gspo_lite.models import generate
from gspo_lite.models.generate import Answer, Played

QUICK = ["generation.num_generations=8", "data.limit=16", "data.eval.limit=8"]
ONE = RewardPreview("correct", 1.0, 0.5, 0.0, 1.0, 0.4, 0.1, 0.0, 0.1)
ALWAYS = RewardPreview("short", 0.2, 1.0, 1.0, 1.0, 0.0, 0.5, 0.0, 0.1)


def sampling(**options):
    return Sampling(**{"groups": 8, "group_size": 8, "completions": 64, "expected": 0.5, "accuracy": 0.5,
                       "format_share": 1.0, "flat_share": 0.1, "truncated_share": 0.0, "mean_tokens": 20.0,
                       "generation_seconds": 5.0, "conversations": {}, **options})  # fmt: skip


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
    found = advice(sampling(**figures), rewards, 48)
    assert (not found) if said is None else (len(found) == 1 and said in found[0])


def test_problems_are_not_called_hard_before_completions_have_the_form():
    (found,) = advice(sampling(flat_share=0.9, expected=0.01), [ONE], 48, obstacle="add a warm-up")
    assert found == "90% of the groups have no variance and teach nothing: first see to their form"


def test_what_tools_wrote_counts_towards_the_limit_of_a_completion():
    recipe = load_recipe("quickstart", ["generation.max_completion_length=48"]).recipe
    parts = SimpleNamespace(recipe=recipe, rewards=[], play=None)
    answers = [Answer("a", [1] * 8, [], foreign) for foreign in (40, 39)]
    found = decoded(parts, Completions([{"prompt": []}] * 2, Played(answers), {}))
    assert (found.truncated_share, found.mean_tokens) == (0.5, 8)


JSON = "rewards=[{name: json_valid}]"
ANYWHERE = "rewards=[{name: math_correct, options: {marker: {regex: '=(.*)'}}}]"
TAUGHT = "warmup={completion: '<think>{steps}</think><answer>{answer}</answer>', max_steps: 1}"


@pytest.mark.parametrize(
    ("sets", "texts", "says"),
    [
        ([], ["It is 7.", "so <answer>7</answer>"], None),  # one has an answer where it is looked for
        ([], ["It is 7.", "", "", "8"], "50% of the completions have a number, so set data.marker to `last_number`"),
        (
            [],
            ["\\boxed{7}", "\\boxed{8}", "7"],
            "67% of the completions have a \\boxed{}, so set data.prompt",
        ),
        (
            [],
            ["\\boxed{7}", "8", "9", "7"],
            "100% of the completions have a number, so set data.marker to `last_number`",
        ),
        (["data.marker=last_number"], ["\\boxed{x}"], "so set data.prompt to `boxed` and leave out data.marker"),
        ([], ["#### 7"], "100% of the completions have a #### line, so set data.prompt to `plain`"),
        ([JSON], ["```json\n{}\n```", "7"], "have a ```json block, so set data.marker to `fence`"),
        ([JSON], ["It is 7."], "Teach it with a `warmup`"),  # JSON is not read from a number
        ([ANYWHERE], ["It is 7."], "Teach it with a `warmup`"),  # the reward would go on looking elsewhere
        ([], ["no idea"], "as in `<think>..</think><answer>..</answer>`: RL cannot find a form that is never sampled"),
        ([TAUGHT], ["It is 7."], "as in `<think>..</think><answer>..</answer>`; the recipe's `warmup` must teach that"),
        (["data.prompt=plain", "rewards=[{name: json_valid, options: {marker: text}}]"], ["7"], None),  # no form at all
    ],
)
def test_a_form_that_no_completion_has(sets, texts, says):
    found = without_form(load_recipe("quickstart", sets).recipe, texts)
    assert found is None if says is None else says in found
    assert ("or take" in (found or "")) == ("so set" in (says or ""))


def test_the_starter_has_something_to_learn(starter):
    found = preview(load_recipe("quickstart", QUICK).recipe, 6)
    assert (found.sampling.groups, found.sampling.group_size) == (6, 8)
    assert (found.greedy.completions, found.sampling.completions) == (6, 48)
    assert 0.1 < found.sampling.expected < 0.9
    assert found.obstacle is None
    correct, form = found.rewards
    assert (correct.name, form.name) == ("math_correct", "think_format")
    assert (found.sampling.accuracy, found.sampling.format_share) == (correct.mean, form.mean)
    assert found.sampling.expected == pytest.approx(correct.weight * correct.mean + form.weight * form.mean)
    assert correct.within > 0.1
    greedy, *sampled = found.examples
    assert [one["decoding"] for one in found.examples] == ["greedy", "sampled", "sampled", "sampled"]
    assert len({one["completion"] for one in sampled}) > 1
    assert set(greedy["rewards"]) == {"math_correct", "think_format"}


def test_groups_share_batches_and_adapters_are_folded_in(starter, monkeypatch):
    batches, folded = [], []

    def generated(model, processing, rows, recipe, temperature, **_):
        batches.append((len(rows), temperature))
        folded.append(any("forward" in vars(layer) for layer in model.modules()))
        return [[1]] * len(rows)

    monkeypatch.setattr(generate, "generate", generated)
    preview(load_recipe("quickstart", [*QUICK, "data.eval.batch_size=32"]).recipe, 6)
    assert batches == [(6, None), (32, 1.0), (16, 1.0)]
    assert all(folded)


def test_the_command_prints_a_table_and_advice(starter):
    sets = [part for pair in [*QUICK, "generation.max_completion_length=8"] for part in ("--set", pair)]
    result = CliRunner().invoke(app, ["rewards", "preview", "quickstart", "--samples", "2", *sets])
    text = result.stdout
    assert text.startswith("first: no completion has its answer where the recipe looks for it")
    assert "2 groups of 8 completions by the untrained model, and a greedy one of each problem" in text
    assert re.search(r"^completions +2 +16$", text, re.MULTILINE)
    assert re.search(r"^right format +0.0% +0.0%$", text, re.MULTILINE)
    assert "100% of the groups have no variance" in text
    assert "100% of the completions are cut off; raise generation.max_completion_length above 8" in text
    assert "sampling 2 groups of 8 completions" in result.stderr
    result = CliRunner().invoke(app, ["rewards", "preview", "quickstart", "--samples", "2", *sets, "--json"])
    told = json.loads(result.stdout)
    assert (told["sampling"]["truncated_share"], told["greedy"]["truncated_share"]) == (1.0, 1.0)
    assert told["obstacle"].startswith("no completion has its answer")
