"""GSPOTrainer on stock TRL against a float64 twin, every micro-step of real training, as on Unsloth's trainer."""

import pytest

from gspo_lite.errors import MachineError
from tests.unsloth import patched_trainer

# Unsloth leaves a sampled end token out of the loss where it is the padding token too; TRL does not. Rows without an
# advantage are dealt to other micro-batches on stock TRL: test_rows.py.
ELSEWHERE = ("control", "pad is eos", "idle")
SCENARIOS = [name for name in patched_trainer.SCENARIOS if not any(word in name for word in ELSEWHERE)]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_micro_step_equals_the_float64_twin(scenario):
    gaps = patched_trainer.run(scenario)
    assert len(gaps) >= 4
    for gap in gaps:
        assert gap["loss"] < 2e-6
        assert gap["gradient"] < 1e-5
        assert gap["turns"] < 1e-5
    played = {count for gap in gaps for count in gap["played"]}
    assert {2, 3} <= played or not any(word in scenario for word in ("turns", "tools", "episodes"))
    if "on-policy" not in scenario:
        assert max(gap["largest_log_ratio"] for gap in gaps) > 0.1  # off-policy, beyond the clip


def test_a_ratio_that_is_not_shifted_is_refused_at_the_start(monkeypatch):
    from gspo_lite.training.loss import stock

    def unshifted(self, new, inputs):
        self.gauges.record(new - inputs["old_per_token_logps"], inputs["completion_mask"], inputs["advantages"])

    monkeypatch.setattr(stock.SequenceTokenLoss, "_use_ratio", unshifted)
    with pytest.raises(MachineError, match="does not compute `sequence_token`"):
        patched_trainer.run("gspo_token credit")


@pytest.mark.parametrize(
    ("control", "figure"),
    [("control: a tool's tokens in the mean", "gradient"), ("control: turns shifted by one", "turns")],
)
def test_the_comparison_notices_what_goes_wrong_with_turns(control, figure):
    assert max(gap[figure] for gap in patched_trainer.run(control)) > 0.1
