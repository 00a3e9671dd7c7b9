"""Every field of TRL's GRPOConfig has one answer, and what we take for TRL's defaults is what TRL has."""

import dataclasses
import json
from pathlib import Path

import pytest

from gspo_lite import load_recipe
from gspo_lite.checked_recipe import recipe_from
from gspo_lite.recipe.explain import field_at
from gspo_lite.recipe.extra import OWNED
from gspo_lite.recipe.foreign.choose import TRL_DEFAULTS
from gspo_lite.recipe.foreign.keys import EXTRA, OPTIONS, PLACE_OF, REASON_OF, answer
from gspo_lite.recipe.foreign.rewards import SAME
from gspo_lite.recipe.foreign.telling import as_recipe
from gspo_lite.recipe.foreign.values import converted
from gspo_lite.rewards.contract.registry import registered

# Fields whose defaults differ on purpose, or are of no consequence for what is learned.
OF_NO_CONSEQUENCE = {
    "learning_rate", "optim", "output_dir", "report_to", "run_name", "save_steps", "save_total_limit", "use_vllm",
    "vllm_gpu_memory_utilization", "bf16", "fp16", "max_steps", "generation_batch_size", "steps_per_generation",
    "importance_sampling_level", "vllm_mode", "reward_weights", "trust_remote_code",
    "chat_template_kwargs",
}  # fmt: skip


@pytest.fixture(scope="module")
def fields():
    from trl import GRPOConfig

    return {field.name: field.default for field in dataclasses.fields(GRPOConfig)}


def test_every_field_has_an_answer(fields):
    assert [name for name in fields if answer(name) is None] == []


def test_what_passes_through_is_a_field(fields):
    assert [name for name in EXTRA.split() if name not in fields] == []


def test_no_key_has_two_answers():
    assert PLACE_OF.keys() & REASON_OF.keys() == set()


def test_every_place_is_a_key_of_a_recipe():
    places = {place for place in PLACE_OF.values() if not place.startswith("training.extra.")}
    unknown = {place for place in places if field_at(tuple(place.split("."))) is None}
    assert unknown <= {"data.system_prompt", "data.streaming"}  # until the schema has them


def test_rewards_are_renamed_to_registered_ones():
    assert set(SAME.values()) <= registered().keys()
    assert not [name for name in OWNED if name.startswith(OPTIONS) and name != "repetition_penalty"]


def test_defaults_that_matter_are_ours_or_told(fields):
    told = {}
    for name, place in OWNED.items():
        default = fields.get(name, dataclasses.MISSING)
        if default is dataclasses.MISSING or name in OF_NO_CONSEQUENCE:
            continue
        default = converted(name, place, getattr(default, "value", default))
        if default != field_at(tuple(place.split("."))).default:
            told[place] = default
    assert told == TRL_DEFAULTS


def test_a_whole_configuration_that_trl_wrote_is_translated(tmp_path, monkeypatch):
    from trl import GRPOConfig

    monkeypatch.chdir(tmp_path)
    config = GRPOConfig(output_dir="out", bf16=False, use_cpu=True, learning_rate=3e-6, max_steps=7, beta=0.02)
    Path("c.json").write_text(json.dumps(config.to_dict()))
    translation = recipe_from(Path("c.json"))
    Path("mine.yaml").write_text(as_recipe(translation))
    recipe = load_recipe("mine.yaml").recipe
    assert (recipe.training.learning_rate, recipe.training.max_steps, recipe.objective.beta) == (3e-6, 7, 0.02)
    without = {setting.key for setting, reason in translation.draft.left if "no key of" in reason}
    assert without <= {"_n_gpu", "distributed_state", "deepspeed_plugin"}  # no fields
    GRPOConfig(**{**recipe.training.extra, "output_dir": "out", "bf16": False, "use_cpu": True})
