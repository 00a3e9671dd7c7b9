"""GSPO's learning rates are so small that a bfloat16 weight would often round the update away."""

import pytest
import torch
from datasets import Dataset

from gspo_lite.models.load import load_model
from gspo_lite.recipe.schema import ModelSettings
from gspo_lite.training.config import GSPOConfig
from gspo_lite.training.trainer import GSPOTrainer

RATE = 5e-6


def trainer_on_nf4(tmp_path, dtype):
    settings = ModelSettings(name="starter", backend="transformers", load_in_4bit=True, dtype=dtype)
    loaded = load_model(settings, "transformers")
    torch.manual_seed(0)
    for name, parameter in loaded.model.named_parameters():
        if "lora_B" in name:  # zero at first, which would leave lora_A without a gradient and move from 0 at any rate
            torch.nn.init.normal_(parameter, std=0.02)
    args = GSPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=16, num_generations=8, max_completion_length=16,
        max_steps=1, learning_rate=RATE, lr_scheduler_type="constant", use_cpu=True, bf16=False, report_to=[],
        save_strategy="no", disable_tqdm=True, gradient_checkpointing=False, logging_steps=1,
    )  # fmt: skip

    def length(completions, **columns):
        return [float(len(text)) for text in completions]

    rows = Dataset.from_list([{"prompt": f"{a}+{b}"} for a in range(10, 18) for b in range(10, 18)])
    return GSPOTrainer(loaded.model, [length], args, rows, processing_class=loaded.processing_class)


def share_moved(trainer):
    """Share of trained elements with a gradient that one optimizer step moves."""
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in trained]
    seen = [torch.zeros_like(p, dtype=torch.bool) for p in trained]

    def marking(marks):
        def mark(gradient):
            marks.logical_or_(gradient != 0)

        return mark

    for parameter, marks in zip(trained, seen, strict=True):
        parameter.register_hook(marking(marks))
    trainer.train()
    moved = sum(int(((p != old) & marks).sum()) for p, old, marks in zip(trained, before, seen, strict=True))
    return moved / sum(int(marks.sum()) for marks in seen)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_at_a_small_rate_moves_nearly_every_element(tmp_path, starter, dtype):
    trainer = trainer_on_nf4(tmp_path, dtype)
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {torch.float32}
    share = share_moved(trainer)
    print(f"{dtype}: {share:.4%} of the elements with a gradient moved")
    assert share >= 0.99


def test_bfloat16_adapters_would_lose_most_of_it(tmp_path, starter):
    trainer = trainer_on_nf4(tmp_path, "bfloat16")
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
    share = share_moved(trainer)
    print(f"bfloat16 adapter: {share:.4%} of the elements with a gradient moved")
    assert share < 0.9


def test_what_is_written_down_is_not_held_in_memory_as_well(tmp_path):
    from types import SimpleNamespace

    from gspo_lite.training.watch.callbacks import KEPT, MetricsWriter

    writer, state = MetricsWriter(tmp_path / "metrics.jsonl"), SimpleNamespace(global_step=0, log_history=[])
    for state.global_step in range(1, KEPT + 50):
        state.log_history.append({"loss": 0.0})
        writer.on_log(None, state, None, logs={"loss": 0.0})
    assert len(state.log_history) == KEPT
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == KEPT + 49
