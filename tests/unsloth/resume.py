"""Kills a run of Unsloth's patched trainer on a CPU, resumes it, and compares it with one that was left alone.

Each run is forked from a process that has imported Unsloth, so that a kill is a kill. Checkpoints fall on the boundary
of a rollout and inside one.

    python resume.py       one JSON line per scenario and kill: which parts of the outcome differ
"""

import hashlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from patched_trainer import BASE, PROMPTS, import_unsloth, tiny_model, tiny_tokenizer

OPTIONS = {
    **BASE, "max_steps": 8, "save_strategy": "steps", "save_steps": 2, "save_total_limit": 2, "logging_steps": 1,
    "steps_per_generation": 4,
}  # fmt: skip
SCENARIOS = {
    "gspo": {},
    "gspo_token credit": {"importance_sampling_level": "sequence_token", "credit": True},
    "gspo beta accumulation": {"beta": 0.1, "gradient_accumulation_steps": 2, "num_iterations": 2},
    # Held-out problems are measured, the best step is kept; nothing else may differ from "gspo".
    "gspo keep best": {
        "keep_best": True, "eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True,
        "metric_for_best_model": "eval_accuracy", "greater_is_better": True, "save_total_limit": 1,
    },
}  # fmt: skip
KILLS = (5, 7)  # optimizer steps: the checkpoint before is at the boundary of a rollout, and inside one
TIMES = ("runtime", "step_time", "per_second", "/seconds")


def trainer_of(name, folder):
    from datasets import Dataset

    from gspo_lite.recipe.schema import TailCredit
    from gspo_lite.training.config import GSPOConfig
    from gspo_lite.training.trainer import GSPOTrainer

    options = {**OPTIONS, **SCENARIOS[name]}
    credits = [TailCredit(tail=3)] if options.pop("credit", False) else None
    keep_best = options.pop("keep_best", False)
    tokenizer = tiny_tokenizer(False)
    model = tiny_model(tokenizer)
    rows = Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS["mixed"] * 3])  # one rollout an epoch
    return GSPOTrainer(
        model, [different_words], args=GSPOConfig(output_dir=str(folder), **options),
        train_dataset=rows, processing_class=tokenizer, credits=credits,
        eval_dataset=rows if keep_best else None, measure=measure_of(model, tokenizer) if keep_best else None,
    )  # fmt: skip


def measure_of(model, tokenizer):
    """Held-out figures that depend on every weight and draw random numbers; the best are somewhere in the middle."""
    import torch

    from gspo_lite.models.generate import ready_to_generate

    def measure():
        with ready_to_generate(model), torch.no_grad():
            model.generate(**tokenizer("a b", return_tensors="pt"), max_new_tokens=4, do_sample=True)
        total = sum(p.double().abs().sum().item() for p in model.parameters() if p.requires_grad)
        accuracy = total * 1e4 % 1
        ends = [accuracy - 0.01, accuracy + 0.01]
        return {"accuracy": accuracy, "ci95": ends, "format_rate": 1.0, "mean_tokens": 4.0, "n": 1, "rewards": {}}

    return measure


def different_words(completions, **_):
    return [float(len(set(text.split()))) for text in completions]


def in_a_child(name, folder, kill_at=None):
    """Train, going on from what is there; the child kills itself in step `kill_at`."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        os.dup2(2, 1)  # stdout is for results
        trainer = trainer_of(name, folder / "checkpoints")
        training_step = trainer.training_step

        def killing(*args, **kwargs):
            if trainer.state.global_step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return training_step(*args, **kwargs)

        trainer.training_step = killing
        trainer.train(resume_from_checkpoint=any((folder / "checkpoints").glob("checkpoint-*")))
        trainer.save_model(str(folder / "adapter"))
        (folder / "history.json").write_text(json.dumps(trainer.state.log_history))
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def outcome(folder):
    rows = json.loads((folder / "history.json").read_text())
    metrics = [{k: v for k, v in row.items() if not any(k.endswith(t) for t in TIMES)} for row in rows]
    weights = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
    return {"weights": hashlib.sha256(weights).hexdigest(), "metrics": [m for m in metrics if "loss" in m]}


def undisturbed(metrics):
    return [{k: v for k, v in row.items() if not k.startswith("eval_")} for row in metrics]


def best_is_saved(folder, found):
    """Whether the saved adapter is that of the best step, whose checkpoint is there."""
    best = max(found["metrics"], key=lambda row: row["eval_accuracy"])["step"]
    weights = folder / "checkpoints" / f"checkpoint-{best}" / "adapter_model.safetensors"
    return weights.is_file() and hashlib.sha256(weights.read_bytes()).hexdigest() == found["weights"]


def compared(name, home):
    """One result per kill."""
    whole = home / "whole"
    assert in_a_child(name, whole) == 0
    expected = outcome(whole)
    assert len(expected["metrics"]) == OPTIONS["max_steps"], (whole / "history.json").read_text()
    if name == "gspo keep best":
        assert best_is_saved(whole, expected)
        assert in_a_child("gspo", home / "plain") == 0
        assert undisturbed(expected["metrics"]) == outcome(home / "plain")["metrics"]
    for kill_at in KILLS:
        folder = home / str(kill_at)
        killed = in_a_child(name, folder, kill_at)
        resumed = in_a_child(name, folder)
        found = outcome(folder) if resumed == 0 else {}
        differ = [part for part in expected if expected[part] != found.get(part)]
        saved = sorted(path.name for path in (folder / "checkpoints").glob("checkpoint-*"))
        yield {
            "scenario": name,
            "kill": kill_at,
            "killed": killed,
            "resumed": resumed,
            "differ": differ,
            "saved": saved,
        }


if __name__ == "__main__":
    import_unsloth()
    from gspo_lite.training.trainer import UNSLOTH

    assert UNSLOTH is not None, "the live trainer is not Unsloth's"
    for scenario in sys.argv[1:] or SCENARIOS:
        with tempfile.TemporaryDirectory() as home:
            for result in compared(scenario, Path(home)):
                print(json.dumps(result), flush=True)
