"""Settings that a trainer uses otherwise than given, and how the engine's log-probs are corrected for."""

import types

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.errors import MachineError
from gspo_lite.training import config as configuration
from gspo_lite.training.changes import changed, refuse_or_tell, settings_of
from gspo_lite.training.config import GSPOConfig, config_from_recipe


def config(**options):
    return GSPOConfig(output_dir="x", use_cpu=True, report_to=[], per_device_train_batch_size=8, **options)


def trainer(args, **own):
    return types.SimpleNamespace(args=args, **own)


def test_what_stays_as_given_is_no_change():
    args = config()
    wanted = settings_of(args)
    same = trainer(args, epsilon_low=args.epsilon, loss_type="grpo", scale_rewards="group")
    assert changed(wanted, same) == {}


def test_a_batch_size_that_was_changed_is_told():
    args = config()
    wanted = settings_of(args)
    args.per_device_train_batch_size = 4
    found = changed(wanted, trainer(args))
    assert found == {"per_device_train_batch_size": (8, 4)}
    assert refuse_or_tell(found) == ["`per_device_train_batch_size` was given as 8 and is used as 4"]


@pytest.mark.parametrize(
    ("name", "value"), [("scale_rewards", "none"), ("mask_truncated_completions", True), ("loss_type", "dapo")]
)
def test_a_change_of_the_objective_stops_the_run(name, value):
    args = config()
    wanted = settings_of(args)
    setattr(args, name, value)
    with pytest.raises(MachineError, match=f"changes what would be optimized: `{name}` was given as"):
        refuse_or_tell(changed(wanted, trainer(args)))


def test_a_change_that_only_the_trainer_itself_knows_is_found():
    args = config()
    found = changed(settings_of(args), trainer(args, epsilon_low=0.2))
    assert found == {"epsilon": (3e-4, 0.2)}


def recipe(*settings):
    return load_recipe("quickstart", settings).recipe


@pytest.mark.parametrize(
    ("algorithm", "live", "mode"),
    [
        ("gspo", True, "geometric_truncate"),
        ("gspo_token", True, "geometric_truncate"),
        ("gspo", False, "token_truncate"),
        ("grpo", True, "token_truncate"),
    ],
)
def test_vllm_is_never_corrected_by_a_product_over_all_tokens(monkeypatch, tmp_path, algorithm, live, mode):
    monkeypatch.setattr(configuration, "unsloth_is_live", lambda: live)
    wide = ["objective.epsilon=0.2", "objective.epsilon_high=0.2"] if algorithm == "grpo" else []
    args = config_from_recipe(recipe(f"objective.algorithm={algorithm}", *wide), tmp_path, use_vllm=True)
    assert (args.vllm_importance_sampling_correction, args.vllm_importance_sampling_mode) == (True, mode)
    assert mode in args.correction
    assert config_from_recipe(recipe(), tmp_path).correction == ""


def test_a_recipe_may_choose_the_correction_itself(tmp_path):
    chosen = recipe("training.extra={vllm_importance_sampling_mode: token_mask}")
    args = config_from_recipe(chosen, tmp_path, use_vllm=True)
    assert args.vllm_importance_sampling_mode == "token_mask"
    assert "left out by its own ratio" in args.correction


def test_every_mode_of_the_installed_trl_is_explained():
    text = next(f for f in GSPOConfig.__dataclass_fields__.values() if f.name == "vllm_importance_sampling_mode")
    for mode in ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"):
        assert mode in text.metadata["help"]
        assert mode in configuration.CORRECTIONS
