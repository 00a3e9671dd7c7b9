"""A whole run through real vLLM beside TRL on a CPU; after every sync vLLM's log-probs are laid beside the trainer's.

A process of its own, in the environment that setup.sh makes.

    python colocate.py ALGORITHM [OVERRIDE ...]      one JSON line

`stale` in place of an override skips every sync but the first; `bfloat16` lets vLLM choose its type, which it does
without a word, and the gap shows it; `pad=eos` takes a starter whose padding token is its end token.
"""

import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

os.environ.update(
    VLLM_CPU_KVCACHE_SPACE="1", VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_NO_USAGE_STATS="1", HF_HUB_OFFLINE="1",
    MASTER_ADDR="127.0.0.1", TOKENIZERS_PARALLELISM="false", VLLM_LOGGING_LEVEL="ERROR",
)  # fmt: skip
with socket.socket() as one_of_its_own:  # two tests may run at once
    one_of_its_own.bind(("127.0.0.1", 0))
    os.environ.setdefault("MASTER_PORT", str(one_of_its_own.getsockname()[1]))

# Text that stands for no question of the data, so that only the weights decide about it.
FIXED = list(range(5, 45)) + list(range(44, 4, -1))


def keep_weights_loadable():
    """Leave vLLM's linear weights where they are: packed for a CPU they cannot be loaded a second time."""
    import torch
    import vllm.model_executor.layers.utils as layers

    def plain(layer, remove_weight):
        layer.cpu_linear = torch.nn.functional.linear

    layers.dispatch_cpu_unquantized_gemm = plain
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("vllm.") and hasattr(module, "dispatch_cpu_unquantized_gemm"):
            module.dispatch_cpu_unquantized_gemm = plain


def in_float32():
    """TRL names no type, and vLLM's own choice for float32 weights is bfloat16."""
    import trl.generation.vllm_generation as generation

    right = generation.LLM
    generation.LLM = lambda *args, **kwargs: right(*args, **{**kwargs, "dtype": "float32", "enforce_eager": True})


def trainer_logps(trainer):
    import torch

    ids = torch.tensor([FIXED])
    model, training = trainer.model, trainer.model.training
    model.eval()
    with torch.no_grad():
        logps = model(input_ids=ids).logits.float().log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None]).squeeze(1)
    model.train(training)
    return logps


def vllm_logps(trainer):
    import torch
    from vllm import SamplingParams

    wanted = SamplingParams(max_tokens=1, prompt_logprobs=0, temperature=1.0)
    found = trainer.vllm_generation.llm.generate({"prompt_token_ids": FIXED}, wanted, use_tqdm=False)[0]
    return torch.tensor([found.prompt_logprobs[i][token].logprob for i, token in enumerate(FIXED) if i])


def watch(trainer, seen, stale):
    """Measure the gap on the fixed text after every sync, and keep the samples' log-probs of every rollout."""
    trainer.row_rules = None  # old log-probs and weights of every row, as TRL has them; test_train_step.py has ours
    sync, generate = trainer.vllm_generation.sync_weights, trainer._generate_and_score_completions

    def synced():
        if not (stale and seen["gaps"]):
            sync()
        ours = trainer_logps(trainer)
        seen["gaps"].append(float((vllm_logps(trainer) - ours).std()))
        seen["trainer"].append(ours)

    def generated(inputs):
        output = generate(inputs)
        seen["sizes"].append([len(inputs), trainer.vllm_generation.max_num_seqs, len(output["completion_ids"])])
        if output.get("sampling_per_token_logps") is not None:
            mask = output["completion_mask"].bool()
            ratio = (output["old_per_token_logps"] - output["sampling_per_token_logps"]).nan_to_num()
            seen["log_ratios"] += [row[keep].tolist() for row, keep in zip(ratio, mask, strict=True)]
            weights = output["importance_sampling_ratio"].expand_as(mask)
            seen["weights"] += [row[keep].mean().item() for row, keep in zip(weights, mask, strict=True)]
        mask = output["completion_mask"].bool()
        rows = [ids[keep].tolist() for ids, keep in zip(output["completion_ids"], mask, strict=True)]
        pad, end = trainer.processing_class.pad_token_id, trainer.processing_class.eos_token_id
        seen["pads"] += sum(pad in row[:-1] for row in rows)
        seen["ended"] += sum(row[-1] == end for row in rows)
        return output

    trainer.vllm_generation.sync_weights = synced
    trainer._generate_and_score_completions = generated


def starter_padded_with_its_end():
    """A copy of the starter that has one token for both, as many models do."""
    from gspo_lite.models.starter import starter_folder

    folder = Path(tempfile.mkdtemp()) / "starter"
    shutil.copytree(starter_folder(), folder)
    settings = folder / "tokenizer_config.json"
    told = json.loads(settings.read_text())
    settings.write_text(json.dumps({**told, "pad_token": told["eos_token"]}))
    return folder


def run(algorithm, overrides):
    from gspo_lite.checked_recipe import load_recipe
    from gspo_lite.run import run as train
    from gspo_lite.training import build

    seen = {"gaps": [], "trainer": [], "log_ratios": [], "weights": [], "pads": 0, "ended": 0, "sizes": []}
    stale = "stale" in overrides
    settings = [one for one in overrides if "=" in one and one != "pad=eos"]
    if "pad=eos" in overrides:
        settings.append(f"model.name={starter_padded_with_its_end()}")
    right = build.build_trainer

    def built(*args, **kwargs):
        trainer = right(*args, **kwargs)
        seen["correction"] = trainer.args.correction
        watch(trainer, seen, stale)
        return trainer

    build.build_trainer = built
    folder = Path(tempfile.mkdtemp()) / "run"
    quick = [
        "generation.engine=vllm", "model.load_in_4bit=false", f"objective.algorithm={algorithm}", "data.limit=64",
        "data.eval.limit=8", "training.per_device_train_batch_size=8", "training.max_steps=8",
        "model.gpu_memory_utilization=0.2", "training.learning_rate=0.01",
    ]  # fmt: skip
    train(load_recipe("quickstart", [*quick, *settings], output=str(folder), allow_outside=True).recipe)
    drift = [float((one - seen["trainer"][0]).std()) for one in seen["trainer"]]
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    engine = json.loads((folder / "environment.json").read_text())["engine"]
    return {
        "gaps": seen["gaps"], "drift": drift, "steps": len(steps), "engine": engine, "correction": seen["correction"],
        "log_ratios": seen["log_ratios"], "weights": seen["weights"], "pads": seen["pads"], "ended": seen["ended"],
        "sizes": seen["sizes"],
    }  # fmt: skip


if __name__ == "__main__":
    keep_weights_loadable()
    if "bfloat16" not in sys.argv:
        in_float32()
    print("RESULT " + json.dumps(run(sys.argv[1], sys.argv[2:])), flush=True)
