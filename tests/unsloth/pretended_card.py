"""Unsloth's fast ways on a pretended card: FastLanguageModel, packed rows and shared prompts, in a process of its own.

"cuda" means the CPU here and Triton kernels run in Triton's interpreter, so everything is tiny. Only the kernel for
shared prompts is another: FlexAttention has no backward pass on a CPU, and a dense mask stands in for it.

    python pretended_card.py SCENARIO      one JSON line

`grouped` trains as it comes; `credit` by GSPO-token, where gradients of an advantage for every token are compared;
`noisy` lets the stand-in round old and new log-probs apart.
"""

import contextlib
import copy
import json
import os
import sys
import tempfile
import threading
import types
from pathlib import Path

os.environ.update(
    TRITON_INTERPRET="1", TORCHDYNAMO_DISABLE="1", UNSLOTH_COMPILE_DISABLE="1", UNSLOTH_DISABLE_STATISTICS="1",
    UNSLOTH_COMPILE_LOCATION=tempfile.mkdtemp(prefix="unsloth-"), HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false",
)  # fmt: skip

import torch
from torch.overrides import TorchFunctionMode

ROOT = Path(__file__).resolve().parents[2]
REAL, CPU = torch.device, torch.device("cpu")
CARD = dict(  # noqa: C408
    name="a pretended card", total_memory=85 * 10**9, major=9, minor=0, multi_processor_count=132, warp_size=32,
    max_threads_per_multi_processor=2048, regs_per_multiprocessor=65536, shared_memory_per_block=49152,
    shared_memory_per_block_optin=232448, shared_memory_per_multiprocessor=233472, L2_cache_size=52428800,
    gcnArchName="", uuid="0", is_integrated=False, is_multi_gpu_board=False,
)  # fmt: skip


def on_cpu(value):
    """The CPU for a device that is a card; anything else unchanged."""
    if isinstance(value, REAL):
        return CPU if value.type == "cuda" else value
    return "cpu" if isinstance(value, str) and value.split(":")[0] == "cuda" else value


class OnCPU(TorchFunctionMode):
    """Sends every call for a card to the CPU."""

    def __torch_function__(self, function, kinds, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is REAL:
            return function(*args, **kwargs)
        if isinstance(kwargs.get("device"), int):
            kwargs["device"] = CPU
        kwargs = {name: on_cpu(value) for name, value in kwargs.items() if name != "pin_memory"}
        if function is torch.Tensor.to and len(args) > 1 and type(args[1]) is int:
            args = (args[0], CPU, *args[2:])
        return function(*(on_cpu(one) for one in args), **kwargs)


class Stream:
    """One that has nothing to wait for, also as an event."""

    cuda_stream, device = 0, CPU

    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name):
        return lambda *args, **kwargs: self


class Chosen(contextlib.nullcontext):
    """The choice of a card."""

    idx = prev_idx = 0

    def __init__(self, device=None):
        super().__init__()


def pretend():
    """Let this process believe in one card."""
    cuda, card = torch.cuda, types.SimpleNamespace(**CARD)
    values = {
        "is_available": True, "device_count": 1, "current_device": 0, "is_initialized": True, "is_bf16_supported": True,
        "get_device_name": CARD["name"], "get_device_capability": (9, 0), "get_device_properties": card,
        "mem_get_info": (80 * 10**9, 85 * 10**9), "get_arch_list": ["sm_90"], "memory_stats": {},
        "is_current_stream_capturing": False, "get_rng_state": torch.zeros(16, dtype=torch.uint8),
        **dict.fromkeys(("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"), 0),
        **dict.fromkeys(
            ("init", "_lazy_init", "set_device", "synchronize", "empty_cache", "ipc_collect", "manual_seed",
             "manual_seed_all", "seed", "set_rng_state", "reset_peak_memory_stats", "set_per_process_memory_fraction")
        ),
    }  # fmt: skip
    for name, value in values.items():
        setattr(cuda, name, lambda *args, value=value, **kwargs: value)
    cuda.random.get_rng_state, cuda.random.set_rng_state = cuda.get_rng_state, cuda.set_rng_state
    cuda.random.manual_seed = cuda.random.manual_seed_all = cuda.manual_seed
    cuda.memory.mem_get_info = cuda.mem_get_info
    cuda.device = cuda.device_of = Chosen
    cuda.Stream = cuda.Event = Stream
    cuda.current_stream = cuda.default_stream = Stream
    cuda.stream = lambda stream: contextlib.nullcontext()
    torch._C._cuda_getCurrentRawStream = torch._C._cuda_getDevice = lambda *args: 0
    torch._C._cuda_getDeviceCount = lambda: 1
    torch._C._cuda_setDevice = torch._C._cuda_exchangeDevice = lambda *args: 0
    torch.accelerator.is_available, torch.accelerator.device_count = (lambda: True), (lambda: 1)
    torch.accelerator.current_accelerator = lambda *args, **kwargs: REAL("cuda")
    torch.accelerator.current_device_index, torch.accelerator.synchronize = (lambda: 0), (lambda *args: None)
    torch.nn.Module.cuda = torch.Tensor.cuda = lambda self, *args, **kwargs: self
    for owner, name in ((torch, "is_autocast_enabled"), (torch, "get_autocast_dtype"), (torch, "set_autocast_dtype"),
                        (torch, "set_autocast_enabled"), (torch.autocast, "__init__")):  # fmt: skip
        right = getattr(owner, name)
        setattr(owner, name, lambda *args, right=right, **kwargs: right(*map(on_cpu, args), **kwargs))
    fork = torch.random.fork_rng
    torch.random.fork_rng = lambda *args, **kwargs: fork([])
    begin = threading.Thread.run

    def run(thread):
        with OnCPU():
            begin(thread)

    threading.Thread.run = run
    OnCPU().__enter__()


def dense_attention(calls, apart):
    """What FlexAttention computes for shared prompts, with a dense mask; `apart` is added where no gradient is kept."""

    def attend(query, key, value, places, scale=None, **_):
        group, prompt, own = (of[: places.T] for of in (places.group_of_kv, places.is_prefix, places.suffix_of_kv))
        column = torch.arange(places.T)
        seen = (group[:, None] == group) & (column <= column[:, None])
        seen &= prompt | ((own[:, None] == own) & ~prompt[:, None])
        states = (one.transpose(1, 2) for one in (query, key, value))
        wide = query.shape[2] != key.shape[2]
        found = torch.nn.functional.scaled_dot_product_attention(*states, seen, scale=scale, enable_gqa=wide)
        calls.append(torch.is_grad_enabled())
        return found.transpose(1, 2).contiguous() + (0.0 if torch.is_grad_enabled() else apart)

    return attend


def reward(prompts, completions, **columns):
    """Nothing to tell apart for one of the two prompts."""
    return [0.0 if "x" in prompt else float(place) for place, prompt in enumerate(prompts)]


def tiny_trainer(**objective):
    from unsloth import FastLanguageModel

    from gspo_lite.training.config import GSPOConfig
    from gspo_lite.training.trainer import GSPOTrainer
    from tests.gpu import random_models

    random_models.TINY["num_hidden_layers"] = 1
    folder = random_models.write_random_model("tiny", Path(tempfile.mkdtemp()) / "model")
    kind = {"max_seq_length": 512, "load_in_4bit": False, "dtype": torch.float32}
    model, tokenizer = FastLanguageModel.from_pretrained(str(folder), **kind)
    model = FastLanguageModel.get_peft_model(
        model, r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "up_proj"], use_gradient_checkpointing=False
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model._unsloth_user_float32 = True
    args = GSPOConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=4, num_generations=2, max_completion_length=4,
        max_steps=3, steps_per_generation=2, learning_rate=1e-2, bf16=False, fp16=False, report_to="none",
        save_strategy="no", disable_tqdm=True, gradient_checkpointing=False, logging_steps=1, seed=0, optim="sgd",
        **objective,
    )  # fmt: skip
    rows = [{"prompt": "abc def gh" + "x" * (place % 2)} for place in range(8)]
    trainer = GSPOTrainer(model, [reward], args, rows, processing_class=tokenizer)
    trainer._autocast_enabled, trainer._autocast_dtype = False, None  # Unsloth would turn bfloat16 on
    return trainer


def gradient(trainer, batch):
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    gauges, trainer.gauges = trainer.gauges, copy.deepcopy(trainer.gauges)  # a probe is no step of the run
    loss = trainer._heard_loss(trainer.model, batch)[0]
    trainer.gauges = gauges
    return torch.cat([one.flatten() for one in torch.autograd.grad(loss, trained)])


def gap(one, other):
    return float((one - other).norm() / other.norm())


def by_every_way(trainer, batch):
    """Relative gaps of a micro-batch's gradient between shared prompts, packed rows and padded ones."""
    from gspo_lite.training.loss.unsloth_kernels import switches

    found = {"shared": gradient(trainer, batch)}
    ways = switches(trainer.accelerator.unwrap_model(trainer.model))
    for name, switch in ways:
        switch(False)
        found[f"without {name}"] = gradient(trainer, batch)
    for _, switch in ways:
        switch(True)
    plain = found["without packing of rows"]
    return {name: gap(one, plain) for name, one in found.items()}


def with_credit(trainer, batch):
    """The micro-batch with an advantage for every token, off-policy, where ratios of tokens and of sequences differ."""
    from gspo_lite.training.loss.rows import OLD

    torch.manual_seed(0)
    old = trainer._old_logps(batch)
    drawn = torch.randn(batch["completion_ids"].shape)
    return {**batch, OLD: old + 0.05 * torch.randn_like(old), "advantages": drawn}


def against_levels(trainer, batch):
    """Relative gaps of GSPO-token with the same advantage for all tokens of a row to the other levels."""
    of_rows = batch["advantages"][:, 0]
    own = gradient(trainer, {**batch, "advantages": of_rows[:, None].expand_as(batch["advantages"]).contiguous()})
    found = {}
    for level in ("sequence", "token"):
        trainer.importance_sampling_level = level
        found[level] = gap(own, gradient(trainer, {**batch, "advantages": of_rows}))
    trainer.importance_sampling_level = trainer.args.importance_sampling_level
    return found


def begin(apart=0.0):
    """Import Unsloth as if there were a card; return the list that grows by each call of shared attention."""
    pretend()
    import torch.nn.attention.flex_attention as flex

    flex._validate_device = lambda *args: None
    import unsloth  # noqa: F401
    import unsloth.utils.attention_dispatch as dispatch
    import unsloth.utils.prefix_grouper_kernel as kernel

    calls = []
    kernel.flex_shared_prefix_attention = dispatch._flex_shared_prefix_attention = dense_attention(calls, apart)
    return calls


def run(scenario, calls):
    from gspo_lite.training.loss import unsloth_rows

    passes, said, gaps, levels = [], [], {}, {}
    unsloth_rows.say = said.append
    credit = {"importance_sampling_level": "sequence_token", "epsilon": 0.2, "epsilon_high": 0.2}
    trainer = tiny_trainer(**(credit if scenario == "credit" else {}))
    hear, old = trainer._hear, trainer._old_logps

    def watched(kind, function):
        def watch(*args, **options):
            before = len(calls)
            found = function(*args, **options)
            passes.append([kind, len(args[-1]["completion_ids"]), len(calls) - before])
            return found

        return watch

    trainer._hear, trainer._old_logps = watched("new", hear), watched("old", old)
    exact = trainer._with_old_logps

    def with_gaps(batches):
        if not gaps and scenario != "noisy":
            batch = {name: value for name, value in batches[0].items() if name != unsloth_rows.OLD}
            if scenario == "credit":
                batch = with_credit(trainer, batch)
                levels.update(against_levels(trainer, batch))
            gaps.update(by_every_way(trainer, batch))
        passes.clear()
        return exact(batches)

    trainer._with_old_logps = with_gaps
    trainer.train()
    floor = trainer.state.log_history[0].get("gspo/noise_floor")
    return {"passes": passes, "said": said, "gaps": gaps, "levels": levels, "floor": floor}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    found = run(sys.argv[1], begin(0.05 if sys.argv[1] == "noisy" else 0.0))
    print(json.dumps({"scenario": sys.argv[1], **found}), flush=True)
