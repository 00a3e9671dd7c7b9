"""TRL's own trainer calls every signature, as it is where TRL can and under our contract always, with equal results."""

import asyncio
import functools
import math
import threading
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerState
from trl import GRPOTrainer

from gspo_lite import GSPOTrainer
from gspo_lite.errors import UsageError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.guarded import calls
from gspo_lite.rewards.contract.registry import build_rewards, check_columns
from gspo_lite.rewards.contract.signature import WithOptions
from gspo_lite.training.reward_functions import under_contract
from tests.rewards.signatures import SOURCE, WORKING
from tests.rewards.test_signatures import COLUMNS, IDS, ROWS, TEXTS
from tests.training.test_trainer import PROMPTS, config


@pytest.fixture(scope="module")
def loop():
    """A loop that runs in a thread, as TRL's trainer has one for asynchronous rewards."""
    made = asyncio.new_event_loop()
    threading.Thread(target=made.run_forever, daemon=True).start()
    yield made
    made.call_soon_threadsafe(made.stop)


def rewarded(functions, loop):
    """Rewards (3, K) of the three completions, and what TRL heard, by its own method."""
    heard = defaultdict(list)
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu", is_main_process=True), reward_funcs=functions, environments=None,
        reward_processing_classes=[None] * len(functions), reward_func_names=[str(n) for n in range(len(functions))],
        async_loop=loop, state=TrainerState(global_step=0, max_steps=9), args=SimpleNamespace(report_to=[]),
        _log_completion_extra=lambda name, values: heard[name].extend(values),
        _log_metric=lambda name, value: heard[name].append(value),
    )  # fmt: skip
    completions = [[{"role": "assistant", "content": text}] for text in TEXTS]
    prompts = [row["prompt"] for row in ROWS]
    return GRPOTrainer._calculate_rewards(trainer, ROWS, prompts, completions, IDS), heard


def test_trl_gets_the_same_from_every_signature_as_it_is_and_under_contract(tmp_path, loop):
    (tmp_path / "mine.py").write_text(SOURCE)
    alike = 0
    for name, options, values in WORKING:
        (made,) = build_rewards([RewardSettings(name=f"{tmp_path}/mine.py:{name}", options=options)])
        held = under_contract([made.function], COLUMNS)
        wanted = [math.nan if value is None else value for value in values]
        assert str(rewarded(held, loop)[0].flatten().tolist()) == str(wanted), name
        if isinstance(made.function, WithOptions):  # options are a recipe's; in TRL a column would win
            continue
        try:
            stock, heard = rewarded([made.function], loop)
        except TypeError:  # TRL cannot call a function without **kwargs
            continue
        assert str(stock.flatten().tolist()) == str(wanted), name
        assert heard == rewarded(held, loop)[1]
        alike += 1
    assert alike > 20


SOLVED = [[{"role": "assistant", "content": f"So it is $\\boxed{{{n}}}$"}] for n in (7, 8)]


@pytest.mark.parametrize(
    ("name", "options", "values", "extra"),
    [
        ("get_soft_overlong_punishment", {"max_completion_len": 4, "soft_punish_cache": 2}, [-0.5, -1.0], {}),
        ("get_repetition_penalty_reward", {}, [0.0, -0.75], {}),
        ("get_repetition_penalty_reward", {"ngram_size": 1, "max_penalty": -3.0}, [0.0, -2.5], {}),
        ("get_cosine_scaled_reward", {"max_len": 6}, [0.75, -0.5], {}),
        ("think_format_reward", {}, [0.0, 0.0], {}),
        ("accuracy_reward", {}, [1.0, 0.0], {"solution": ["7", "7"]}),
        ("reasoning_accuracy_reward", {"reasoning_delimiters": ["is"]}, [1.0, 0.0], {}),
    ],
)
def test_rewards_of_trl_and_what_makes_them_work_by_name(name, options, values, extra):
    (made,) = build_rewards([RewardSettings(name=f"trl.rewards:{name}", options=options)])
    check_columns([made], ["prompt", "solution"])
    with calls() as heard:
        said = made(prompts=["?"] * 2, completions=SOLVED, completion_ids=[[1, 2, 3], [4] * 6], solution=["7", "7"])
    assert said == pytest.approx(values)
    assert extra.items() <= heard[0].extra.items()


def length(completions, log_extra, log_metric):
    texts = [completion[0]["content"] for completion in completions]
    log_extra("first", [text[:1] for text in texts])
    log_metric("mine/longest", max(map(len, texts)))
    return [len(text) / 100 for text in texts]


def scaled(completions, scale):
    return [scale * len(completion[0]["content"]) for completion in completions]


def test_functions_without_kwargs_and_two_partials_of_one_train_and_log(tmp_path, starter):
    halves = [functools.partial(scaled, scale=scale) for scale in (0.0, 0.5)]
    tensors = lambda completion_ids: torch.tensor([float(len(ids)) for ids in completion_ids])  # noqa: E731
    args = config(tmp_path, max_steps=4, logging_steps=1)
    trainer = GSPOTrainer("starter", [length, *halves, tensors], args, PROMPTS)
    trainer.train()
    assert trainer.reward_func_names == ["length", "scaled", "scaled_2", "<lambda>"]
    row = trainer.rollout[0]
    assert row["extra"] == {"length": {"first": row["completion"][:1]}}
    size = len(row["completion"])
    assert row["rewards"] == pytest.approx(
        {"length": size / 100, "scaled": 0.0, "scaled_2": size / 2, "<lambda>": len(row["completion_ids"])}
    )
    assert trainer.state.log_history[0]["mine/longest"] == max(len(one["completion"]) for one in trainer.rollout)


@pytest.mark.parametrize(
    ("reward", "says"),
    [
        (lambda completions, answr: [], "`<lambda>` reads the column `answr`; the data has .*did you mean `answer`"),
        (lambda texts: [], "`<lambda>` takes no `completions`\nhint: .*rename `texts` to `completions`; if it makes"),
        (SimpleNamespace, "`SimpleNamespace` is a class\nhint: give an instance: `SimpleNamespace"),
        (3, "`int` is not a function"),
    ],
)
def test_what_cannot_work_is_refused_where_the_trainer_is_made(reward, says):
    with pytest.raises(UsageError, match=says):
        under_contract([reward], COLUMNS)


def test_environments_are_there_only_where_the_trainer_has_them():
    def played(completions, environments):
        return [0.0] * len(completions)

    with pytest.raises(UsageError, match="reads the column `environments`"):
        under_contract([played], COLUMNS)
    (held,) = under_contract([played], COLUMNS, environments=True)
    assert held(completions=["a"], environments=[object()]) == [0.0]
