"""The head of a model, token by token: log-probs and entropies without the logits of all tokens at once.

With a vocabulary of 150,000 the logits of a micro-batch are its largest tensors. Here they exist for a chunk of tokens
at a time and are computed again on the way back. Must not know trainers. Letters: M tokens, d width of the model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from gspo_lite.system.memory import LOGITS_AT_ONCE

MULTIPLIERS = ("logit_scale", "output_multiplier")  # names of a factor on the logits, by family
DIVISOR, CAP = "logits_scaling", "final_logit_softcapping"


class Head:
    """A model's head with what its family does to the logits."""

    def __init__(self, model: Any, temperature: float, *, entropy_learns: bool = False) -> None:
        config = model.config.get_text_config()
        factors = [getattr(config, name, None) for name in MULTIPLIERS]
        divisor = getattr(config, DIVISOR, None)
        self.project = model.get_output_embeddings()
        self.factor = next((one for one in factors if one is not None), 1.0) / (1.0 if divisor is None else divisor)
        self.cap = getattr(config, CAP, None)
        self.vocabulary = config.vocab_size
        self.temperature, self.entropy_learns = temperature, entropy_learns

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Return logits (M, vocabulary) at the temperature of hidden states (M, d), in float32 or wider."""
        logits = self.project(states)
        logits = logits if self.factor == 1 else logits * self.factor
        logits = logits if self.cap is None else (logits / self.cap).tanh() * self.cap
        return (logits if logits.dtype == torch.float64 else logits.float()) / self.temperature

    def scores(self, states: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-probs of the targets (M,) and entropies (M,)."""
        chunk = max(LOGITS_AT_ONCE // self.vocabulary, 1)
        if len(states) <= chunk:
            return self._scores(states, targets)
        pairs = zip(states.split(chunk), targets.split(chunk), strict=True)
        parts = [checkpoint(self._scores, *pair, use_reentrant=False, preserve_rng_state=False) for pair in pairs]
        logps, entropies = zip(*parts, strict=True)
        return torch.cat(logps), torch.cat(entropies)

    def _scores(self, states: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.logits(states)
        with torch.set_grad_enabled(self.entropy_learns and torch.is_grad_enabled()):
            entropies = torch.special.entr(logits.softmax(-1)).sum(-1)
        return logits.gather(-1, targets[:, None])[:, 0] - logits.logsumexp(-1), entropies
