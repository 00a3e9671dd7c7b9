"""Does GSPO need routing replay? How far a mixture of experts' ratios move with and without it, after optimizer steps.

    OMP_NUM_THREADS=1 python benchmarks/routing_replay.py [--train all|attention] [--learning-rate 1e-5] [--json FILE]

A mixture of 16 experts, 4 for a token, learns the starter's additions, and then takes the four optimizer steps of the
GSPO paper on each rollout. After each step the log-probs of all its completions are computed twice: with the experts
that the router now chooses, and with those it chose for the old log-probs, weighed by what it says of them now. The
latter is routing replay (arXiv 2507.18071, section 5.3). Printed for tokens and for sequences: the standard deviation
of the log ratio, its largest value, and the share of ratios outside the clip, which is GRPO's 0.2 for a token and
GSPO's 3e-4 and 4e-4 for a sequence. `--warm-up 0` leaves the weights random.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gspo_lite.data import arithmetic
from gspo_lite.models import starter
from gspo_lite.objective import group_advantages, gspo_loss

EXPERTS = {"num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 96, "norm_topk_prob": True}
GROUP, PROMPTS, LENGTH, STEPS = 8, 8, 40, 4
CLIPS = {"token": (0.2, 0.2), "sequence": (3e-4, 4e-4)}
WHAT = {"sd": "{:.1e}", "largest": "{:.1e}", "outside": "{:.1%}"}
Figures = dict[str, float]


def main(words: Sequence[str] | None = None) -> None:
    options = arguments(words)
    tokenizer = starter.build_tokenizer()
    model = warmed_up(mixture(tokenizer), tokenizer, options.warm_up)
    trained = [weight for name, weight in model.named_parameters() if options.train == "all" or "self_attn" in name]
    model.requires_grad_(False)
    optimizer = torch.optim.AdamW([one.requires_grad_() for one in trained], lr=options.learning_rate, weight_decay=0.0)
    found = [figures for number in range(options.rollouts) for figures in train(model, tokenizer, optimizer, number)]
    rows = [mean(found[step::STEPS]) for step in range(STEPS)]
    for line in table(rows):
        print(line)
    print(
        f"right: {rows[0]['reward']:.0%} of the completions; {rows[0]['groups that differ']:.0%} of the groups differ"
    )
    if options.json:
        settings = {"train": options.train, "learning_rate": options.learning_rate, "warm_up": options.warm_up}
        options.json.write_text(json.dumps({**settings, "rollouts": options.rollouts, "steps": rows}, indent=1))


def mean(rows: Sequence[Figures]) -> Figures:
    return {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}


def mixture(tokenizer: Any) -> Any:
    """A mixture of experts of the starter's width, with random weights."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    config = Qwen3MoeConfig(
        **starter.SIZE, **EXPERTS, num_key_value_heads=2, head_dim=32, vocab_size=len(tokenizer), bos_token_id=None,
        tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(starter.SEED)
    return Qwen3MoeForCausalLM(config).float()


def warmed_up(model: Any, tokenizer: Any, steps: int) -> Any:
    """Teach the model the starter's demonstrations, right and flawed ones, for so many steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=starter.LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, starter.LEARNING_RATE, max(steps, 1), pct_start=0.1)
    for batch in islice(starter.demonstration_batches(tokenizer), steps):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()


def train(model: Any, tokenizer: Any, optimizer: Any, number: int) -> Iterator[Figures]:
    """Take the optimizer steps of one rollout, and yield how far the ratios have moved after each."""
    ids, mask, rewards = rollout(model, tokenizer, number)
    routes: list[Tensor] = []
    with torch.no_grad(), recorded(model, routes):
        old = log_probs(model, ids, mask)
    advantages = group_advantages(rewards, GROUP)
    differ = advantages.view(PROMPTS, GROUP).ne(0).any(1).float()
    learnable = {"reward": float(rewards.mean()), "groups that differ": float(differ.mean())}
    for rows in torch.randperm(len(ids)).chunk(STEPS):
        new = log_probs(model, ids[rows], mask[rows])
        gspo_loss(new, old[rows], mask[rows], advantages[rows]).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield moved(model, ids, mask, old, routes) | learnable


def rollout(model: Any, tokenizer: Any, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sample a rollout: ids (B, P + T), the mask of completions (B, P + T - 1), and a reward for the right answer."""
    problems = arithmetic.problems("train")[number * PROMPTS : (number + 1) * PROMPTS]
    asked = [starter.ASKED + one["question"] + starter.TOLD for one in problems for _ in range(GROUP)]
    prompts = tokenizer(asked, add_special_tokens=False, return_tensors="pt", padding=True)
    sampling = {"do_sample": True, "top_k": 0, "max_new_tokens": LENGTH, "suppress_tokens": [tokenizer.pad_token_id]}
    with torch.no_grad():
        ids = model.generate(**prompts, **sampling)
    written = ids[:, prompts["input_ids"].shape[1] :]
    ended = (written == tokenizer.eos_token_id).cumsum(1)
    mask = torch.zeros(len(ids), ids.shape[1] - 1)
    mask[:, -written.shape[1] :] = (ended - (written == tokenizer.eos_token_id).long() == 0).float()
    texts = tokenizer.batch_decode(written, skip_special_tokens=True)
    golds = [one["answer"] for one in problems for _ in range(GROUP)]
    right = [float(f"<answer>{gold}</answer>" in text) for text, gold in zip(texts, golds, strict=True)]
    return ids, mask, torch.tensor(right)


def log_probs(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Log-probs (B, W - 1) of each token after the first; those outside the mask may be anything."""
    attention = (ids != model.config.pad_token_id).long()
    logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits[:, :-1]
    return torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None]).squeeze(-1) * mask


def moved(model: Any, ids: Tensor, mask: Tensor, old: Tensor, routes: list[Tensor]) -> Figures:
    """How far the log ratio has moved by the router's own choices, and by those it made for the old log-probs."""
    own: list[Tensor] = []
    with torch.no_grad(), recorded(model, own):
        natural = log_probs(model, ids, mask)
    with torch.no_grad(), replayed(model, routes):
        replay = log_probs(model, ids, mask)
    pairs = zip(routes, own, strict=True)
    kept = [(before[:, :, None] == after[:, None]).any(2) for before, after in pairs]  # each choice, (tokens, chosen)
    read = (ids != model.config.pad_token_id).flatten()
    figures = {
        "choices changed": 1 - float(torch.stack([one[read].float().mean() for one in kept]).mean()),
        "tokens rerouted": 1 - float(torch.stack([one.all(1) for one in kept]).all(0)[read].float().mean()),
    }
    for name, new in (("natural", natural), ("replay", replay)):
        for level, ratios in (("token", (new - old)[mask > 0]), ("sequence", (new - old).sum(1) / mask.sum(1))):
            figures |= {f"{level} {name} {what}": value for what, value in spread(ratios, CLIPS[level]).items()}
    return figures


def spread(log_ratios: Tensor, clip: tuple[float, float]) -> Figures:
    ratios = log_ratios.exp()
    outside = ((ratios < 1 - clip[0]) | (ratios > 1 + clip[1])).float().mean()
    return {"sd": float(log_ratios.std()), "largest": float(log_ratios.abs().max()), "outside": float(outside)}


def routers(model: Any) -> list[Any]:
    return [layer.mlp.gate for layer in model.model.layers]


@contextmanager
def hooked(model: Any, hooks: Sequence[Any]) -> Iterator[None]:
    handles = [router.register_forward_hook(hook) for router, hook in zip(routers(model), hooks, strict=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def recorded(model: Any, routes: list[Tensor]) -> Any:
    """Write down which experts each router chooses, (tokens, chosen), one tensor a layer."""
    return hooked(model, [lambda router, args, output: routes.append(output[2])] * len(routers(model)))


def replayed(model: Any, routes: list[Tensor]) -> Any:
    """Make each router choose these experts, with the weights that it now gives them."""

    def forced(choices: Tensor) -> Any:
        def hook(router: Any, args: Any, output: Any) -> tuple[Tensor, Tensor, Tensor]:
            weights = output[0].softmax(-1, dtype=torch.float).gather(-1, choices)
            return output[0], (weights / weights.sum(-1, keepdim=True)).to(output[1].dtype), choices

        return hook

    return hooked(model, [forced(choices) for choices in routes])


def table(rows: list[Figures]) -> Iterator[str]:
    """Yield the figures as a table, natural / replayed."""
    yield "| steps | choices changed | tokens with a change | level | sd(log ratio) | largest | outside the clip |"
    yield "|---:|---:|---:|---|---:|---:|---:|"
    for step, row in enumerate(rows, 1):
        routed = f"{step} | {row['choices changed']:.2%} | {row['tokens rerouted']:.1%}"
        for level, first in zip(CLIPS, (routed, " | | "), strict=True):
            pairs = {what: [row[f"{level} {way} {what}"] for way in ("natural", "replay")] for what in WHAT}
            cells = [" / ".join(form.format(value) for value in pairs[what]) for what, form in WHAT.items()]
            yield f"| {first} | {level} | {' | '.join(cells)} |"


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", choices=["all", "attention"], default="all", help="weights that move")
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--warm-up", type=int, default=400, help="supervised steps; 0 leaves the weights random")
    parser.add_argument("--rollouts", type=int, default=4, help="figures are means over them")
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
