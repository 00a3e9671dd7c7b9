"""One contender of gpu.py, in a process of its own, because Unsloth changes TRL for good.

    python gpu_contender.py NAME FOLDER [--case NAME] [--dry-run]      started by gpu.py, which sets the environment

FOLDER holds the model. Every line on stdin asks for one round, as JSON: `flat`, the share of groups without variance;
`keep`, a file for the gradients or null; `steps`, the rows that each optimizer step is to hold, or null for the
trainer's own; `whole`, true for a round that samples as well. Every round is answered by one line on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_cases import ACCUMULATION, CASES, CONTENDERS, TINY, Canned, batch_of
from gpu_rows import watch
from step_cases import Case

RANK = 16
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SAMPLED = {False: 256, True: 8}  # tokens of each completion in a whole step
Row = dict[str, Any]


def loaded(backend: str, folder: Path, case: Case, dry: bool) -> tuple[Any, Any]:
    """Load the model with its adapter, and its tokenizer, as a run does; in a dry run a plain one in float32."""
    import torch

    if not dry:
        from gspo_lite.models.load import load_model
        from gspo_lite.recipe.schema import ModelSettings

        lora = {"rank": RANK, "alpha": RANK, "target_modules": TARGETS}
        settings = ModelSettings(name=str(folder), max_seq_length=2 * case.longest, lora=lora)
        found = load_model(settings, backend, gradient_checkpointing=True)
        return found.model, found.processing_class
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=RANK, target_modules=TARGETS, task_type="CAUSAL_LM"))
    if backend == "unsloth":
        model.for_training = lambda *_, **__: model.train()
        model.for_inference = lambda *_, **__: model.eval()
        model._unsloth_user_float32 = True
    return model, AutoTokenizer.from_pretrained(folder)


def trained(model: Any) -> list[tuple[str, Any]]:
    """Return what is trained, by name, in an order that is the same for all contenders."""
    return sorted((name, p) for name, p in model.named_parameters() if p.requires_grad)


def starting_values(name: str, like: Any) -> Any:
    """Return the same values for all contenders, also where one holds its adapter in bfloat16."""
    import torch

    draw = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return (torch.randn(like.shape, generator=draw) * 0.02).bfloat16().to(like.device, torch.float32)


def import_backend(backend: str, dry: bool) -> None:
    """Import Unsloth where it is the backend, which has to come before TRL."""
    if backend != "unsloth":
        return
    if dry:
        from tests.unsloth.patched_trainer import import_unsloth

        import_unsloth()
    else:
        import unsloth  # noqa: F401


def trainer_of(name: str, folder: Path, case: Case, dry: bool) -> tuple[Any, Canned]:
    """Make a trainer that is ready to step, and the rollout that takes the place of its sampling."""
    contender = CONTENDERS[name]
    import_backend(contender.backend, dry)
    import trl
    from datasets import Dataset

    from gspo_lite import GSPOConfig, GSPOTrainer

    model, tokenizer = loaded(contender.backend, folder, case, dry)
    canned = Canned(model.config.vocab_size, case)
    args = GSPOConfig(
        output_dir=str(folder / "out"), per_device_train_batch_size=batch_of(case),
        gradient_accumulation_steps=ACCUMULATION, steps_per_generation=case.completions // batch_of(case),
        num_generations=case.group, max_completion_length=case.longest, importance_sampling_level=contender.level,
        epsilon=0.2, epsilon_high=0.2, use_cpu=dry, bf16=not dry, report_to="none", save_strategy="no",
        gradient_checkpointing=True, disable_tqdm=True, seed=0,
    )  # fmt: skip
    trainer = (GSPOTrainer if contender.ours else trl.GRPOTrainer)(
        model, canned.reward, args=args, processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": "b"}] * case.completions),
    )  # fmt: skip
    prepare_to_step(trainer)
    watch(trainer, contender.credit)
    return trainer, canned


def prepare_to_step(trainer: Any) -> None:
    """Turn on what `train()` does before the first step, and `training_step` does not: checkpointing and autocast."""
    trainer.model.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
    trainer.model_wrapped = trainer.accelerator.prepare(trainer.model)
    trainer.current_gradient_accumulation_steps = ACCUMULATION
    trainer.state.global_step = 1  # every rollout of a run but the first


def optimise(trainer: Any) -> tuple[float, list[dict[str, Any]]]:
    """Return the seconds for all passes over one rollout, and the gradients of every optimizer step, by name."""
    import torch

    parameters = [(name, starting_values(name, p), p) for name, p in trained(trainer.model)]
    wait = (lambda: None) if trainer.args.use_cpu else torch.cuda.synchronize
    trainer._buffered_inputs, trainer._step = None, 0
    rows = [{"prompt": "b"}] * trainer.args.generation_batch_size
    torch.manual_seed(1)  # of TRL's shuffle
    gradients, seconds = [], 0.0
    for step in range(trainer.args.steps_per_generation):
        if step % ACCUMULATION == 0:  # as an optimizer would move them, and the same for all
            for _, start, p in parameters:
                p.data = (start * (1 + 0.02 * step)).bfloat16().to(p.dtype)
                p.grad = None
        wait()
        begin = time.perf_counter()
        trainer.training_step(trainer.model_wrapped, rows, None)
        wait()
        seconds += time.perf_counter() - begin
        if (step + 1) % ACCUMULATION == 0:
            gradients.append({name: p.grad.float().cpu() for name, _, p in parameters})
    trainer._metrics["train"].clear()
    return seconds, gradients


def whole_step(trainer: Any, canned: Canned) -> Row:
    """Return the seconds of sampling, scoring and all passes over what was sampled, and those of sampling alone.

    The prompt is a single token, and rewards are the canned ones.
    """
    import torch

    wait = (lambda: None) if trainer.args.use_cpu else torch.cuda.synchronize
    told = {"sampling_seconds": 0.0, "sampled_tokens": 0}
    trainer.wanted = None
    vars(trainer).pop("_generate", None)  # the canned one stands in front of it
    generate, limit = trainer._generate, trainer.generation_config.max_new_tokens
    trainer.generation_config.max_new_tokens = SAMPLED[trainer.args.use_cpu]

    def timed(*args: Any, **kwargs: Any) -> Any:
        wait()
        begin = time.perf_counter()
        found = generate(*args, **kwargs)
        wait()
        told["sampling_seconds"] += time.perf_counter() - begin
        told["sampled_tokens"] += sum(map(len, found[1]))
        return found

    trainer._generate = timed
    try:
        told["whole_seconds"] = optimise(trainer)[0]
    finally:
        trainer._generate, trainer.generation_config.max_new_tokens = canned.generate, limit
    return told


def with_peaks(do: Callable[[], Any], on_gpu: bool) -> tuple[Any, dict[str, float]]:
    """Return what `do` returns and the peaks of memory in GiB while it ran, and leave the card to the next contender.

    Without a GPU both peaks are that of the whole process.
    """
    import torch

    from gspo_lite.system.environment import peak_memory_gib

    if not on_gpu:
        return do(), dict.fromkeys(("peak_gib", "reserved_gib"), peak_memory_gib())
    torch.cuda.reset_peak_memory_stats()  # neither loading nor compiling counts
    found = do()
    peaks = {
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
        "reserved_gib": torch.cuda.max_memory_reserved() / 2**30,
    }
    torch.cuda.empty_cache()
    return found, peaks


def autocast_seen(model: Any) -> list[str]:
    """Return a list that receives the autocast type of every forward pass with gradients, `off` where there is none."""
    import torch

    seen: list[str] = []

    def look(module: Any, inputs: Any) -> None:
        if torch.is_grad_enabled():
            kind = module.weight.device.type
            on = torch.is_autocast_enabled(kind)
            seen.append(str(torch.get_autocast_dtype(kind)).removeprefix("torch.") if on else "off")

    model.get_input_embeddings().register_forward_pre_hook(look)
    return seen


def hardware_line(dry: bool) -> str:
    from gspo_lite.system.environment import hardware

    return "a dry run on a CPU" if dry else hardware()


def answered(asked: Row, trainer: Any, canned: Canned, dry: bool) -> Row:
    """Return the figures of one round."""
    import torch

    canned.deal(asked["flat"])
    if asked.get("whole"):
        return whole_step(trainer, canned)
    trainer._generate, trainer.wanted = canned.generate, asked["steps"]
    (seconds, gradients), peaks = with_peaks(lambda: optimise(trainer), on_gpu=not dry)
    assert trainer.model.is_gradient_checkpointing, "it trains without gradient checkpointing, which is not fair"
    if asked["keep"]:
        torch.save(gradients, asked["keep"])
    teaching = trainer.scored.teaching()
    held = [sorted(teaching.intersection(step)) for step in trainer.held]
    return {
        "seconds": seconds, "tokens": canned.tokens, **peaks, "steps": held, "hardware": hardware_line(dry),
        "gradient_checkpointing": trainer.model.is_gradient_checkpointing,
        "parameters": zlib.crc32(" ".join(name for name, _ in trained(trainer.model)).encode()),
    }  # fmt: skip


def work(name: str, folder: Path, case: Case, dry: bool) -> None:
    """Answer every line of stdin with the figures of one round."""
    trainer, canned = trainer_of(name, folder, case, dry)
    autocast = autocast_seen(trainer.model)
    for line in sys.stdin:
        told = answered(json.loads(line), trainer, canned, dry) | {"autocast": sorted(set(autocast))}
        print("RESULT " + json.dumps(told), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--case", choices=CASES, default="gsm8k")
    parser.add_argument("--dry-run", action="store_true")
    chosen = parser.parse_args()
    work(chosen.name, chosen.folder, TINY if chosen.dry_run else CASES[chosen.case], chosen.dry_run)


if __name__ == "__main__":
    main()
