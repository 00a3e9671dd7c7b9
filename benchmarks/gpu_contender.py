"""One contender of gpu.py, in a process of its own, because Unsloth changes TRL for good.

    python gpu_contender.py NAME FOLDER [--dry-run]      started by gpu.py, which sets the environment

FOLDER holds the model. Every line on stdin asks for one round, as JSON: `flat`, the share of groups without variance,
and `keep`, a file for the gradients or null. Every round is answered by one line on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

BATCH, GROUP, ACCUMULATION, RANK = 8, 8, 2, 16
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Contender(NamedTuple):
    """A way to train.

    Attributes:
        ours: the trainer is GSPOTrainer, not the GRPOTrainer that is live on the backend.
        over: the contender that its speed-up is told over.
    """

    backend: str
    ours: bool
    over: str | None


CONTENDERS = {
    "trl": Contender("transformers", False, None),
    "ours on trl": Contender("transformers", True, "trl"),
    "unsloth": Contender("unsloth", False, "trl"),
    "ours on unsloth": Contender("unsloth", True, "unsloth"),
}


class Canned:
    """A rollout in place of sampling: the prompts, completions and rewards of train_step.py in another vocabulary."""

    def __init__(self, vocabulary: int, dry: bool) -> None:
        from step_cases import Case

        self.case = Case("gpu", completions=16, longest=24, mean=12.0) if dry else Case("gpu", mean=200.0, longest=512)
        self.words = vocabulary - 10
        self.deal(0.0)

    def deal(self, flat: float) -> None:
        """Make the rollout in which this share of groups has equal rewards; its tokens are always the same."""
        from step_cases import rollout

        rows = rollout(replace(self.case, flat=flat))
        self.rewards = rows.rewards
        self.prompts = [[10 + token % self.words for token in row] for row in rows.prompts]
        self.completions = [[10 + token % self.words for token in row[:-1]] + [1] for row in rows.completions]

    @property
    def tokens(self) -> int:
        return sum(map(len, self.prompts)) + sum(map(len, self.completions))

    def generate(self, *_: Any) -> tuple[Any, ...]:
        """Return what `GRPOTrainer._generate` does."""
        return self.prompts, self.completions, None, ["b"] * self.case.completions, None, {}, None, []

    def reward(self, completions: list[Any], **_: Any) -> list[float]:
        return self.rewards


def loaded(backend: str, folder: Path, dry: bool) -> tuple[Any, Any]:
    """Load the model with its adapter, and its tokenizer, as a run does; in a dry run a plain one in float32."""
    import torch

    if not dry:
        from gspo_lite.models.load import load_model
        from gspo_lite.recipe.schema import ModelSettings

        lora = {"rank": RANK, "alpha": RANK, "target_modules": TARGETS}
        settings = ModelSettings(name=str(folder), max_seq_length=1024, lora=lora)
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


def trainer_of(contender: str, folder: Path, dry: bool) -> tuple[Any, Canned]:
    """Make a trainer that is ready to step, and the rollout that takes the place of its sampling."""
    backend, ours, _ = CONTENDERS[contender]
    import_backend(backend, dry)
    import trl
    from datasets import Dataset

    from gspo_lite import GSPOConfig, GSPOTrainer

    model, tokenizer = loaded(backend, folder, dry)
    canned = Canned(model.config.vocab_size, dry)
    case = canned.case
    args = GSPOConfig(
        output_dir=str(folder / "out"), per_device_train_batch_size=BATCH, gradient_accumulation_steps=ACCUMULATION,
        steps_per_generation=case.completions // BATCH, num_generations=GROUP, max_completion_length=case.longest,
        epsilon=0.2, epsilon_high=0.2, use_cpu=dry, bf16=not dry, report_to="none", save_strategy="no",
        gradient_checkpointing=True, disable_tqdm=True, seed=0,
    )  # fmt: skip
    trainer = (GSPOTrainer if ours else trl.GRPOTrainer)(
        model, canned.reward, args=args, processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": "b"}] * case.completions),
    )  # fmt: skip
    trainer._generate = canned.generate
    prepare_to_step(trainer)
    return trainer, canned


def prepare_to_step(trainer: Any) -> None:
    """Turn on what `train()` does before the first step, and `training_step` does not: checkpointing and autocast."""
    trainer.model.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
    trainer.model_wrapped = trainer.accelerator.prepare(trainer.model)
    trainer.current_gradient_accumulation_steps = ACCUMULATION
    trainer.state.global_step = 1  # every rollout of a run but the first


def optimise(trainer: Any) -> tuple[float, list[Any]]:
    """Return the seconds for all passes over one rollout, and the gradient of every optimizer step."""
    import torch

    parameters = [(starting_values(name, p), p) for name, p in trained(trainer.model)]
    wait = (lambda: None) if trainer.args.use_cpu else torch.cuda.synchronize
    trainer._buffered_inputs, trainer._step = None, 0
    rows = [{"prompt": "b"}] * trainer.args.generation_batch_size
    torch.manual_seed(1)  # of TRL's shuffle
    gradients, seconds = [], 0.0
    for step in range(trainer.args.steps_per_generation):
        if step % ACCUMULATION == 0:  # as an optimizer would move them, and the same for all
            for start, p in parameters:
                p.data = (start * (1 + 0.02 * step)).bfloat16().to(p.dtype)
                p.grad = None
        wait()
        begin = time.perf_counter()
        trainer.training_step(trainer.model_wrapped, rows, None)
        wait()
        seconds += time.perf_counter() - begin
        if (step + 1) % ACCUMULATION == 0:
            gradients.append(torch.cat([p.grad.float().flatten().cpu() for _, p in parameters]))
    trainer._metrics["train"].clear()
    return seconds, gradients


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


def work(contender: str, folder: Path, dry: bool) -> None:
    """Answer every line of stdin with the figures of one round."""
    import torch

    trainer, canned = trainer_of(contender, folder, dry)
    autocast = autocast_seen(trainer.model)
    names = zlib.crc32(" ".join(name for name, _ in trained(trainer.model)).encode())
    for line in sys.stdin:
        asked = json.loads(line)
        canned.deal(asked["flat"])
        (seconds, gradients), peaks = with_peaks(lambda: optimise(trainer), on_gpu=not dry)
        assert trainer.model.is_gradient_checkpointing, "it trains without gradient checkpointing, which is not fair"
        if asked["keep"]:
            torch.save(gradients, asked["keep"])
        told = {
            "seconds": seconds, "tokens": canned.tokens, **peaks, "parameters": names, "hardware": hardware_line(dry),
            "gradient_checkpointing": trainer.model.is_gradient_checkpointing, "autocast": sorted(set(autocast)),
        }  # fmt: skip
        print("RESULT " + json.dumps(told), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    chosen = parser.parse_args()
    work(chosen.name, chosen.folder, chosen.dry_run)


if __name__ == "__main__":
    main()
