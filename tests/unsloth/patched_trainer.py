"""Runs Unsloth's real patched trainer, in a process of its own, beside a float64 twin at every micro-step.

Importing Unsloth this way makes the process believe in CUDA, so nothing else may be tested in it. The twin shares
nothing with Unsloth's path but the sampled tokens: it is a float64 copy of the model that is fed unpacked rows, with
old log-probs from a copy taken when the rollout was sampled and the loss of `gspo_lite.objective`, or `other_loss`.

    python patched_trainer.py [--cuda] SCENARIO [SCENARIO ...]      one JSON line a scenario

On a CPU unless `--cuda` is given.
"""

import copy
import json
import os
import sys
import tempfile
from pathlib import Path

SETTINGS = {
    "UNSLOTH_ALLOW_CPU": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "UNSLOTH_COMPILE_LOCATION": tempfile.mkdtemp(prefix="unsloth-"),
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "UNSLOTH_COMPILE_DISABLE": "1",
    # One stream for several rows needs attention kernels that keep them apart. Unsloth tries it and compares, with a
    # tolerance that a model as tiny as this one can stay under while its rows look at each other.
    "UNSLOTH_GRPO_SEQ_PACKING": "0",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

# What each scenario sets on top of BASE; `credit` gives every token an advantage of its own, `idle` leaves half of the
# groups without a variance of rewards, whose rows Unsloth then never sees, `tools` takes some tokens for a tool's,
# `turns` pays each of the turns between them, and `episodes` plays TRL's own loop with a tool.
SCENARIOS = {
    "gspo": {},
    "gspo padded": {"prompts": "equal"},
    "gspo_token": {"importance_sampling_level": "sequence_token"},
    "gspo_token credit": {"importance_sampling_level": "sequence_token", "credit": True},
    "gspo_token credit padded": {"importance_sampling_level": "sequence_token", "credit": True, "prompts": "equal"},
    "gspo_token credit beta": {"importance_sampling_level": "sequence_token", "credit": True, "beta": 0.1},
    "gspo_token credit accumulation": {
        "importance_sampling_level": "sequence_token", "credit": True,
        "gradient_accumulation_steps": 2, "steps_per_generation": 4,
    },
    "gspo_token credit two iterations": {
        "importance_sampling_level": "sequence_token", "credit": True, "num_iterations": 2, "max_steps": 8,
    },
    "gspo_token credit pad is eos": {
        "importance_sampling_level": "sequence_token", "credit": True, "pad_is_eos": True,
    },
    "gspo_token credit dapo": {"importance_sampling_level": "sequence_token", "credit": True, "loss_type": "dapo"},
    "gspo_token credit bnpo": {"importance_sampling_level": "sequence_token", "credit": True, "loss_type": "bnpo"},
    "gspo_token credit dr_grpo": {
        "importance_sampling_level": "sequence_token", "credit": True, "loss_type": "dr_grpo", "scale_rewards": "none",
    },
    "gspo_token credit on-policy": {  # no log-probs from before, so that each micro-batch has a width of its own
        "importance_sampling_level": "sequence_token", "credit": True,
        "gradient_accumulation_steps": 2, "steps_per_generation": 2,
    },
    "cispo": {
        "importance_sampling_level": "token", "loss_type": "cispo", "epsilon": 0.2, "epsilon_high": 1.05,
        "gradient_accumulation_steps": 2, "steps_per_generation": 4,
    },
    "cispo of sequences": {"loss_type": "cispo", "epsilon_high": 1.01},
    "cispo credit": {
        "importance_sampling_level": "sequence_token", "credit": True, "loss_type": "cispo", "epsilon_high": 1.01,
    },
    "sapo": {
        "importance_sampling_level": "token", "loss_type": "sapo", "gradient_accumulation_steps": 2,
        "steps_per_generation": 4,
    },
    "sapo credit": {"importance_sampling_level": "sequence_token", "credit": True, "loss_type": "sapo"},
    "vespo": {
        "importance_sampling_level": "token", "loss_type": "vespo", "gradient_accumulation_steps": 2,
        "steps_per_generation": 4,
    },
    "cispo idle rows": {"idle": True, "importance_sampling_level": "token", "loss_type": "cispo", "epsilon_high": 1.05},
    "sapo idle rows": {"idle": True, "importance_sampling_level": "token", "loss_type": "sapo"},
    "vespo idle rows": {"idle": True, "importance_sampling_level": "token", "loss_type": "vespo"},
    "gspo idle rows luspo": {"idle": True, "loss_type": "luspo"},
    "gspo idle rows": {"idle": True},
    "gspo idle rows padded": {"idle": True, "prompts": "equal"},
    "gspo idle rows accumulation": {"idle": True, "gradient_accumulation_steps": 2, "steps_per_generation": 4},
    "gspo idle rows dapo": {"idle": True, "loss_type": "dapo"},
    "gspo idle rows bnpo": {"idle": True, "loss_type": "bnpo"},
    "gspo_token credit idle rows": {"importance_sampling_level": "sequence_token", "credit": True, "idle": True},
    "gspo_token credit idle rows on-policy": {
        "importance_sampling_level": "sequence_token", "credit": True, "idle": True,
        "gradient_accumulation_steps": 2, "steps_per_generation": 2,
    },
    "gspo tools": {"tools": True},
    "gspo_token credit tools": {"importance_sampling_level": "sequence_token", "credit": True, "tools": True},
    "gspo_token turns": {"importance_sampling_level": "sequence_token", "tools": True, "turns": True},
    "gspo_token turns padded": {
        "importance_sampling_level": "sequence_token", "tools": True, "turns": True, "prompts": "equal",
    },
    "gspo tools idle rows": {"tools": True, "idle": True},
    "gspo_token episodes": {
        "importance_sampling_level": "sequence_token", "episodes": True, "max_completion_length": 260,
    },
    "gspo episodes": {"episodes": True, "max_completion_length": 260},
    "control: a tool's tokens in the mean": {"tools": True, "control": "tool mask"},
    "control: turns shifted by one": {
        "importance_sampling_level": "sequence_token", "tools": True, "turns": True, "control": "turns",
    },
    # With steps this large every row is clipped in some micro-batches, which then are not followed back.
    "gspo idle rows all clipped": {"idle": True, "learning_rate": 0.1, "max_steps": 8},
    "gspo_token idle rows all clipped": {
        "importance_sampling_level": "sequence_token", "idle": True, "learning_rate": 0.1, "max_steps": 8,
    },
    "control: advantages not aligned": {
        "importance_sampling_level": "sequence_token", "credit": True, "control": "alignment",
    },
    "control: no stop-gradient": {
        "importance_sampling_level": "sequence_token", "credit": True, "control": "stop-gradient",
    },
}  # fmt: skip
BASE = {
    "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 12, "max_steps": 4,
    "learning_rate": 1e-2, "use_cpu": True, "bf16": False, "fp16": False, "report_to": "none", "save_strategy": "no",
    "disable_tqdm": True, "gradient_checkpointing": False, "logging_steps": 1000, "seed": 0,
}  # fmt: skip
HOOKS = "hooks"  # the scenario that takes away, one by one, what the table of hooks names
CHATS = "chats"  # the scenario that asks one prompt of every family of chat models
PROMPTS = {"mixed": ["a", "b c d e f", "g h", "i j k l m n o p"], "equal": ["a b", "c d", "e f", "g h"]}


def import_unsloth(cuda=False):
    """Import Unsloth, on a CPU as on a GPU machine, and put its trainer in place of TRL's."""
    pretended = ("UNSLOTH_ALLOW_CPU", "CUDA_VISIBLE_DEVICES")
    os.environ.update({name: value for name, value in SETTINGS.items() if not (cuda and name in pretended)})
    import unsloth  # noqa: F401

    if cuda:
        import torch

        torch.set_float32_matmul_precision("highest")  # no TF32 beside a float64 twin
        BASE["use_cpu"] = False
        return
    os.environ["UNSLOTH_ALLOW_CPU"] = "0"
    from unsloth.models.rl import _patch_trl_rl_trainers_impl

    _patch_trl_rl_trainers_impl("grpo_trainer")


def own_tokens(count):
    """Which of so many tokens the model is said to have written: runs of two, three and more between a tool's two."""
    return [int(place % 5 not in (2, 3) or place == count - 1) for place in range(count)]


def turn_values(text, ids):
    """A value for each turn of a completion, one of them unsaid in some."""
    own = own_tokens(len(ids))
    count = sum(mine and not before for mine, before in zip(own, [0, *own], strict=False))
    return [None if (turn + len(text)) % 4 == 3 else ((turn + len(text)) % 3) / 2 for turn in range(count)]


def turn_advantages_by_hand(outcomes, values, counts, size):
    """A_it for a group after another: the outcome's advantage, and each turn's among all turns of its group."""
    import statistics

    rows = []
    for first in range(0, len(outcomes), size):
        group = range(first, first + size)
        mean, spread = statistics.mean(outcomes[first : first + size]), statistics.stdev(outcomes[first : first + size])
        said = [value for row in group for value in values[row] if value is not None]
        centre, width = statistics.mean(said), statistics.stdev(said)
        for row in group:
            outcome, turn, before, found = (outcomes[row] - mean) / (spread + 1e-4), -1, 0, []
            for mine in own_tokens(counts[row]):
                turn += mine and not before
                value = values[row][turn] if mine else None
                found.append(outcome + (0 if value is None else (value - centre) / (width + 1e-4)))
                before = mine
            rows.append(found)
    return rows


EPISODE = (
    "{% for m in messages %}{{ '<|im_start|>' if m['role'] == 'assistant' else m['role'] }}{{ m['content'] }}"
    "{% for call in m['tool_calls'] or [] %}[{{ call['function'] | tojson }}]{% endfor %}"
    "{% if m['role'] == 'assistant' %}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)


def look_up(word: str) -> str:
    """Look a word up.

    Args:
        word: the word
    """
    return f"{word} is {len(word)}"


def spoken(tokenizer):
    """A model that says letters and looks them up, in one to three turns."""
    import torch

    def turn(prompt_ids, *_, **__):
        found = []
        for ids in prompt_ids:
            said = "".join(chr(97 + letter) for letter in torch.randint(0, 26, (int(torch.randint(1, 9, ())),)))
            goes_on = tokenizer.decode(ids).count("<|im_start|>") < 3 and torch.rand(()) < 0.7
            call = f'[{{"name": "look_up", "arguments": {{"word": "{said}"}}}}]' if goes_on else ""
            found.append(tokenizer.encode(f"{said}{call}<|im_end|>", add_special_tokens=False))
        return found, None

    return turn


def tiny_tokenizer(pad_is_eos):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    pad = "<eos>" if pad_is_eos else "<pad>"
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token=pad, unk_token="<unk>")


def tiny_model(tokenizer):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).float()
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zero at first, which would leave lora_A without a gradient
            torch.nn.init.normal_(parameter, std=0.05)
    model.for_training = lambda *a, **k: model.train()
    model.for_inference = lambda *a, **k: model.eval()
    model._unsloth_user_float32 = True
    return model if BASE["use_cpu"] else model.cuda()


def turn_counts(inputs):
    """How many turns each row of a micro-batch has."""
    own = inputs["tool_mask"] * inputs["completion_mask"]
    return ((own[:, 1:] > own[:, :-1]).sum(1) + own[:, 0]).tolist()


def twin_logps(model, inputs):
    """Log-probs (B, T) of the completions by a float64 model on rows without Unsloth's packing."""
    import torch

    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    width = inputs["completion_ids"].shape[1]
    logits = model(input_ids=ids, attention_mask=attention, position_ids=positions, use_cache=False).logits
    logps = logits[:, -width - 1 : -1].log_softmax(-1)
    return logps.gather(2, inputs["completion_ids"].unsqueeze(2)).squeeze(2)


def other_loss(args, new, old, mask, advantages, items):
    """The losses that `gspo_lite.objective` does not define, by their papers and with TRL's way to count tokens.

    `cispo` arXiv 2506.13585, `sapo` 2511.20347, `vespo` 2602.10693.
    """
    import torch

    advantages = advantages if advantages.dim() == 2 else advantages.unsqueeze(1)
    moved = torch.where(mask.bool(), new - old, 0.0)
    log_ratio = moved if args.importance_sampling_level == "token" else moved.sum(1, True) / mask.sum(1, True)
    if args.importance_sampling_level == "sequence_token":
        log_ratio = log_ratio.detach() + moved - moved.detach()
    ratio, positive = log_ratio.exp(), advantages > 0
    if args.loss_type == "sapo":  # a soft gate, mean over sequences
        heat = torch.where(positive, args.sapo_temperature_pos, args.sapo_temperature_neg).double()
        loss = -4 / heat * torch.sigmoid(heat * (ratio - 1)) * advantages * mask
        return (loss.sum(1) / mask.sum(1)).mean() / args.gradient_accumulation_steps
    if args.loss_type == "cispo":  # the ratio as a weight, capped
        weight = ratio.clamp(max=args.epsilon_high).detach()
    else:  # vespo: a weight of the whole sequence, w^k e^(lambda (1 - w))
        positive = advantages >= 0
        power = torch.where(positive, args.vespo_k_pos, args.vespo_k_neg).double()
        rate = torch.where(positive, args.vespo_lambda_pos, args.vespo_lambda_neg).double()
        weight = moved.sum(1, True).exp().detach()
        weight = weight**power * (rate * (1 - weight)).exp()
    return -(weight * advantages * torch.where(mask.bool(), new, 0.0)).sum() / items


def checked_trainer(trainer_class):
    import torch

    from gspo_lite.objective import LOSS_TYPES, gspo_loss

    class Checked(trainer_class):
        credit = tools_taken = turns = forgets_tools = False
        advantage_gap = 0.0  # of the turns, from numbers by hand
        gaps: list
        begun: object  # the model as it was before training, which a KL penalty refers to
        seen: list  # rows of each micro-batch that Unsloth was given
        passes: list  # backward passes through the model

        def _heard_loss(self, model, inputs, *args, **kwargs):
            self.seen.append(len(inputs["completion_ids"]))
            return super()._heard_loss(model, inputs, *args, **kwargs)

        def _generate(self, *args, **kwargs):
            ids, completions, *rest = (output := super()._generate(*args, **kwargs))
            return (
                (ids, completions, [own_tokens(len(row)) for row in completions], *rest[1:])
                if self.tools_taken
                else output
            )

        def check_turns(self, output):
            lengths = output["completion_mask"].sum(1).tolist()
            values = [turn_values(row["completion"], range(n)) for row, n in zip(self.rollout, lengths, strict=True)]
            outcomes = [row["rewards"]["reward"] for row in self.rollout]
            wanted = turn_advantages_by_hand(outcomes, values, lengths, self.num_generations)
            for row, (found, mask) in enumerate(zip(output["advantages"], output["tool_mask"].bool(), strict=True)):
                by_hand = torch.tensor(wanted[row]).to(found)[mask[: lengths[row]]]
                gap = (found[: lengths[row]][mask[: lengths[row]]] - by_hand).abs().max()
                self.advantage_gap = max(self.advantage_gap, float(gap))

        def twin(self, model=None):
            model = copy.deepcopy(model or self.model)
            for module in model.modules():  # bound to the original, whichever copy they hang on
                for name in ("for_training", "for_inference", "forward", "generate"):
                    vars(module).pop(name, None)
            return model.double()

        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            if self.credit:
                draw = torch.Generator().manual_seed(self.state.global_step)
                idle = output["advantages"].unsqueeze(1) == 0 if self.row_rules is not None else False
                spread = torch.randn(output["completion_ids"].shape, generator=draw).to(self.model.device)
                output["advantages"] = torch.where(torch.as_tensor(idle, device=spread.device), 0.0, spread)
            if self.turns:
                self.check_turns(output)
            with torch.no_grad():
                output["twin_old"] = twin_logps(self.twin(), output)
                if self.beta:
                    output["twin_ref"] = twin_logps(self.twin(self.begun), output)
            return output

        def compute_loss(self, model, inputs, **kwargs):
            forgotten = {"tool_mask": torch.ones_like(inputs["tool_mask"])} if self.forgets_tools else {}
            loss = super().compute_loss(model, {**inputs, **forgotten}, **kwargs)
            trained = [p for p in model.parameters() if p.requires_grad]
            before = len(self.passes)
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, trained, retain_graph=True)])
            followed = len(self.passes) > before
            twin = self.twin()
            args = self.args
            mask = inputs["completion_mask"] * (inputs["completion_ids"] != self.processing_class.pad_token_id)
            mask = mask * inputs.get("tool_mask", 1)
            sampled = (twin_logps(twin, inputs), inputs["twin_old"], mask, inputs["advantages"].double())
            if args.loss_type in LOSS_TYPES:
                expected = gspo_loss(
                    *sampled,
                    level=args.importance_sampling_level,
                    loss_type=args.loss_type,
                    epsilon=args.epsilon,
                    epsilon_high=args.epsilon_high,
                    beta=self.beta,
                    ref_per_token_logps=inputs.get("twin_ref"),
                    max_completion_length=args.max_completion_length,
                    num_items_in_batch=self.items(inputs),
                    gradient_accumulation_steps=args.gradient_accumulation_steps,
                ).loss
            else:
                expected = other_loss(args, *sampled, self.items(inputs))
            wanted = [p for p in twin.parameters() if p.requires_grad]
            twin_gradient = torch.cat([g.flatten() for g in torch.autograd.grad(expected, wanted)])
            ratio = float((twin_logps(twin, inputs).detach() - inputs["twin_old"])[mask.bool()].abs().max())
            value = float(expected.detach())
            self.gaps.append(
                {
                    "loss": abs(float(loss.detach()) - value) / max(1.0, abs(value)),
                    "gradient": float((gradient.double() - twin_gradient).norm() / twin_gradient.norm().clamp(1e-12)),
                    "idle": int((inputs["advantages"] == 0).reshape(len(mask), -1).all(1).sum()),
                    "seen": self.seen.pop() if self.seen else 0,
                    "largest_log_ratio": ratio,
                    "turns": self.advantage_gap,
                    "played": sorted(set(turn_counts(inputs))) if "tool_mask" in inputs else [],
                    "left_padding": int((inputs["prompt_mask"] == 0).sum()),
                    "zero": not bool(twin_gradient.any()),
                    "followed": followed,
                }
            )
            return loss

        def items(self, inputs):
            """Tokens in one accumulation window, which dapo divides by."""
            whole = inputs["num_items_in_batch"]
            return whole * self.args.gradient_accumulation_steps / self.args.steps_per_generation

    return Checked


def run(name):
    import torch
    from datasets import Dataset

    from gspo_lite.credit import Turns
    from gspo_lite.training.config import GSPOConfig
    from gspo_lite.training.loss import unsloth as hook
    from gspo_lite.training.trainer import UNSLOTH, GSPOTrainer

    options = {**BASE, **SCENARIOS[name]}
    credit, control, idle, tools, turns, episodes = (
        options.pop(name, False) for name in ("credit", "control", "idle", "tools", "turns", "episodes")
    )
    pad_is_eos, prompts = options.pop("pad_is_eos", False), options.pop("prompts", "mixed")
    tokenizer, asked = tiny_tokenizer(pad_is_eos), PROMPTS[prompts]
    if episodes:
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
        from tests.training.playing import read_between
        from tests.training.trl_behaviours.parts import bytes_tokenizer

        tokenizer, asked = bytes_tokenizer(), [[{"role": "user", "content": one}] for one in asked]
        tokenizer.chat_template = EPISODE
        tokenizer.response_template = read_between("<|im_start|>", "<|im_end|>")

    def played(completions, **columns):
        return [Turns([len(message["content"]) / 4 for message in one if "name" not in message]) for one in completions]

    def reward(prompts, completions, **columns):
        if episodes:
            return [float(len(one[0]["content"])) for one in completions]
        tells = [not idle or prompt < "e" for prompt in prompts]
        return [float(len(set(text.split()))) if tell else 1.0 for text, tell in zip(completions, tells, strict=True)]

    def by_turn(completions, completion_ids, **columns):
        pairs = zip(completions, completion_ids, strict=True)
        return [Turns(turn_values(text, ids)) for text, ids in pairs]

    torch.manual_seed(0)
    args = GSPOConfig(output_dir=tempfile.mkdtemp(), **options)
    rows = Dataset.from_list([{"prompt": prompt} for prompt in asked * 8])
    model = tiny_model(tokenizer)
    begun = copy.deepcopy(model)
    rewards = [reward, by_turn] if turns else [reward, played] if episodes else [reward]
    trainer = checked_trainer(GSPOTrainer)(
        model, rewards, args=args, train_dataset=rows, processing_class=tokenizer, tools=[look_up] if episodes else None
    )
    if episodes:
        trainer._generate_single_turn = spoken(tokenizer)
    trainer.begun = begun
    trainer.credit, trainer.gaps, trainer.seen, trainer.passes = credit, [], [], []
    trainer.tools_taken, trainer.turns = tools, turns
    layer = trainer.model.get_base_model().model.layers[0]
    layer.register_full_backward_hook(lambda *_: trainer.passes.append(1))
    if not idle:
        trainer.row_rules = None  # stock TRL would deal rows anew, and the twin looks at them as they were dealt
    undo = break_it(control, hook, UNSLOTH, trainer)
    try:
        trainer.train()
    finally:
        undo()
    return trainer.gaps


def break_it(control, hook, module, trainer):
    """Take out the line a negative control is about; returns what puts it back."""
    if control == "alignment":
        right = hook.packed_advantages

        def unaligned(inputs, pad):
            import torch

            width = inputs["completion_ids"].shape[1] + int(inputs["max_left_pad"].flatten()[0])
            return torch.nn.functional.pad(inputs["advantages"], (0, width - inputs["advantages"].shape[1]))

        hook.packed_advantages = unaligned
        return lambda: setattr(hook, "packed_advantages", right)
    if control == "stop-gradient":
        right = module.grpo_compute_loss
        import inspect

        source = inspect.getsource(right)
        assert ".detach() + new - new.detach()" in source
        exec(source.replace(".detach() + new - new.detach()", " + new - new.detach()"), vars(module))
        return lambda: setattr(module, "grpo_compute_loss", right)
    if control == "tool mask":
        trainer.forgets_tools = True
    if control == "turns":
        from gspo_lite.training import token_credit

        right = token_credit.turn_numbers
        token_credit.turn_numbers = lambda own: [turn and turn % max(right(own)) + 1 for turn in right(own)]
        return lambda: setattr(token_credit, "turn_numbers", right)
    return lambda: None


def hooks_that_nobody_misses():
    """How many names were taken from Unsloth's trainer or changed, and those whose start was not refused."""
    import pytest
    import trl

    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from gspo_lite.errors import MachineError
    from gspo_lite.training.hooks import check_hooks
    from gspo_lite.training.trainer import GSPOTrainer
    from tests.training.removing_hooks import cases, take_away

    check_hooks(GSPOTrainer)
    missed, tried = [], list(cases("Unsloth", trl.GRPOTrainer))
    for hook, name, way in tried:
        with pytest.MonkeyPatch.context() as patch:
            take_away(patch, hook, name, way, trl.GRPOTrainer)
            try:
                check_hooks(GSPOTrainer)
            except MachineError as error:
                if f".{name}`" in error.message:
                    continue
        missed.append(f"{name} {way}")
    return {"missed": missed, "tried": len(tried)}


def families_asked_otherwise():
    """Families of chat models, and those of which a rollout asks other tokens than an evaluation."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from gspo_lite.data.inputs import model_inputs
    from gspo_lite.models.templates import prepare_template
    from gspo_lite.training.config import GSPOConfig
    from gspo_lite.training.trainer import GSPOTrainer
    from tests.models.chat_families import CHAT, FAMILIES, build_tokenizer

    def nothing(completions, **columns):
        return [0.0] * len(completions)

    other = []
    for name, family in FAMILIES.items():
        tokenizer = build_tokenizer(family)
        prepare_template(tokenizer, family.kwargs)
        args = GSPOConfig(output_dir=tempfile.mkdtemp(), **BASE, chat_template_kwargs=family.kwargs)
        rows = [{"prompt": CHAT}] * 8
        trainer = GSPOTrainer(tiny_model(tokenizer), nothing, args, rows, processing_class=tokenizer)
        trainer.model.train()
        asked = trainer._generate_and_score_completions(rows[:4])
        evaluated = model_inputs(tokenizer, rows[:1], family.kwargs)["input_ids"][0]
        if asked["prompt_ids"][0][asked["prompt_mask"][0].bool()].tolist() != evaluated.tolist():
            other.append(name)
    return {"families": len(FAMILIES), "other": other}


if __name__ == "__main__":
    import_unsloth(cuda="--cuda" in sys.argv)
    from gspo_lite.training.trainer import UNSLOTH

    assert UNSLOTH is not None, "the live trainer is not Unsloth's"
    for scenario in [word for word in sys.argv[1:] if word != "--cuda"] or (*SCENARIOS, HOOKS, CHATS):
        try:
            others = {HOOKS: hooks_that_nobody_misses, CHATS: families_asked_otherwise}
            found = others[scenario]() if scenario in others else {"gaps": run(scenario)}
            result = {"scenario": scenario, **found}
        except Exception as error:
            result = {"scenario": scenario, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)
