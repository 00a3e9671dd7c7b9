"""The gradients of train_step.py by the plain way: every row by itself through the model, `objective.gspo_loss`.

Shares nothing with a trainer but the tokens, the advantages and which rows an optimizer step holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOVE = 2e-3  # share by which every trained weight grows from one optimizer step to the next


def moved(parameters: Sequence[Any], start_values: Sequence[Any], steps: int) -> None:
    """Set the weights that all contenders have after so many optimizer steps, without gradients."""
    for parameter, start in zip(parameters, start_values, strict=True):
        parameter.data = start * (1 + MOVE * steps)
        parameter.grad = None


@dataclass
class Scored:
    """A scored rollout, row by row.

    Attributes:
        prompts, completions: their tokens.
        counted: (T,) of each row, which tokens the loss counts.
        advantages: of each row, a number or one for each token (T,).
        sampled: (T,) of each row, the log-probs of the sampler where the loss corrects them.
    """

    prompts: list[Any]
    completions: list[Any]
    counted: list[Any]
    advantages: list[Any]
    sampled: list[Any] | None

    @classmethod
    def of(cls, output: dict[str, Any], corrected: bool = False) -> Scored:
        """Take a rollout from what a trainer's scoring returns; `corrected` says whether the sampler's noise is."""
        masks = output["completion_mask"].bool()
        tools = output.get("tool_mask", masks)
        advantages, sampled = output["advantages"], output["sampling_per_token_logps"] if corrected else None
        return cls(
            [ids[mask.bool()] for ids, mask in zip(output["prompt_ids"], output["prompt_mask"], strict=True)],
            [ids[mask] for ids, mask in zip(output["completion_ids"], masks, strict=True)],
            [own[mask].bool() for own, mask in zip(tools, masks, strict=True)],
            [a[mask] if a.dim() else a.expand(int(mask.sum())) for a, mask in zip(advantages, masks, strict=True)],
            None if sampled is None else [one[mask] for one, mask in zip(sampled, masks, strict=True)],
        )

    def rows_of(self, batch: dict[str, Any]) -> list[int]:
        """Return which rows a micro-batch holds, told by their tokens."""
        known = {tuple(ids.tolist()): row for row, ids in enumerate(self.completions)}
        assert len(known) == len(self.completions), "two completions are equal and cannot be told apart"
        pairs = zip(batch["completion_ids"], batch["completion_mask"].bool(), strict=True)
        return [known[tuple(ids[mask].tolist())] for ids, mask in pairs]

    def teaching(self) -> set[int]:
        """Return the rows that have an advantage other than 0."""
        pairs = enumerate(zip(self.advantages, self.counted, strict=True))
        return {row for row, (advantages, counted) in pairs if bool((advantages[counted] != 0).any())}


def plain_logps(model: Any, prompts: Sequence[Any], completions: Sequence[Any]) -> list[Any]:
    """Return log-probs (T,) of each completion, each row by itself."""
    import torch

    found = []
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = torch.cat([torch.as_tensor(prompt), torch.as_tensor(completion)])
        count = len(completion)
        logits = model(input_ids=ids[None], use_cache=False).logits[0, -count - 1 : -1]
        found.append(logits.log_softmax(-1).gather(1, ids[-count:, None]).squeeze(1))
    return found


def plain_gradients(model: Any, trainer: Any, scored: Scored, steps: Sequence[Sequence[int]]) -> list[Any]:
    """Return the gradient of every optimizer step; rows without an advantage have none and are left out."""
    import torch

    teaching = scored.teaching()
    assert teaching <= {row for step in steps for row in step}, "a row that teaches is in no optimizer step"
    parameters = [p for p in model.parameters() if p.requires_grad]
    start_values = [p.detach().clone() for p in parameters]
    rows_of_a_step = trainer.args.per_device_train_batch_size * trainer.args.gradient_accumulation_steps
    with torch.no_grad():
        old = {row: plain_logps(model, [scored.prompts[row]], [scored.completions[row]])[0] for row in teaching}
    gradients = []
    for number, step in enumerate(steps):
        moved(parameters, start_values, number)
        for row in teaching.intersection(step):
            (row_loss(model, trainer, scored, row, old[row]) / rows_of_a_step).backward()
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    moved(parameters, start_values, 0)
    return gradients


def row_loss(model: Any, trainer: Any, scored: Scored, row: int, old: Any) -> Any:
    """Return the loss of one row by the definition."""
    from gspo_lite.objective import gspo_loss

    new = plain_logps(model, [scored.prompts[row]], [scored.completions[row]])[0]
    advantages = scored.advantages[row]
    if scored.sampled is not None:  # the correction of vLLM's log-probs, a positive factor of each token's loss
        ratio = (old - scored.sampled[row]).exp().clamp(max=trainer.vllm_importance_sampling_clip_max)
        advantages = advantages * ratio
    return gspo_loss(
        new[None], old[None], scored.counted[row][None], advantages[None], level=trainer.args.importance_sampling_level,
        epsilon=trainer.args.epsilon, epsilon_high=trainer.args.epsilon_high,
    ).loss  # fmt: skip


def gradient_error(trainer: Any, passes: Any, model: Any, known: dict[str, list[Any]]) -> float:
    """Return the largest relative gap of an optimizer step between a trainer's gradients and the plain way's.

    Args:
        trainer: after `passes`, which `step_contender.optimise` returned for it.
        model: another copy of its model, with the weights it had before.
        known: gradients that were computed before, by everything they depend on; these are added.
    """
    teaching = trainer.scored.teaching()
    steps = [sorted(teaching.intersection(step)) for step in passes.steps]
    key = repr([trainer.args.importance_sampling_level, steps, [one.tolist() for one in trainer.scored.advantages]])
    if key not in known:
        known[key] = plain_gradients(model, trainer, trainer.scored, steps)
    return gap(passes.gradients, known[key])


def gap(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """Return the largest relative difference of the gradients of an optimizer step."""
    return max(float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in zip(ours, theirs, strict=True))
