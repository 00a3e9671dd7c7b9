"""A trainer of train_step.py whose sampling is canned, and one rollout through all of its passes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from step_cases import Case, Rollout, rollout
from step_model import model_of, tokenizer_of_numbers
from step_reference import Scored, moved, plain_logps

BATCH, ACCUMULATION = 8, 2
VLLM_NOISE = 0.05  # standard deviation of the canned log-probs of vLLM from the trainer's; real ones are nearer
LEVELS = {"stock": "sequence", "gspo": "sequence", "gspo_token": "sequence_token", "turns": "sequence_token"}


@dataclass
class Passes:
    """What all passes over one rollout took and gave.

    Attributes:
        seconds: of everything between the sampled rollout and its last gradient.
        gradients: of every optimizer step.
        steps: the rows of the rollout that each optimizer step holds, some left out if they cannot teach.
        old: floating-point operations until the micro-batches are ready, old log-probs above all.
        operations: all of them; both are 0 unless they are counted.
    """

    seconds: float = 0.0
    gradients: list[Any] = field(default_factory=list)
    steps: list[list[int]] = field(default_factory=list)
    old: int = 0
    operations: int = 0


def trainer_of(contender: str, case: Case, folder: Path, path: str = "plain", old_pass: bool = False) -> Any:
    """Return a trainer whose sampling is canned: the path's own, or ours.

    Args:
        old_pass: whether our sampler leaves no log-probs on the plain path.
    """
    import trl
    from datasets import Dataset

    from gspo_lite import GSPOConfig, GSPOTrainer

    rows = rollout(case)
    args = GSPOConfig(
        output_dir=str(folder / "out"), importance_sampling_level=LEVELS[contender], per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=ACCUMULATION, steps_per_generation=case.completions // BATCH,
        num_generations=case.group, max_completion_length=case.longest, use_cpu=True, bf16=False, report_to="none",
        gradient_checkpointing=False, save_strategy="no", disable_tqdm=True, seed=0, **of_vllm(path),
    )  # fmt: skip
    model = model_of(case, folder, path)
    leaves_logps = path == "vllm" or (path == "plain" and contender != "stock" and not old_pass)
    sampler = sampler_logps(model, rows, VLLM_NOISE if path == "vllm" else 0.0) if leaves_logps else None
    values = {parameter: parameter.detach().clone() for parameter in model.parameters() if parameter.requires_grad}
    trainer = (trl.GRPOTrainer if contender == "stock" else GSPOTrainer)(
        model, rewards_of(contender, rows), args=args, processing_class=tokenizer_of_numbers(),
        train_dataset=Dataset.from_list([{"prompt": "w2"}] * case.completions),
    )  # fmt: skip
    for parameter, value in values.items():  # TRL casts an adapter on 4-bit weights to bfloat16: digits, not speed
        parameter.data = value
    tools = rows.own_tokens if contender == "turns" else None
    texts = ["w"] * case.completions
    trainer._generate = lambda *_: (rows.prompts, rows.completions, tools, texts, sampler, {}, None, [])
    trainer.current_gradient_accumulation_steps = ACCUMULATION
    trainer.state.global_step = 1  # every rollout of a run but the first
    trainer.model.train()
    return trainer


def of_vllm(path: str) -> dict[str, Any]:
    """Return the settings of a run under vLLM, as recipes have them."""
    if path != "vllm":
        return {}
    return {
        "use_vllm": True, "vllm_mode": "colocate", "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate", "vllm_gpu_memory_utilization": 0.2,
        "vllm_max_model_length": 1280,
    }  # fmt: skip


def rewards_of(contender: str, rows: Rollout) -> list[Any]:
    """Return the reward functions: the outcome, and for `turns` the value of each turn as well."""

    def outcome(completions: list[Any], **_: Any) -> list[float]:
        return rows.rewards

    def by_turn(completions: list[Any], **_: Any) -> list[Any]:
        from gspo_lite.credit import Turns

        return [Turns(values) for values in rows.turn_values]

    return [outcome, by_turn] if contender == "turns" else [outcome]


def sampler_logps(model: Any, rows: Rollout, noise: float) -> list[list[float]]:
    """Return the log-probs that stand for a sampler's: the model's own, for vLLM with noise that is to be corrected."""
    import torch

    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        found = plain_logps(model, rows.prompts, rows.completions)
    return [(one + noise * torch.randn(len(one), generator=draw)).tolist() for one in found]


def optimise(trainer: Any, count: bool = False) -> Passes:
    """Take every pass over one rollout; with `count`, count operations, which makes the seconds mean nothing."""
    import torch

    passes, parameters = Passes(), [p for p in trainer.model.parameters() if p.requires_grad]
    start_values = [p.detach().clone() for p in parameters]
    trainer._buffered_inputs, trainer._step = None, 0
    rows = [{"prompt": "w2"}] * trainer.args.generation_batch_size
    torch.manual_seed(1)  # of TRL's shuffle
    counter = operations_counter() if count else None
    with watched(trainer, passes, counter), counter or nullcontext():
        for step in range(trainer.args.steps_per_generation):
            start = time.perf_counter()
            trainer.training_step(trainer.model, rows, None)
            passes.seconds += time.perf_counter() - start
            if (step + 1) % ACCUMULATION == 0:
                passes.gradients.append(torch.cat([p.grad.flatten() for p in parameters]))
                moved(parameters, start_values, len(passes.gradients))
    moved(parameters, start_values, 0)
    trainer._metrics["train"].clear()
    passes.operations = counter.get_total_flops() if counter else 0
    return passes


def operations_counter() -> Any:
    """Return torch's counter, which does not know how attention is called on a CPU."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    def backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_backward_flop_count(gradient, query, key, value))

    aten = torch.ops.aten
    own = {
        aten._scaled_dot_product_flash_attention_for_cpu: forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
    return FlopCounterMode(display=False, custom_mapping=own)


@contextmanager
def watched(trainer: Any, passes: Passes, counter: Any) -> Iterator[None]:
    """Note which rows the optimizer steps hold and what their preparation took; keep what was scored."""
    prepare, score = trainer._prepare_inputs, trainer._generate_and_score_completions

    def prepared(batch: Any) -> Any:
        before = counter.get_total_flops() if counter else 0
        found = prepare(batch)
        passes.old += (counter.get_total_flops() if counter else 0) - before
        if not passes.steps:
            buffered = trainer._buffered_inputs
            windows = [buffered[i : i + ACCUMULATION] for i in range(0, len(buffered), ACCUMULATION)]
            passes.steps = [[row for batch in window for row in trainer.scored.rows_of(batch)] for window in windows]
        return found

    def scored(rows: Any) -> Any:
        output = score(rows)
        trainer.scored = Scored.of(output, corrected=trainer.use_vllm)
        return output

    trainer._prepare_inputs, trainer._generate_and_score_completions = prepared, scored
    try:
        yield
    finally:
        trainer._prepare_inputs, trainer._generate_and_score_completions = prepare, score
