"""Every signature works wherever rewards are called, with the arguments of TRL 1.13 to 1.16, or is refused at once."""

import json
from types import SimpleNamespace

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.completion.text import Layout
from gspo_lite.errors import UsageError
from gspo_lite.lab.judging import judge, stress
from gspo_lite.lab.sampling import scored
from gspo_lite.lab.trials import lines_of_trials, stressed, trials
from gspo_lite.models.generate import Answer, Played
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.guarded import calls
from gspo_lite.rewards.contract.judging import score
from gspo_lite.rewards.contract.registry import build_rewards, check_columns
from tests.rewards.signatures import REFUSED, SOURCE, WORKING

TEXTS = ["a", "bb", "ccc"]
ROWS = [{"prompt": [{"role": "user", "content": f"{n}?"}], "answer": str(n), "level": n + 4} for n in (1, 2, 3)]
IDS = [[0] * len(text) for text in TEXTS]
COLUMNS = ["prompt", "answer", "level"]


def shown(row):
    name, options = row[:2]
    return f"{name}({', '.join(f'{key}={value}' for key, value in options.items())})"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    path = tmp_path_factory.mktemp("rewards") / "mine.py"
    path.write_text(SOURCE)
    return path


def built(home, name, options):
    made = build_rewards([RewardSettings(name=f"{home}:{name}", options=options)])
    check_columns(made, COLUMNS)
    return made


def from_trl(trainer_state, heard):
    """The keyword arguments of a call by TRL's trainer, the same in 1.13 and 1.16."""
    columns = {name: [row[name] for row in ROWS] for name in COLUMNS[1:]}
    return {
        "prompts": [row["prompt"] for row in ROWS],
        "completions": [[{"role": "assistant", "content": text}] for text in TEXTS],
        "completion_ids": IDS,
        **columns,
        "trainer_state": trainer_state,
        "log_extra": lambda column, values: heard.append((column, values)),
        "log_metric": lambda name, value: heard.append((name, value)),
    }


@pytest.mark.parametrize(("name", "options", "values"), WORKING, ids=map(shown, WORKING))
def test_a_signature_works_wherever_rewards_are_called(home, name, options, values):
    (made,) = built(home, name, options)
    state = SimpleNamespace(global_step=0, max_steps=9)
    assert made(**from_trl(state, [])) == values  # training
    assert made.trainer_state is state
    (made,) = built(home, name, options)
    assert score([made], ROWS, TEXTS, IDS, at_once=2)[name].values == values  # evaluation
    played = Played([Answer(*one) for one in zip(TEXTS, IDS, strict=True)])
    previewed = scored(SimpleNamespace(rewards=[made]), ROWS, played, at_once=3)
    assert previewed.calls[name].values == values
    assert len(judge([made], ROWS[0], TEXTS, Layout())) == 3  # rewards test
    stress([made], ROWS[0], Layout(), 20)  # rewards stress


@pytest.mark.parametrize(("name", "options", "says", "hint"), REFUSED, ids=map(shown, REFUSED))
def test_what_cannot_work_is_refused_before_a_model_is_loaded(home, name, options, says, hint):
    with pytest.raises(UsageError, match=says) as caught:
        built(home, name, options)
    assert f"`{name}`" in caught.value.message or f":{name}`" in caught.value.message
    assert (hint or "") in (caught.value.hint or "")
    assert "on_error" not in str(caught.value)


@pytest.fixture(scope="module")
def sets(home, tmp_path_factory):
    """Overrides of quickstart: all signatures at once, and the rows above as its data."""
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    rows = [{"prompt": f"{n}?", "answer": str(n), "level": n} for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    once = {name: options for name, options, _ in WORKING}
    rewards = [{"name": f"{home}:{name}", "options": options} for name, options in once.items()]
    return [f"data.source={path}", f"rewards={json.dumps(rewards)}"]


def test_every_signature_passes_check_and_the_commands_of_the_lab(sets):
    recipe = load_recipe("quickstart", sets, allow_outside=True).recipe
    one, (first,) = trials(recipe, None, 1)
    assert len(one.rewards) == len(recipe.rewards) > 50
    assert all(len(verdict.values) == len(one.rewards) for verdict in first.verdicts)
    lines = list(lines_of_trials(one, [first]))
    assert "  right, in form: `logs` logged gold 0" in lines
    assert next(first.records())["extra"]["of_one_with_logs"] == {"text": first.attempts[0].text}
    assert stressed(recipe, 1).trials[0].attempts


def test_what_a_reward_logs_reaches_trl_after_the_call_and_the_call_itself(home):
    (made,), heard = built(home, "logs", {}), []
    with calls() as told:
        made(**from_trl(None, heard))
    assert heard == [("gold", ["1", "2", "3"]), ("longest", 3.0)]
    assert (told[0].extra, told[0].metrics) == ({"gold": ["1", "2", "3"]}, {"longest": [3.0]})
    parts = score([made], ROWS, TEXTS, IDS, at_once=2)["logs"]
    assert (parts.extra, parts.metrics) == ({"gold": ["1", "2", "3"]}, {"longest": [2.0, 3.0]})
