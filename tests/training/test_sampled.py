"""The sampler's log-probs as old ones: the same training without the old pass, and back to it where they differ."""

import pytest
import torch
from datasets import Dataset

from gspo_lite.models import sampler
from gspo_lite.training.config import GSPOConfig
from gspo_lite.training.loss import sampled
from gspo_lite.training.loss.rollout import LeanRollout
from gspo_lite.training.loss.rows import SAMPLED
from gspo_lite.training.trainer import GSPOTrainer
from tests.training.test_rows import PROMPTS, Gradients, reward
from tests.training.test_turns import add, trainer_of
from tests.unsloth.patched_trainer import BASE, tiny_model, tiny_tokenizer

OPTIONS = {"optim": "sgd", "learning_rate": 2.0, "logging_steps": 1, "max_grad_norm": 1e9, "max_steps": 8}


def made(tmp_path, model=None, **options):
    """A trainer of 4 optimizer steps per rollout, and the gradients that it will take."""
    tokenizer, gradients = tiny_tokenizer(False), Gradients()
    torch.manual_seed(0)
    settings = {**BASE, **OPTIONS, "steps_per_generation": 4, "epsilon": 3e-4, "epsilon_high": 4e-4, **options}
    trainer = GSPOTrainer(
        model or tiny_model(tokenizer), [reward], args=GSPOConfig(output_dir=str(tmp_path), **settings),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS * 8]),
        processing_class=tokenizer, callbacks=[gradients],
    )  # fmt: skip
    return trainer, gradients.seen


@pytest.fixture
def passes(monkeypatch):
    """The optimizer steps before which a pass computed old log-probs, one entry for each micro-batch."""
    found, old_logps = [], LeanRollout._old_logps

    def counted(self, batch):
        found.append(self.state.global_step)
        return old_logps(self, batch)

    monkeypatch.setattr(LeanRollout, "_old_logps", counted)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_accumulation_steps": 2, "importance_sampling_level": "sequence_token"},
        {"num_iterations": 2, "temperature": 0.7, "top_k": 8, "repetition_penalty": 1.3},
        {"gradient_accumulation_steps": 2, "mask_truncated_completions": True},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_training_is_the_same_without_the_old_pass(options, tmp_path, passes):
    doubting, wanted = made(tmp_path, **options, max_steps=12)
    doubting.sampler_trusted = False
    doubting.train()
    computed = passes.copy()
    passes.clear()
    trainer, found = made(tmp_path, **options, max_steps=12)
    trainer.train()
    assert max(passes) == 0 < max(computed)
    assert len(found) == len(wanted) == 12
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()
    logs = trainer.state.log_history[:-1]
    assert 0 < logs[0]["gspo/sampler_gap"] < 1e-6
    assert not any("gspo/sampler_gap" in one for one in [*logs[1:], *doubting.state.log_history])
    assert all(batch.keys().isdisjoint({SAMPLED}) for batch in trainer._buffered_inputs)


def test_the_gap_is_measured_again_on_one_batch_of_some_rollouts(tmp_path, passes, monkeypatch):
    monkeypatch.setattr(sampled, "MEASURED_EVERY", 2)
    trainer, _ = made(tmp_path, max_steps=20)
    trainer.train()
    assert passes == [0, 0, 0, 0, 8, 16]
    with_gap = [one["step"] for one in trainer.state.log_history[:-1] if "gspo/sampler_gap" in one]
    assert with_gap == [1, 9, 17]
    assert trainer.sampler_trusted


def test_a_sampler_that_differs_is_trusted_no_longer(tmp_path, passes, monkeypatch, capsys):
    """Its log-probs are right in the first rollout and wrong from the third on."""
    doubting, wanted = made(tmp_path, max_steps=16)
    doubting.sampler_trusted = False
    doubting.train()
    passes.clear()
    monkeypatch.setattr(sampled, "MEASURED_EVERY", 2)
    trainer, found = made(tmp_path, max_steps=16)
    drawn = sampler.drawn

    def shifted(*args):
        tokens, logps = drawn(*args)
        return tokens, logps + (2e-5 if trainer.state.global_step >= 8 else 0.0)

    monkeypatch.setattr(sampler, "drawn", shifted)
    capsys.readouterr()
    trainer.train()
    assert passes == [0, 0, 0, 0, 8, 8, 8, 12, 12, 12]
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).norm() <= 2e-5 * theirs.norm()
    assert trainer.state.log_history[8]["gspo/sampler_gap"] == pytest.approx(2e-5, rel=0.1)
    told = capsys.readouterr().err
    assert told.count("old log-probs are computed by a pass of their own") == 1
    assert "2.0e-05 in log s, more than 5% of epsilon 3.0e-04" in told
    resumed, _ = made(tmp_path)
    resumed._restore_counters(trainer._counters(), {})
    assert not resumed.sampler_trusted


def of_16_bits(trainer):
    trainer.model.to(torch.bfloat16)


def dropping(trainer):
    trainer.model.base_model.model.model.layers[0].mlp.dropout = torch.nn.Dropout(0.1)


CASES = {
    "float32": (lambda trainer: None, True),
    "16-bit weights": (of_16_bits, False),
    "16-bit passes": (lambda trainer: setattr(trainer.args, "bf16", True), False),
    "dropout": (dropping, False),
    "no longer trusted": (lambda trainer: setattr(trainer, "sampler_trusted", False), False),
    "an evaluation": (lambda trainer: trainer.model.eval(), False),
    "every row computed by TRL": (lambda trainer: setattr(trainer, "row_rules", None), False),
}


@pytest.mark.parametrize("case", CASES)
def test_where_log_probs_of_the_sampler_may_be_those_of_training(case, tmp_path):
    trainer, _ = made(tmp_path)
    trainer.model.train()
    change, heard = CASES[case]
    change(trainer)
    ids, logps = trainer._generate_single_turn([[3, 4], [3, 4], [5]], None, {}, 1)
    assert (logps is not None) == heard
    if heard:
        assert [len(one) for one in logps] == [len(one) for one in ids]


def test_turns_after_tools_are_aligned(tmp_path, starter, monkeypatch):
    """The first message of every episode is taken for a call, so that the next one follows what the tool wrote."""

    def parse(tokenizer, ids, prefix=None, tools=None):
        first = tokenizer.decode(prefix).count("<|assistant|>") == 1
        call = {"type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 3}}}
        return {"role": "assistant", "content": "", **({"tool_calls": [call]} if first else {})}

    monkeypatch.setattr("trl.trainer.grpo_trainer.parse_response", parse)
    masks = []

    def varied(completions, **_):
        return [float(place % 3) for place in range(len(completions))]

    trainer = trainer_of(
        tmp_path, varied, lambda made: made._generate_single_turn, tools=[add], max_completion_length=40,
        temperature=1.0, learning_rate=0.0, steps_per_generation=4,
    )  # fmt: skip
    score = trainer._generate_and_score_completions

    def noting(inputs):
        output = score(inputs)
        masks.append(output["tool_mask"])
        return output

    trainer._generate_and_score_completions = noting
    trainer.train()
    assert (masks[0] == 0).any()  # what the tool wrote
    assert 0 < trainer.state.log_history[0]["gspo/sampler_gap"] < 1e-5
    assert trainer.sampler_trusted


def test_a_resumed_run_goes_on_alike(tmp_path):
    """From inside a rollout whose old log-probs are the sampler's, into one that is sampled after it."""
    saving = {"max_steps": 12, "save_strategy": "steps", "save_steps": 6}
    whole, wanted = made(tmp_path, **saving)
    whole.train()
    resumed, found = made(tmp_path, **saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert len(found) == 6
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, wanted[6:], strict=True))
