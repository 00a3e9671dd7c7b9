"""TRL's own trainer calls every signature, as it is where TRL can and under our contract always, with equal results."""

import functools
import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerState
from trl import GRPOTrainer

from gspo_lite import GSPOTrainer
from gspo_lite.errors import UsageError
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.registry import build_rewards
from gspo_lite.training.arguments import under_contract
from tests.rewards.signatures import SOURCE, WORKING
from tests.rewards.test_signatures import COLUMNS, IDS, ROWS, TEXTS
from tests.training.test_trainer import PROMPTS, config


def rewarded(functions):
    """Rewards (3, K) of the three completions, and what TRL heard, by its own method."""
    heard = defaultdict(list)
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu", is_main_process=True), reward_funcs=functions, environments=None,
        reward_processing_classes=[None] * len(functions), reward_func_names=[str(n) for n in range(len(functions))],
        state=TrainerState(global_step=0, max_steps=9), args=SimpleNamespace(report_to=[]),
        _log_completion_extra=lambda name, values: heard[name].extend(values),
        _log_metric=lambda name, value: heard[name].append(value),
    )  # fmt: skip
    completions = [[{"role": "assistant", "content": text}] for text in TEXTS]
    prompts = [row["prompt"] for row in ROWS]
    return GRPOTrainer._calculate_rewards(trainer, ROWS, prompts, completions, IDS), heard


def test_trl_gets_the_same_from_every_signature_as_it_is_and_under_contract(tmp_path):
    (tmp_path / "mine.py").write_text(SOURCE)
    alike = 0
    for name, options, values in WORKING:
        (made,) = build_rewards([RewardSettings(name=f"{tmp_path}/mine.py:{name}", options=options)])
        held = under_contract([made.function], COLUMNS)
        wanted = [math.nan if value is None else value for value in values]
        assert str(rewarded(held)[0].flatten().tolist()) == str(wanted), name
        try:
            stock, heard = rewarded([made.function])
        except (TypeError, AttributeError):  # TRL cannot call a function without **kwargs, and has no loop here
            continue
        assert str(stock.flatten().tolist()) == str(wanted), name
        assert heard == rewarded(held)[1]
        alike += 1
    assert alike > 20


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
        (3, "`int` is no function"),
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
