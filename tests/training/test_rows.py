"""Leaving out rows and padding changes neither gradient nor metrics: the same training with and without them."""

import random
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import TrainerCallback
from trl import GRPOTrainer

from gspo_lite.training.config import GSPOConfig
from gspo_lite.training.loss.rollout import LeanRollout, rules_of
from gspo_lite.training.loss.rows import MICRO_BATCH_COST, arranged, least_padding, row_rules
from gspo_lite.training.sampling import suppress_placeholders
from gspo_lite.training.trainer import GSPOTrainer
from tests.unsloth.patched_trainer import BASE, tiny_model, tiny_tokenizer

PROMPTS = ["a", "b c d e f", "g h", "i j k l m n o p"]
TOKEN = {"importance_sampling_level": "sequence_token"}
ACCUMULATED = {"gradient_accumulation_steps": 2, "steps_per_generation": 4}
BY_TOKEN = {**ACCUMULATED, "importance_sampling_level": "token"}
# Those that objective.py does not define. Steps as large as the others' would leave the caps and gates flat.
OTHER_LOSSES = {
    "cispo": {"importance_sampling_level": "token", "loss_type": "cispo", "epsilon_high": 1.05},
    "cispo accumulation": {**BY_TOKEN, "loss_type": "cispo", "epsilon_high": 1.05},
    "cispo of sequences": {**ACCUMULATED, "loss_type": "cispo", "epsilon_high": 1.01},
    "cispo two iterations": {**BY_TOKEN, "loss_type": "cispo", "epsilon_high": 1.05, "num_iterations": 2},
    "sapo": {**BY_TOKEN, "loss_type": "sapo"},
    "sapo of sequences": {**ACCUMULATED, "loss_type": "sapo"},
    "vespo": {**BY_TOKEN, "loss_type": "vespo", "learning_rate": 0.5},
    "vespo at level sequence": {**ACCUMULATED, "loss_type": "vespo", "learning_rate": 0.5},
}  # fmt: skip
SCENARIOS = {
    "gspo": {},
    "accumulation": ACCUMULATED,
    "gspo_token credit": {**TOKEN, "credit": True},
    "gspo_token credit accumulation": {**TOKEN, **ACCUMULATED, "credit": True},
    "two iterations": {"num_iterations": 2, "max_steps": 8},
    "two iterations accumulation": {**ACCUMULATED, "num_iterations": 2, "max_steps": 8},
    "beta": {**ACCUMULATED, "beta": 0.1},
    "grpo": {**ACCUMULATED, "importance_sampling_level": "token", "epsilon": 0.2},
    "bnpo": {**ACCUMULATED, "loss_type": "bnpo"},
    "dr_grpo": {**ACCUMULATED, "loss_type": "dr_grpo", "scale_rewards": "none"},
    "dapo": {**ACCUMULATED, "loss_type": "dapo"},
    "luspo": {**ACCUMULATED, "loss_type": "luspo", "learning_rate": 0.2},
    "truncated masked": {**ACCUMULATED, "mask_truncated_completions": True},
    "cispo": OTHER_LOSSES["cispo"],
}  # fmt: skip


SAME = ("clip_ratio", "cispo_clip_ratio", "gspo/clip", "kl", "completions", "reward", "loss", "grad_norm", "num_tokens")


# TRL's are means over micro-batches of means or extremes in each: other numbers where the rows are dealt anew.
MEANS = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean", "kl")
BY_MICRO_BATCH = ("clip_ratio/low_min", "clip_ratio/high_max", "cispo_clip_ratio", *MEANS)


class Gradients(TrainerCallback):
    """Keeps the gradient of every optimizer step, before it is clipped."""

    def __init__(self):
        self.seen = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        self.seen.append(torch.cat([p.grad.flatten().clone() for p in model.parameters() if p.requires_grad]))


def reward(prompts, completions, **columns):
    """Different words, but nothing to tell apart for half of the prompts: their groups have no variance."""
    return [float(len(set(t.split()))) if len(p) > 4 else 1.0 for p, t in zip(prompts, completions, strict=True)]


def trained(tmp_path, lean, options, trainer_class=GSPOTrainer):
    from datasets import Dataset

    # Adam would blow rounding up to steps of full size.
    options = {**BASE, "optim": "sgd", "learning_rate": 2.0, **options, "logging_steps": 1, "max_grad_norm": 1e9}
    credit = options.pop("credit", False)
    tokenizer = tiny_tokenizer(False)
    torch.manual_seed(0)
    args = GSPOConfig(output_dir=str(tmp_path), **options)
    rows = Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS * 8])
    gradients = Gradients()
    trainer = trainer_class(
        tiny_model(tokenizer), [reward], args=args, train_dataset=rows, processing_class=tokenizer,
        callbacks=[gradients],
    )  # fmt: skip
    if trainer_class is GRPOTrainer:
        suppress_placeholders(trainer)  # it would sample padding
    if credit:
        spread(trainer)
    if not lean:
        trainer.row_rules = None
    trainer.train()
    return trainer, gradients.seen


def spread(trainer):
    """Advantages of their own for every token of the rows that have one."""
    score = trainer._generate_and_score_completions

    def scored(inputs):
        output = score(inputs)
        draw = torch.Generator().manual_seed(trainer.state.global_step)
        shape = output["completion_ids"].shape
        output["advantages"] = output["advantages"].unsqueeze(1) * torch.rand(shape, generator=draw)
        return output

    trainer._generate_and_score_completions = scored


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_gradients_and_metrics_are_those_of_all_rows(scenario, tmp_path):
    whole, wanted = trained(tmp_path, False, SCENARIOS[scenario])
    lean, found = trained(tmp_path, True, SCENARIOS[scenario])
    assert len(found) == len(wanted) >= 4
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).norm() <= 2e-5 * theirs.norm() + 1e-9
    redealt = lean.row_rules.pool and "gradient_accumulation_steps" in SCENARIOS[scenario]
    for ours, theirs in zip(lean.state.log_history[:-1], whole.state.log_history[:-1], strict=True):
        for name in theirs:
            if name.startswith(SAME) and "seconds" not in name and not (redealt and name in BY_MICRO_BATCH):
                assert ours.get(name, 0.0) == pytest.approx(theirs[name], abs=2e-5, rel=2e-4), name
            if redealt and name in MEANS:
                assert ours[name] == pytest.approx(theirs[name], abs=0.1), name
        assert ("entropy" in ours) == (not lean.row_rules.drop)


@pytest.mark.parametrize("scenario", OTHER_LOSSES)
def test_a_loss_without_a_definition_has_the_gradients_of_plain_trl(scenario, tmp_path):
    """On rollouts half of whose groups are flat: TRL computes them all, ours the others."""
    plain, wanted = trained(tmp_path, True, OTHER_LOSSES[scenario], GRPOTrainer)
    lean, found = trained(tmp_path, True, OTHER_LOSSES[scenario])
    assert lean.row_rules.drop
    assert len(found) == len(wanted) >= 4
    for ours, theirs in zip(found, wanted, strict=True):
        assert theirs.norm() > 0
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()
    for ours, theirs in zip(lean.state.log_history[:-1], plain.state.log_history[:-1], strict=True):
        assert ours["gspo/computed_share"] < 1
        assert not any(name.startswith(("clip_ratio", "gspo/clip")) for name in ours)
        assert ("cispo_clip_ratio" in ours) == ("cispo_clip_ratio" in theirs) == ("cispo" in scenario)
        assert ("vespo/phi_active_rows" in ours) == ("vespo/phi_seq_mean" in theirs) == ("vespo" in scenario)
        assert "vespo/phi_seq_mean" not in ours
    capped = [figures.get("cispo_clip_ratio", 0.0) for figures in plain.state.log_history[:-1]]
    assert ("cispo" in scenario) == (max(capped) > 0)


def test_work_is_left_out(tmp_path, monkeypatch):
    """Half of the groups teach nothing: at most half of the rows are computed, and old log-probs of the first never."""
    seen = []
    exact = GSPOTrainer._get_per_token_logps_and_entropies

    def counted(self, model, ids, *args, **kwargs):
        if not self._placeholder_due:
            seen.append((torch.is_grad_enabled(), *ids.shape))
        return exact(self, model, ids, *args, **kwargs)

    monkeypatch.setattr(GSPOTrainer, "_get_per_token_logps_and_entropies", counted)
    trained(tmp_path, True, {**ACCUMULATED, "max_steps": 4})
    steps = [rows for gradient, rows, _ in seen if gradient]
    old = [rows for gradient, rows, _ in seen if not gradient]
    assert sum(steps) <= 2 * 4 * 8 // 2  # 2 rollouts of 4 micro-batches of 8 rows
    assert sum(old) < sum(steps)  # the first optimizer step on the second rollout compares nothing
    lean_area = sum(rows * width for gradient, rows, width in seen if gradient)
    seen.clear()
    trained(tmp_path, False, {**ACCUMULATED, "max_steps": 4})
    assert lean_area < 0.5 * sum(rows * width for gradient, rows, width in seen if gradient)


def batch(lengths, advantages, prompt_lengths, start=0):
    rows, width, left = len(lengths), 6, 4
    count = torch.arange(width)
    mask = (count < torch.tensor(lengths)[:, None]).long()
    prompt_mask = (torch.arange(left) >= left - torch.tensor(prompt_lengths)[:, None]).long()
    ids = torch.arange(start, start + rows)[:, None]
    return {
        "prompt_ids": ids * prompt_mask, "prompt_mask": prompt_mask, "completion_ids": ids * mask,
        "completion_mask": mask, "advantages": torch.tensor(advantages), "num_items_in_batch": torch.tensor(99),
        "extra": [f"row {start + row}" for row in range(rows)],
    }  # fmt: skip


RULES = dict(beta=0.0, entropy=False, aux_loss=False, rotary=True, processes=1)  # noqa: C408


def test_rows_are_dealt_by_length_within_their_optimizer_step():
    step = [batch([6, 1], [1.0, -1.0], [2, 3], 1), batch([5, 2], [0.5, 0.0], [1, 4], 3)]
    first, second = arranged(step, 2, row_rules("grpo", **RULES))
    # row 4 has no advantage; lengths with prompt are 8, 4, 6: rows 1 and 3, then row 2
    assert first["extra"] == ["row 1", "row 3"]
    assert second["extra"] == ["row 2"]
    assert first["completion_ids"].shape == (2, 6)
    assert second["completion_ids"].tolist() == [[2]]
    assert second["prompt_ids"].tolist() == [[2, 2, 2]]
    assert (first["loss_scale"], second["loss_scale"]) == (1.0, 0.5)
    assert second["num_items_in_batch"] == 99


def padded_area(counts, completions, prompts):
    """Tokens with padding, and 64 for each micro-batch that is not empty."""
    area, start = 0, 0
    for count in counts:
        chunk = slice(start, start + count)
        start += count
        area += count * (max(completions[chunk]) + max(prompts[chunk])) + MICRO_BATCH_COST if count else 0
    return area


@pytest.mark.parametrize("seed", range(20))
def test_no_other_deal_has_less_padding(seed):
    """Against every way to cut 7 sorted rows into 3 micro-batches that hold at most what TRL's of 4 rows hold."""
    draw = random.Random(seed)
    completions = sorted((draw.randint(1, 300) for _ in range(7)), reverse=True)
    prompts = [draw.randint(1, 60) for _ in range(7)]
    limit = 4 * 360
    cuts = [(a, b - a, 7 - b) for a in range(8) for b in range(a, 8)]
    fits = [c for c in cuts if max(padded_area([n], completions[s:], prompts[s:]) - MICRO_BATCH_COST
                                   for n, s in zip(c, (0, c[0], c[0] + c[1]), strict=True)) <= limit]  # fmt: skip
    found = least_padding(np.array(completions), np.array(prompts), 3, limit)
    assert tuple(found) in fits
    assert padded_area(found, completions, prompts) == min(padded_area(c, completions, prompts) for c in fits)


def test_rows_of_one_length_stay_in_one_micro_batch():
    assert sorted(least_padding(np.full(4, 50), np.full(4, 10), 2, 8 * 60)) == [0, 4]


def test_a_micro_batch_of_nothing_is_empty():
    first, second = arranged([batch([6, 1], [0.0, 0.0], [2, 3]), batch([5, 2], [0.0, 0.0], [1, 4])], 1,
                             row_rules("grpo", **RULES))  # fmt: skip
    assert len(first["completion_ids"]) == len(second["completion_ids"]) == 0
    assert first["loss_scale"] == 0.0


def test_an_advantage_that_is_not_a_number_stays_to_be_seen():
    (only,) = arranged([batch([6, 1], [float("nan"), 0.0], [2, 3])], 1, row_rules("grpo", **RULES))
    assert only["extra"] == ["row 0"]


@pytest.mark.parametrize(
    ("loss_type", "changed", "drop", "pool", "trim", "why"),
    [
        ("grpo", {}, True, True, True, "only rows that have an advantage"),
        ("bnpo", {}, True, False, True, "only rows that have an advantage"),
        ("grpo", {"beta": 0.1}, False, True, True, "the KL penalty needs every row"),
        ("grpo", {"entropy": True}, False, False, True, "the entropy needs every row"),
        ("grpo", {"aux_loss": True}, False, False, True, "the auxiliary loss needs every row"),
        ("grpo", {"processes": 2}, False, False, True, "several processes"),
        ("grpo", {"rotary": False}, True, True, False, "only rows that have an advantage"),
    ],
)
def test_rules(loss_type, changed, drop, pool, trim, why):
    rules = row_rules(loss_type, **{**RULES, **changed})
    assert (rules.drop, rules.pool, rules.trim_prompts) == (drop, pool, trim)
    assert why in str(rules)


def test_under_vllm_every_row_is_computed_as_trl_does():
    trainer = LeanRollout()
    trainer.use_vllm = True
    assert rules_of(trainer) is None


@pytest.mark.parametrize("method", ["_compute_loss", "compute_loss"])
def test_a_subclass_with_a_loss_of_its_own_gets_every_row_as_trl_does(tmp_path, method):
    seen = []

    def own(self, model, inputs, *args, **kwargs):
        seen.append(inputs)
        return getattr(super(Own, self), method)(model, inputs, *args, **kwargs)

    Own = type("Own", (GSPOTrainer,), {method: own})
    trainer, _ = trained(tmp_path, True, {}, Own)
    assert trainer.row_rules is None
    assert [len(inputs["completion_ids"]) for inputs in seen] == [8] * 4
    assert any((inputs["advantages"] == 0).any() for inputs in seen)
    assert not any("loss_scale" in inputs for inputs in seen)
    assert trained(tmp_path, True, {})[0].row_rules is not None


def test_the_readmes_own_loss_computes_what_it_says(tmp_path):
    """It is GSPO written out, so its gradients are those of the trainer."""
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    snippet = next(code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "OwnLoss" in code)
    names: dict = {}
    exec(compile(snippet, "README.md", "exec"), names)
    _, wanted = trained(tmp_path, True, ACCUMULATED)
    _, found = trained(tmp_path, True, ACCUMULATED, names["OwnLoss"])
    assert len(found) == len(wanted) >= 4
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def test_a_loss_type_that_nobody_has_looked_at_gets_every_row():
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(rope_parameters={}))
    sizes = {"steps_per_generation": 4, "gradient_accumulation_steps": 2}
    args = SimpleNamespace(loss_type="grpo", beta=0.0, top_entropy_quantile=1.0, **sizes)
    trainer = SimpleNamespace(args=args, use_vllm=False, model=SimpleNamespace(config=config),
                              accelerator=SimpleNamespace(num_processes=1), aux_loss_enabled=False,
                              _entropy_bonus_enabled=False)  # fmt: skip
    assert rules_of(trainer).drop
    args.loss_type = "of_next_year"
    assert rules_of(trainer) is None
