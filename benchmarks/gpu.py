"""One training step on a GPU: stock TRL, plain Unsloth, and ours on each, on the same rollout and weights.

    python benchmarks/gpu.py [--shapes Qwen3-0.6B ...] [--rounds 5] [--json FILE]
    python benchmarks/gpu.py --dry-run        the same way with a tiny model on a CPU; what it times means nothing

Models are random weights in NF4 in a real shape, made on the machine. Measured is a training step per rollout: old
log-probs, forward and backward passes of all its micro-batches; sampling is left out by canned completions. Every
contender is a process of its own, because Unsloth changes TRL for good, and they take turns. A speed-up is printed only
where the gradients agree. The clip is 0.2, not GSPO's: at 3e-4 rounding in bfloat16 alone decides which rows count, and
no two implementations could be compared; the work is the same. Runs from a clone, nothing of ours installed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.update(HF_HUB_OFFLINE="1", UNSLOTH_DISABLE_STATISTICS="1", TOKENIZERS_PARALLELISM="false")

# name -> backend, whether the trainer is ours; a speed-up is told over the contender named last
CONTENDERS = {
    "trl": ("transformers", False, None),
    "ours on trl": ("transformers", True, "trl"),
    "unsloth": ("unsloth", False, "trl"),
    "ours on unsloth": ("unsloth", True, "unsloth"),
}
BATCH, GROUP, ACCUMULATION, RANK = 8, 8, 2, 16
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Largest relative difference of two gradients that are called the same: in bfloat16 on NF4, and in float32.
AGREE = {False: 0.1, True: 1e-4}


def cases(dry: bool) -> Any:
    from train_step import Case

    return Case("gpu", completions=16, longest=24, mean=12.0) if dry else Case("gpu", mean=200.0, longest=512)


def canned(case: Any, vocabulary: int) -> tuple[list[list[int]], list[list[int]], list[float]]:
    """Prompts, completions and rewards of train_step.py, in a vocabulary of this size; token 1 ends a completion."""
    from train_step import rollout

    prompts, completions, rewards = rollout(case)
    words = vocabulary - 10
    return (
        [[10 + token % words for token in row] for row in prompts],
        [[10 + token % words for token in row[:-1]] + [1] for row in completions],
        rewards,
    )


def loaded(backend: str, folder: Path, dry: bool) -> tuple[Any, Any]:
    """The model with its adapter, and its tokenizer, as a run loads them; in a dry run a plain one in float32."""
    import torch

    if not dry:
        from gspo_lite.models.load import load_model
        from gspo_lite.recipe.schema import ModelSettings

        settings = ModelSettings(
            name=str(folder), max_seq_length=1024, lora={"rank": RANK, "alpha": RANK, "target_modules": TARGETS}
        )
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
    """What is trained, by name, in an order that is the same for all contenders."""
    return sorted((name, p) for name, p in model.named_parameters() if p.requires_grad)


def starting_values(name: str, like: Any) -> Any:
    """The same values for all contenders, also where one holds its adapter in bfloat16."""
    import torch

    draw = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return (torch.randn(like.shape, generator=draw) * 0.02).bfloat16().to(like.device, torch.float32)


def trainer_of(contender: str, folder: Path, dry: bool) -> tuple[Any, int]:
    """A trainer whose sampling is canned, and the tokens of its rollout."""
    backend, ours, _ = CONTENDERS[contender]
    if backend == "unsloth" and dry:
        from tests.unsloth.patched_trainer import import_unsloth

        import_unsloth()
    elif backend == "unsloth":
        import unsloth  # noqa: F401  # before trl
    import trl
    from datasets import Dataset

    from gspo_lite import GSPOConfig, GSPOTrainer

    case = cases(dry)
    model, tokenizer = loaded(backend, folder, dry)
    prompts, completions, rewards = canned(case, model.config.vocab_size)
    args = GSPOConfig(
        output_dir=str(folder / "out"), per_device_train_batch_size=BATCH, gradient_accumulation_steps=ACCUMULATION,
        steps_per_generation=case.completions // BATCH, num_generations=GROUP, max_completion_length=case.longest,
        epsilon=0.2, epsilon_high=0.2, use_cpu=dry, bf16=not dry, report_to="none", save_strategy="no",
        gradient_checkpointing=not dry, disable_tqdm=True, seed=0,
    )  # fmt: skip
    trainer = (GSPOTrainer if ours else trl.GRPOTrainer)(
        model, lambda completions, **_: rewards, args=args, processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": "b"}] * case.completions),
    )  # fmt: skip
    texts = ["b"] * case.completions
    trainer._generate = lambda *_: (prompts, completions, None, texts, None, {}, None, [])
    trainer.current_gradient_accumulation_steps = ACCUMULATION
    trainer.state.global_step = 1  # every rollout of a run but the first
    return trainer, sum(map(len, prompts)) + sum(map(len, completions))


def optimise(trainer: Any) -> tuple[float, list[Any]]:
    """Seconds for all passes over one rollout, and the gradient of every optimizer step."""
    import torch

    parameters = [(starting_values(name, p), p) for name, p in trained(trainer.model)]
    wait = torch.cuda.synchronize if torch.cuda.is_available() and not trainer.args.use_cpu else lambda: None
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
        trainer.training_step(trainer.model, rows, None)
        wait()
        seconds += time.perf_counter() - begin
        if (step + 1) % ACCUMULATION == 0:
            gradients.append(torch.cat([p.grad.float().flatten().cpu() for _, p in parameters]))
    trainer._metrics["train"].clear()
    return seconds, gradients


def work(contender: str, folder: Path, dry: bool) -> None:
    """The process of one contender: a round for every line it reads, told as a line of JSON."""
    import torch

    trainer, tokens = trainer_of(contender, folder, dry)
    on_gpu = torch.cuda.is_available() and not dry
    from gspo_lite.system.environment import hardware, peak_memory_gib

    names = zlib.crc32(" ".join(name for name, _ in trained(trainer.model)).encode())
    for _ in sys.stdin:
        seconds, gradients = optimise(trainer)
        torch.save(gradients, folder / f"{contender}.pt")
        peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else peak_memory_gib()
        told = {"seconds": seconds, "tokens": tokens, "peak_gib": peak, "parameters": names,
                "hardware": "a dry run on a CPU" if dry else hardware()}  # fmt: skip
        print("RESULT " + json.dumps(told), flush=True)


def start(contender: str, folder: Path, dry: bool) -> Any:
    """The process of one contender; what libraries print goes to a file beside its gradients."""
    command = [sys.executable, __file__, "--worker", contender, "--folder", str(folder), *(["--dry-run"] * dry)]
    environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": ""} if dry else {})}
    environment["UNSLOTH_COMPILE_LOCATION"] = tempfile.mkdtemp(prefix="unsloth-")
    log = (folder / f"{contender}.log").open("w")
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
    )


def go(contender: str, process: Any, folder: Path) -> dict[str, Any]:
    """One round of a contender."""
    process.stdin.write("go\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    raise SystemExit(f"{contender} failed:\n{(folder / f'{contender}.log').read_text()[-3000:]}")


def gap(ours: Path, theirs: Path) -> float:
    """Largest relative difference of the gradients of an optimizer step."""
    import torch

    pairs = zip(torch.load(ours, weights_only=True), torch.load(theirs, weights_only=True), strict=True)
    return max(float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in pairs)


def measure(shape: str, contenders: list[str], rounds: int, dry: bool) -> list[dict[str, Any]]:
    """All contenders in turns on one model."""
    from tests.gpu.random_models import write_random_model

    folder = write_random_model(shape, Path(tempfile.mkdtemp(prefix="gspo-gpu-")) / shape)
    processes = {name: start(name, folder, dry) for name in contenders}
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, process in processes.items():
            result = go(name, process, folder)
            if turn:  # the first warms up
                told[name].append(result)
    for process in processes.values():
        process.stdin.close()
        process.wait()
    return [judged(name, shape, told, folder, dry) for name in contenders]


def judged(name: str, shape: str, told: dict[str, list[dict[str, Any]]], folder: Path, dry: bool) -> dict[str, Any]:
    """One contender's figures; a speed-up only where its gradients are those of the contender it is compared with."""
    rounds, other = told[name], CONTENDERS[name][2]
    seconds = [one["seconds"] for one in rounds]
    middle = statistics.median(seconds)
    result = {
        "shape": shape, "contender": name, "hardware": rounds[0]["hardware"], "seconds": middle,
        "seconds_low": min(seconds), "seconds_high": max(seconds), "tokens_per_second": rounds[0]["tokens"] / middle,
        "peak_gib": max(one["peak_gib"] for one in rounds), "over": None, "gradient_error": None, "speed_up": None,
    }  # fmt: skip
    if other not in told:
        return result
    assert rounds[0]["parameters"] == told[other][0]["parameters"], "they train other parameters"
    error = gap(folder / f"{name}.pt", folder / f"{other}.pt")
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(rounds, told[other], strict=True)]
    agree = error < AGREE[dry]
    return result | {"over": other, "gradient_error": error, "speed_up": statistics.median(ratios) if agree else None}


def shown(one: dict[str, Any]) -> str:
    """One line of the table."""
    line = (
        f"{one['shape']:14} {one['contender']:16} {one['seconds']:7.2f} s ({one['seconds_low']:.2f} to "
        f"{one['seconds_high']:.2f})  {one['tokens_per_second']:8.0f} tokens/s  peak {one['peak_gib']:6.2f} GiB"
    )
    if one["over"] is None:
        return line
    if one["speed_up"] is None:
        return f"{line}  gradients differ from {one['over']}'s by {one['gradient_error']:.1e}: no speed-up is printed"
    return f"{line}  {one['speed_up']:.2f} x {one['over']}  gradient {one['gradient_error']:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shapes", nargs="+", default=["Qwen3-0.6B", "Qwen3-1.7B"], help="as gspo-lite plan knows them"
    )
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        work(chosen.worker, chosen.folder, chosen.dry_run)
        return
    if chosen.dry_run:
        print("a dry run on a CPU: gradients are compared, what is timed means nothing")
    results = []
    for shape in ["tiny"] if chosen.dry_run else chosen.shapes:
        for one in measure(shape, chosen.contenders, chosen.rounds, chosen.dry_run):
            print(shown(one), flush=True)
            results.append(one)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
