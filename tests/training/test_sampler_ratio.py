"""Under vLLM only rows that teach get old log-probs and a ratio to the sampler's: the same gradients as with all rows.

A stub stands in for vLLM: random completions, each token with a log-prob of its own and some without one.
"""

import pytest
import torch

from gspo_lite.training.trainer import GSPOTrainer
from tests.training import test_rows
from tests.training.test_rows import ACCUMULATED, TOKEN, trained

CLIPS = {"vllm_importance_sampling_clip_min": 0.6, "vllm_importance_sampling_clip_max": 1.5}
MODES = ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]
METRICS = (
    "sampling/sampling_logp_difference/mean", "sampling/sampling_logp_difference/max",
    "sampling/importance_sampling_ratio/min", "sampling/importance_sampling_ratio/mean",
    "sampling/importance_sampling_ratio/max",
)  # fmt: skip


class Sampled(GSPOTrainer):
    """Samples from a stub in place of vLLM."""

    def _generate_single_turn(self, prompt_ids, *_, **__):
        draw = torch.Generator().manual_seed(self.state.global_step)
        lengths = torch.randint(3, 13, (len(prompt_ids),), generator=draw).tolist()
        ids = [torch.randint(3, 29, (length,), generator=draw).tolist() for length in lengths]
        logps = [(0.2 * torch.randn(length, generator=draw) - 3.4).tolist() for length in lengths]
        return ids, [[float("nan"), *row[1:]] for row in logps]


def unlike(completions, **columns):
    """No two alike, and none the mean of its group, so that every row has an advantage."""
    return [len(one) + 0.01 * place**2 for place, one in enumerate(completions)]


def under_vllm(tmp_path, monkeypatch, lean, mode, options, alike=False):
    """Train as `test_rows.trained` does, with the correction of TRL for vLLM; `alike` lets every group vary."""

    def take_stub(trainer, *args, **kwargs):
        trainer.use_vllm, trainer.vllm_importance_sampling_correction = True, True
        trainer.vllm_importance_sampling_mode = mode
        for name, value in CLIPS.items():
            setattr(trainer, name, value)
        return begin(trainer, *args, **kwargs)

    begin = Sampled.train
    monkeypatch.setattr(Sampled, "train", take_stub)
    if alike:
        monkeypatch.setattr(test_rows, "reward", unlike)
    found = trained(tmp_path, lean, options, Sampled)
    monkeypatch.undo()
    return found


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_all_rows(tmp_path, monkeypatch, mode):
    options = {**(TOKEN if mode == "token_truncate" else {}), **ACCUMULATED, "max_steps": 4}
    _, wanted = under_vllm(tmp_path, monkeypatch, False, mode, options)
    lean, found = under_vllm(tmp_path, monkeypatch, True, mode, options)
    assert len(found) == len(wanted) == 4
    for ours, theirs in zip(found, wanted, strict=True):
        assert theirs.norm() > 0
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()
    shares = [figures["gspo/computed_share"] for figures in lean.state.log_history[:-1]]
    assert max(shares) < 1


@pytest.mark.parametrize("mode", MODES)
def test_metrics_are_trls_where_every_row_teaches(tmp_path, monkeypatch, mode):
    whole, _ = under_vllm(tmp_path, monkeypatch, False, mode, {"max_steps": 1}, alike=True)
    lean, _ = under_vllm(tmp_path, monkeypatch, True, mode, {"max_steps": 1}, alike=True)
    assert lean.state.log_history[0]["gspo/computed_share"] == 1
    for name in METRICS:
        assert lean.state.log_history[0][name] == pytest.approx(whole.state.log_history[0][name], rel=1e-4), name
    assert lean.state.log_history[0][METRICS[0]] > 0.05


def test_no_row_without_an_advantage_gets_old_log_probs(tmp_path, monkeypatch):
    seen = []
    exact = GSPOTrainer._old_logps
    monkeypatch.setattr(Sampled, "_old_logps", lambda self, batch: seen.append(batch) or exact(self, batch))
    under_vllm(tmp_path, monkeypatch, True, MODES[0], {"max_steps": 4})
    assert seen
    assert all((batch["advantages"] != 0).all() for batch in seen)
