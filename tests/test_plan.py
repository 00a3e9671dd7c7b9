"""`gspo-lite plan`: which card a recipe fits, and whether its advice is worth taking."""

import json
import subprocess
import sys

import pytest

from gspo_lite.plan import as_dict, lines_of, plan
from gspo_lite.preflight import load_recipe
from gspo_lite.recipe.check import check_recipe
from gspo_lite.sizing.knobs import changed
from gspo_lite.sizing.memory import GIB, Room

CARDS = {"T4": 16, "RTX 3060": 12, "RTX 4090": 24}


def planned(vram, *overrides, recipe="gsm8k_gspo", backend="unsloth", engine="transformers"):
    room = Room(vram * GIB, int(vram * 0.92 * GIB), backend, engine)
    return plan(load_recipe(recipe, overrides).recipe, room)


def test_phases_and_parts_are_named():
    found = planned(16)
    assert [phase.name for phase in found.phases] == ["evaluation", "generation", "training", "resume"]
    training = found.phases[2].parts
    assert {"base weights", "adapter", "optimizer state", "gradients of what is trained"} < set(training)
    assert found.phases[1].parts["KV cache of 128 sequences"] == 128 * 1536 * 36 * 2 * 8 * 128 * 2


@pytest.mark.parametrize("vram", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize("backend", ["unsloth", "transformers"])
@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_the_advice_makes_the_gsm8k_recipe_fit(vram, backend, engine):
    found = planned(vram, backend=backend, engine=engine)
    if (backend, engine) == ("transformers", "vllm") and vram < 16:  # vLLM's own copy in 16 bits takes half the card
        assert not found.fits_changed
        assert "generation.engine=transformers" in list(lines_of(found))[-1]
        return
    assert found.fits_changed
    recipe = found.recipe
    for suggestion in found.suggestions:
        recipe = changed(recipe, suggestion.change)
        assert not [problem for problem in check_recipe(recipe) if problem.severity == "error"]
    again = plan(recipe, found.room)
    assert again.fits
    assert not again.suggestions
    if found.suggestions:
        assert [phase.total for phase in again.phases] == [phase.total for phase in found.suggestions[-1].phases]


def test_the_least_harmful_change_comes_first():
    found = planned(16, "training.gradient_checkpointing=false", backend="transformers")
    places = [next(iter(suggestion.change)) for suggestion in found.suggestions]
    assert places == [
        "data.eval.batch_size",
        "training.gradient_checkpointing",
        "training.per_device_train_batch_size",
        "training.gradient_accumulation_steps",
    ]


def test_smaller_passes_keep_rollout_and_updates():
    found = planned(16, "training.gradient_checkpointing=false", backend="transformers")
    (smaller,) = [one for one in found.suggestions if "training.per_device_train_batch_size" in one.change]
    before, after = found.recipe.training, changed(found.recipe, smaller.change).training
    assert after.per_device_train_batch_size < before.per_device_train_batch_size
    assert (after.rollout_size, after.updates_per_rollout) == (before.rollout_size, before.updates_per_rollout)


def test_under_unsloth_a_pass_holds_a_whole_group():
    found = planned(6, "training.per_device_train_batch_size=32", "training.steps_per_generation=4",
                    "training.gradient_accumulation_steps=1")  # fmt: skip
    sizes = [s.change.get("training.per_device_train_batch_size", 32) for s in found.suggestions]
    groups = [s.change.get("generation.num_generations", 8) for s in found.suggestions]
    assert all(size >= group for size, group in zip(sizes, groups, strict=True))


def test_completions_are_shortened_last():
    found = planned(7, "generation.max_completion_length=8192", "model.max_seq_length=9000", backend="transformers")
    places = [next(iter(suggestion.change)) for suggestion in found.suggestions]
    assert "generation.max_completion_length" in places
    assert places.index("generation.max_completion_length") == len(places) - 1


def test_a_share_for_vllm_is_not_lowered_below_what_it_needs():
    for suggestion in planned(16, backend="transformers", engine="vllm").suggestions:
        assert not any(phase.over for phase in suggestion.phases if phase.name == "inside vLLM's share")


def test_a_model_that_is_too_large_is_said_to_be():
    found = planned(8, "model.name=Qwen3-30B-A3B")
    assert not found.fits_changed
    text = "\n".join(lines_of(found))
    assert "take a smaller model" in text
    assert "stay in 16 bits" in text  # experts are no linear layers


def test_quickstart_fits_anywhere():
    found = planned(2, recipe="quickstart")
    assert found.fits
    assert "what to change" not in "\n".join(lines_of(found))


def test_json_holds_the_same_figures():
    found = planned(16)
    told = json.loads(json.dumps(as_dict(found)))
    assert told["fits"] is False
    assert told["fits_with_suggestions"] is True
    assert told["phases"]["training"]["bytes"] == sum(told["phases"]["training"]["parts"].values())
    assert told["peak_bytes"] == max(phase["bytes"] for phase in told["phases"].values())


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["quickstart", "--vram", "8"], 0, "fits: the peak is"),
        (["gsm8k_gspo", "--vram", "16", "--set", "model.backend=unsloth"], 3, "--set data.eval.batch_size="),
        (["quickstart", "--vram", "8", "--set", "model.name=no/such"], 3, "hf download no/such config.json"),
        (["quickstart"], 2, "--vram"),
    ],
)
def test_command(words, code, says):
    done = subprocess.run([sys.executable, "-m", "gspo_lite", "plan", *words], capture_output=True, text=True)
    assert (done.returncode, says in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
