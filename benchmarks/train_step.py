"""The optimisation of one rollout: ours against stock TRL's trainer, on the same completions, weights and rewards.

    python benchmarks/train_step.py [--cases base ...] [--rounds 5] [--json FILE]

Measured is everything between a sampled rollout and its last gradient: old log-probs, forward and backward passes of
all micro-batches. Sampling is left out by canned completions; all else is each trainer's own path. Weights move by
the same small step after every window, as an optimizer would move them. The contenders take turns; a speed-up is
printed only if all gradients agree, and memory is the peak of a process that runs one contender alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
GROUP, BATCH, ACCUMULATION = 8, 8, 2
VOCABULARY, PROMPT_LENGTHS = 2000, (12, 40)
AGREE = 1e-5  # largest relative gradient error of a row that is printed with a speed-up


@dataclass(frozen=True)
class Case:
    """What is optimised: lengths are log-normal up to `longest` unless they are equal."""

    name: str
    flat: float = 0.5  # share of groups without variance
    mean: float = 86.0
    longest: int = 256
    equal: bool = False
    completions: int = 64
    level: str = "sequence"
    weights: str = "lora"  # lora, nf4 (LoRA on 4-bit weights), full
    group: int = GROUP
    width: int = 256  # of the model; a head has 64


BASE = Case("base")
CASES = {
    case.name: case
    for case in (
        BASE,
        replace(BASE, name="flat 0%", flat=0.0),
        replace(BASE, name="flat 25%", flat=0.25),
        replace(BASE, name="flat 75%", flat=0.75),
        replace(BASE, name="equal lengths, flat 0%", flat=0.0, equal=True),
        replace(BASE, name="tail to 1024, flat 0%", flat=0.0, mean=160.0, longest=1024, completions=32),
        replace(BASE, name="gspo_token", level="sequence_token"),
        replace(BASE, name="NF4", weights="nf4"),
        replace(BASE, name="full weights", weights="full"),
    )
}


def rollout(case: Case) -> tuple[list[list[int]], list[list[int]], list[float]]:
    """Prompts, completions and rewards, the same for both contenders."""
    draw = random.Random(0)
    groups = case.completions // case.group
    prompts = [[draw.randrange(10, VOCABULARY) for _ in range(draw.randint(*PROMPT_LENGTHS))] for _ in range(groups)]
    spread = 0.8
    middle = math.log(case.mean) - spread**2 / 2
    lengths = [
        round(case.mean) if case.equal else max(2, min(case.longest, round(draw.lognormvariate(middle, spread))))
        for _ in range(case.completions)
    ]
    if not case.equal:
        lengths[draw.randrange(case.completions)] = case.longest  # the limit is reached, as it is in most rollouts
    completions = [[draw.randrange(10, VOCABULARY) for _ in range(length - 1)] + [1] for length in lengths]
    flat = round(case.flat * groups)
    rewards = [0.5 if row // case.group < flat else float(draw.random() < 0.5) for row in range(case.completions)]
    return [prompt for prompt in prompts for _ in range(case.group)], completions, rewards


def model_of(case: Case, folder: Path) -> Any:
    """6 layers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    folder, heads = folder / f"width-{case.width}", case.width // 64
    if not (folder / "config.json").is_file():
        config = Qwen3Config(
            vocab_size=VOCABULARY, hidden_size=case.width, intermediate_size=3 * case.width, num_hidden_layers=6,
            num_attention_heads=heads, num_key_value_heads=heads, head_dim=64,
            max_position_embeddings=2048, eos_token_id=1, pad_token_id=0, bos_token_id=None,
        )  # fmt: skip
        Qwen3ForCausalLM(config).save_pretrained(folder)
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4") if case.weights == "nf4" else None
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=nf4)
    if case.weights == "full":
        return model
    torch.manual_seed(1)
    model = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    from gspo_lite.models.weights import keep_gradients_right

    keep_gradients_right(model)
    return model


def tokenizer_of_numbers() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<eos>": 1, **{f"w{i}": i for i in range(2, VOCABULARY)}}
    core = Tokenizer(models.WordLevel(words, unk_token="w2"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>", unk_token="w2")


def trainer_of(contender: str, case: Case, folder: Path) -> Any:
    """A trainer whose sampling is canned."""
    import trl
    from datasets import Dataset

    from gspo_lite import GSPOConfig, GSPOTrainer

    prompts, completions, rewards = rollout(case)
    level = case.level if contender == "ours" else "sequence"
    args = GSPOConfig(
        output_dir=str(folder / "out"), importance_sampling_level=level, per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=ACCUMULATION, steps_per_generation=case.completions // BATCH,
        num_generations=case.group, max_completion_length=case.longest, use_cpu=True, bf16=False, report_to="none",
        gradient_checkpointing=False, save_strategy="no", disable_tqdm=True, seed=0,
    )  # fmt: skip
    rows = Dataset.from_list([{"prompt": "w2"}] * case.completions)
    make = GSPOTrainer if contender == "ours" else trl.GRPOTrainer
    model = model_of(case, folder)
    values = {parameter: parameter.detach().clone() for parameter in model.parameters() if parameter.requires_grad}
    trainer = make(
        model, lambda completions, **_: rewards, args=args, train_dataset=rows,
        processing_class=tokenizer_of_numbers(),
    )  # fmt: skip
    for parameter, value in values.items():  # TRL casts an adapter on 4-bit weights to bfloat16: digits, not speed
        parameter.data = value
    texts = ["w"] * case.completions
    trainer._generate = lambda *_: (prompts, completions, None, texts, None, {}, None, [])
    trainer.current_gradient_accumulation_steps = ACCUMULATION
    trainer.state.global_step = 1  # every rollout of a run but the first
    trainer.model.train()
    return trainer


def optimise(trainer: Any) -> tuple[float, list[Any]]:
    """Seconds for one rollout, and the gradient of every optimizer step."""
    import torch

    parameters = [p for p in trainer.model.parameters() if p.requires_grad]
    start_values = [p.detach().clone() for p in parameters]
    trainer._buffered_inputs = None
    rows = [{"prompt": "w2"}] * trainer.args.generation_batch_size
    torch.manual_seed(1)  # of TRL's shuffle
    gradients, seconds = [], 0.0
    for step in range(trainer.args.steps_per_generation):
        start = time.perf_counter()
        trainer._step = step
        inputs = trainer._prepare_inputs(rows)
        trainer.compute_loss(trainer.model, inputs).backward()
        seconds += time.perf_counter() - start
        if (step + 1) % ACCUMULATION == 0:
            gradients.append(torch.cat([p.grad.flatten() for p in parameters]))
            for p, old in zip(parameters, start_values, strict=True):
                p.data = old * (1 + 2e-3 * len(gradients))  # the same move for both
                p.grad = None
    for p, old in zip(parameters, start_values, strict=True):
        p.data = old
    trainer._metrics["train"].clear()
    return seconds, gradients


def gap(ours: list[Any], theirs: list[Any]) -> float:
    """Largest relative difference of the gradients of an optimizer step."""
    return max(float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in zip(ours, theirs, strict=True))


def peak_gib(contender: str, case: Case, folder: Path) -> float:
    """Peak memory of a process that runs one contender alone."""
    command = [sys.executable, __file__, "--alone", contender, "--cases", case.name, "--folder", str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measure(case: Case, rounds: int, folder: Path) -> dict[str, Any]:
    """Both contenders in turns."""
    trainers = {name: trainer_of(name, case, folder) for name in ("trl", "ours")}
    plain = replace(case, level="sequence")
    if case.level != "sequence":  # stock TRL has no GSPO-token: gradients are compared with our sequence level
        trainers["gspo"] = trainer_of("ours", plain, folder)
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    gradients: dict[str, list[Any]] = {}
    for turn in range(rounds + 1):
        for name, trainer in trainers.items():
            took, gradients[name] = optimise(trainer)
            if turn:  # the first warms up
                seconds[name].append(took)
    ratios = [a / b for a, b in zip(seconds["trl"], seconds["ours"], strict=True)]
    result = {
        **asdict(case),
        "trl_seconds": statistics.median(seconds["trl"]),
        "seconds": statistics.median(seconds["ours"]),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "gradient_error": gap(gradients["ours"], gradients["trl"]),
    }
    if "gspo" in seconds:
        costs = [a / b for a, b in zip(seconds["ours"], seconds["gspo"], strict=True)]
        result["over_gspo"] = statistics.median(costs)
    return result | {"trl_gib": peak_gib("trl", case, folder), "gib": peak_gib("ours", case, folder)}


def shown(result: dict[str, Any]) -> str:
    """One line of the table."""
    if not result["gradient_error"] < AGREE:
        return f"{result['name']:24} gradients differ by {result['gradient_error']:.1e}: no speed-up is printed"
    extra = f"  costs {result['over_gspo']:.3f} x gspo" if "over_gspo" in result else ""
    return (
        f"{result['name']:24} {result['trl_seconds']:6.2f} s  {result['seconds']:6.2f} s  {result['ratio']:5.2f} x "
        f"({result['ratio_low']:.2f} to {result['ratio_high']:.2f})  gradient {result['gradient_error']:.0e}  "
        f"memory {result['trl_gib']:.2f} and {result['gib']:.2f} GiB{extra}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", choices=("trl", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="train-step-"))
    if chosen.alone:
        optimise(trainer_of(chosen.alone, CASES[chosen.cases[0]], folder))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
        return
    import torch

    print(f"{torch.get_num_threads()} threads, median of {chosen.rounds} rounds: stock TRL, ours, ratio (its range)")
    results = []
    for name in chosen.cases:
        results.append(measure(CASES[name], chosen.rounds, folder))
        print(shown(results[-1]), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
