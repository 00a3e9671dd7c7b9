"""GSPOTrainer: the GRPOTrainer that is live, stock or Unsloth's, with what GSPO needs and both lack.

Owns what a trainer of this package promises: float32 adapters, no sampled padding, the level `sequence_token`, the
rollout it has just scored. Must not know recipes.
"""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from trl import GRPOTrainer

from gspo_lite.errors import UsageError
from gspo_lite.models.starter import NAME as STARTER
from gspo_lite.models.starter import starter_folder
from gspo_lite.training.config import GSPOConfig
from gspo_lite.training.gauges import RatioGauges
from gspo_lite.training.selftest import self_test
from gspo_lite.training.stock import LEVEL, SequenceTokenLoss
from gspo_lite.training.unsloth import UnslothTokenLoss, generated_module, install

UNSLOTH = generated_module(GRPOTrainer)  # None where trl's own trainer is live
if UNSLOTH is not None:
    install(UNSLOTH)


class GSPOTrainer(SequenceTokenLoss if UNSLOTH is None else UnslothTokenLoss, GRPOTrainer):  # type: ignore[misc]
    """Train a language model with GSPO, GSPO-token or GRPO.

    Takes what TRL's `GRPOTrainer` takes; besides, `model` may be `"starter"`, the model that is built on this
    machine, and `train_dataset` may be a list of prompts or of rows.

    Args:
        model: hub id, folder, `"starter"` or a loaded model, with or without an adapter.
        reward_funcs: one or more functions `f(completions, **columns) -> list[float | None]`.
        args: a `GSPOConfig`; its defaults are the paper's if left out.
        train_dataset: rows with a `prompt` and the columns the rewards read.

    Raises:
        UsageError: for settings that cannot work. MachineError: when the installed trl or unsloth does not compute the
            objective as `gspo_lite.objective` defines it.

    Attributes:
        self_test: relative gaps of loss and gradient between what is installed and the definition.
        rollout: the last rollout's rows: prompt, completion, answer, rewards, advantage.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Any,
        args: GSPOConfig | None = None,
        train_dataset: Any = None,
        **options: Any,
    ):
        args = args or GSPOConfig(output_dir="gspo-output")
        if args.importance_sampling_level == LEVEL and args.use_liger_kernel:
            raise UsageError(
                "`use_liger_kernel` computes its own loss, which has no level `sequence_token`",
                "leave use_liger_kernel off, or use level `sequence`",
            )
        self.self_test = self_test(type(self), args)
        model = str(starter_folder()) if isinstance(model, str) and model == STARTER else model
        super().__init__(model, reward_funcs, args=args, train_dataset=as_dataset(train_dataset), **options)
        self.rollout: list[dict[str, Any]] = []
        self.gauges = RatioGauges(args.importance_sampling_level, args.epsilon, self.epsilon_high)
        keep_trainable_float32(self.model)
        self._suppress_padding()

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log TRL's metrics with the gauges of the sequence ratio beside them."""
        super().log({**logs, **self.gauges.figures()} if self.model.training else logs, *args, **kwargs)

    def _suppress_padding(self) -> None:
        """Never sample the padding token: TRL would train on it, Unsloth would drop it."""
        pad, eos = self._tokenizer.pad_token_id, self._tokenizer.eos_token_id
        if not self.args.use_vllm and pad != eos:
            self.generation_config.suppress_tokens = [pad]
            self.generation_kwargs["suppress_tokens"] = [pad]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if self.model.training:
            self.rollout = self._scored_rows(inputs)
        return output

    def _scored_rows(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rollout just scored, one row per completion of this process."""
        logs, size = self._logs, len(inputs)
        start = self.accelerator.process_index * size - size * self.accelerator.num_processes
        pick = slice(start, start + size or None)
        texts = zip(list(logs["prompt"])[pick], list(logs["completion"])[pick], strict=True)
        rewards = {name: list(values)[pick] for name, values in logs["rewards"].items()}
        advantages = list(logs["advantages"])[pick]
        return [
            {
                "prompt": prompt,
                "completion": completion,
                "answer": inputs[row].get("answer"),
                "rewards": {name: values[row] for name, values in rewards.items()},
                "advantage": advantages[row],
            }
            for row, (prompt, completion) in enumerate(texts)
        ]


def keep_trainable_float32(model: torch.nn.Module) -> None:
    """Hold what is trained in float32, which TRL casts to bfloat16 for a 4-bit model.

    At GSPO's learning rates, 1e-6 to 5e-6, a bfloat16 weight often rounds the update away.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()


def as_dataset(rows: Any) -> Any:
    """A data set as TRL wants it, from a list of prompts or of rows; anything else as it is."""
    if not isinstance(rows, list):
        return rows
    if not rows:
        raise UsageError("`train_dataset` is an empty list; it needs at least one prompt")
    return Dataset.from_list([row if isinstance(row, dict) else {"prompt": row} for row in rows])
