"""Which losses can be trained: those of the installed trainer, at the levels at which they are exact."""

import pytest
from trl import GRPOTrainer

from gspo_lite import GSPOConfig, GSPOTrainer
from gspo_lite.errors import UsageError
from gspo_lite.training.selftest import loss_types_in, self_test

ALL = ["bnpo", "cispo", "dapo", "dr_grpo", "grpo", "luspo", "sapo", "vespo"]


def args(tmp_path, **options):
    return GSPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to=[], **options)


def test_the_installed_trainer_says_which_losses_it_has():
    assert set(loss_types_in(GRPOTrainer._compute_loss)) >= set(ALL)


def test_loss_types_are_read_from_the_source():
    def loss(self, loss_type, other):
        if self.loss_type == "one" or loss_type in ["two", "three"] or other == "four":
            return "five"
        raise ValueError(f"not one of six: {loss_type}")

    assert loss_types_in(loss) == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loss_type": "gspo"}, ["`gspo`", "level `sequence`", *(f"`{name}`" for name in ALL)]),
        ({"loss_type": ""}, ["``", "`cispo`"]),
        (
            {"loss_type": "vespo", "importance_sampling_level": "sequence_token"},
            ["`vespo`", "level `sequence_token`", "`cispo`, `dapo`", "`luspo`, `sapo`"],
        ),
    ],
)
def test_a_loss_that_cannot_be_trained_is_refused_before_a_model_is_looked_for(tmp_path, options, says):
    with pytest.raises(UsageError) as caught:
        GSPOTrainer("no/such-model", lambda completions, **_: [0.0], args(tmp_path, **options), ["a"])
    for words in says:
        assert words in caught.value.message
    assert caught.value.message.count("`vespo`") == 1  # among those that are there; not among those of the level


@pytest.mark.parametrize(
    ("loss_type", "levels"),
    [
        ("cispo", ["token", "sequence", "sequence_token"]),
        ("sapo", ["token", "sequence", "sequence_token"]),
        ("vespo", ["token", "sequence"]),
    ],
)
def test_a_loss_without_a_definition_is_not_compared_and_that_is_said(tmp_path, caplog, loss_type, levels):
    for level in levels:
        caplog.clear()
        options = {"loss_type": loss_type, "importance_sampling_level": level, "epsilon_high": 5.0}
        assert_not_compared(args(tmp_path, **options), caplog)


def assert_not_compared(options, caplog):
    assert self_test(GSPOTrainer, options) == {}
    (said,) = [record.getMessage() for record in caplog.records if "gspo_lite" in record.name]
    assert said == f"loss_type `{options.loss_type}` has no definition to compare it with; it is trained as installed"


@pytest.mark.parametrize(("options", "cap"), [({}, "0.0004"), ({"epsilon": 0.2, "epsilon_high": None}, "0.2")])
def test_a_cap_below_every_ratio_is_said(tmp_path, caplog, options, cap):
    self_test(GSPOTrainer, args(tmp_path, loss_type="cispo", **options))
    assert f"capped at epsilon_high {cap}, which is below every ratio; 5 is usual" in caplog.text


def test_a_loss_with_a_definition_is_compared_without_a_word(tmp_path, caplog):
    assert set(self_test(GSPOTrainer, args(tmp_path))) == {"loss", "gradient"}
    assert "gspo_lite" not in caplog.text
