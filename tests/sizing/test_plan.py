"""`gspo-lite plan`: which card a recipe fits, and whether its advice is worth taking."""

import json
import re
import subprocess
import sys

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.errors import MachineError
from gspo_lite.recipe.check import check_recipe
from gspo_lite.recipe.shipped import shipped_recipes
from gspo_lite.sizing.knobs import changed
from gspo_lite.sizing.memory import GIB, Room
from gspo_lite.sizing.plan import as_dict, has_images, lines_of, plan, room_for

CARDS = {"T4": 16, "RTX 3060": 12, "RTX 4090": 24}


LARGE = ("training.gradient_accumulation_steps=4", "training.steps_per_generation=16", "data.eval.batch_size=64",
         "generation.max_prompt_length=512", "generation.max_completion_length=1024")  # fmt: skip
LARGER = ("training.gradient_checkpointing=false", "training.per_device_train_batch_size=16",
          "generation.max_completion_length=1536")  # fmt: skip


def planned(vram, *overrides, recipe="gsm8k_gspo", backend="unsloth", engine="transformers"):
    chosen = load_recipe(recipe, overrides).recipe
    return plan(chosen, Room(vram * GIB, int(vram * 0.92 * GIB), backend, engine, images=has_images(chosen)))


# The card that a recipe's header names, in GB; a card of 2 GB where it names none.
HEADERS = {
    name: int((re.search(r"(\d+) GB card", path.read_text().replace("\n# ", " ")) or [0, 2])[1])
    for name, path in shipped_recipes().items()
}


def test_headers_name_cards():
    assert {name: card for name, card in HEADERS.items() if card > 2} == {
        "gsm8k_gspo": 16, "gsm8k_gspo_token": 16, "gsm8k_grpo": 16, "gsm8k_moe": 80, "geometry_vlm": 24,
        "countdown": 16, "json_output": 16, "math_boxed": 16, "multiple_choice": 16, "reward_model": 16,
        "word_problems": 16, "smollm2_json": 8, "gsm8k_tools": 16, "countdown_game": 16,
    }  # fmt: skip


ENGINES_OF = [(name, "transformers") for name in HEADERS] + [
    (name, "vllm") for name, card in HEADERS.items()
    if card > 2 and load_recipe(name).recipe.generation.engine != "transformers"
]  # fmt: skip


@pytest.mark.parametrize(("name", "engine"), ENGINES_OF)
def test_a_shipped_recipe_fits_the_card_its_header_names(name, engine):
    found = planned(HEADERS[name], recipe=name, engine=engine)
    assert found.fits, "\n".join(lines_of(found))


# What a recipe's header says to set on a card of 24 GB.
OFFERED = {
    name: [word for word in line[0].split() if "=" in word]
    for name, path in shipped_recipes().items()
    if (line := re.search(r"On 24 GB.*", path.read_text()))
}


def test_every_recipe_for_a_smaller_card_offers_what_24_gb_are_good_for():
    assert set(OFFERED) == {name for name, card in HEADERS.items() if 8 < card <= 24}


@pytest.mark.parametrize(("name", "engine"), [(name, engine) for name, engine in ENGINES_OF if name in OFFERED])
def test_what_a_header_offers_for_24_gb_passes_and_fits_by_plan(name, engine):
    recipe = load_recipe(name, OFFERED[name]).recipe
    assert not check_recipe(recipe)
    assert recipe.training.updates_per_rollout == load_recipe(name).recipe.training.updates_per_rollout
    found = planned(24, *OFFERED[name], recipe=name, engine=engine)
    assert found.fits, "\n".join(lines_of(found))
    assert not recipe.model.load_in_4bit


def test_phases_and_parts_are_named():
    found = planned(16)
    assert [phase.name for phase in found.phases] == ["evaluation", "generation", "training", "resume"]
    training = found.phases[2].parts
    assert {"base weights", "adapter", "optimizer state", "gradients of what is trained"} < set(training)
    assert found.phases[1].parts["KV cache of 64 sequences"] == 64 * 960 * 36 * 2 * 8 * 128 * 2


@pytest.mark.parametrize("vram", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize("backend", ["unsloth", "transformers"])
@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_the_advice_makes_the_gsm8k_recipe_fit(vram, backend, engine):
    wide = ["model.load_in_4bit=false"] if (backend, engine) == ("transformers", "vllm") else []
    found = planned(vram, *LARGE, *wide, backend=backend, engine=engine)
    if wide and vram < 24:  # two copies in 16 bits
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


def test_a_recipe_that_fits_through_vllm_says_so():
    said = "with vLLM (`pip install 'gspo-lite[vllm]'`) it fits as it stands"
    assert said in "\n".join(lines_of(planned(12)))
    assert said not in "\n".join(lines_of(planned(12, *LARGE)))
    assert said not in "\n".join(lines_of(planned(12, "generation.engine=transformers")))
    assert said not in "\n".join(lines_of(planned(12, backend="transformers")))  # 4-bit weights go to no vLLM there


def test_a_recipe_that_fits_is_told_what_would_be_faster():
    found = planned(24)
    assert [one.change for one in found.faster] == [{"model.load_in_4bit": False}]
    told = "\n".join(lines_of(found))
    assert "faster, and it still fits" in told
    assert "--set model.load_in_4bit=false\n        then the peak is 18.7 GiB; 16-bit weights fit: 4-bit ones" in told
    assert as_dict(found)["faster"][0]["set"] == {"model.load_in_4bit": False}
    assert not planned(16).faster  # 18.7 GiB
    assert "faster" not in "\n".join(lines_of(planned(16)))
    assert not planned(12).faster
    assert not planned(24, "model.load_in_4bit=false").faster
    assert not planned(80, "model.dtype=float32").faster  # its unquantized weights have 32 bits
    (eight,) = planned(24, "model.load_in_4bit=false", "model.load_in_8bit=true").faster
    assert eight.change == {"model.load_in_8bit": False}
    assert not planned(24, "model.load_in_4bit=false", "model.load_in_fp8=true").faster


def test_a_plan_says_what_8_bit_floating_point_and_standby_take():
    eight = ("model.load_in_4bit=false", "model.load_in_fp8=true", "model.vllm_standby=true")
    told = "\n".join(lines_of(planned(24, *eight)))
    assert "parameters, FP8; from" in told
    assert "note       model.load_in_fp8 takes a card of compute capability 8.9" in told
    assert "note       model.vllm_standby has no effect without vLLM inside Unsloth" in told
    with_vllm = planned(24, *eight, engine="vllm")
    assert "has no effect" not in "\n".join(lines_of(with_vllm))
    assert "model.gpu_memory_utilization" not in str(planned(12, *LARGE, *eight, engine="vllm").suggestions)


def test_larger_passes_are_offered_where_trl_takes_them_as_they_are():
    four, two = planned(24, backend="transformers").faster, planned(24, recipe="geometry_vlm").faster
    assert [next(iter(one.change)) for one in four] == ["model.load_in_4bit", "training.per_device_train_batch_size"]
    before, after = planned(24).recipe.training, changed(planned(24).recipe, four[1].change).training
    assert after.per_device_train_batch_size == 2 * before.per_device_train_batch_size
    assert (after.rollout_size, after.updates_per_rollout) == (before.rollout_size, before.updates_per_rollout)
    assert [next(iter(one.change)) for one in two] == ["model.load_in_4bit"]  # Unsloth's


def test_16_bit_weights_are_planned_with_the_engine_that_can_then_read_them(monkeypatch):
    """Beside TRL, vLLM cannot take 4-bit weights, and of 16-bit ones it holds a copy of its own."""
    assert planned(24, backend="transformers").faster[0].change == {"model.load_in_4bit": False}
    monkeypatch.setattr("gspo_lite.sizing.plan.find_spec", lambda name: object())  # vllm is installed
    assert "model.load_in_4bit" not in str(planned(24, backend="transformers").faster)


def test_what_is_sampled_at_once_is_counted_and_lowered_where_it_does_not_fit():
    assert "KV cache of 128 sequences" in planned(16, "generation.sample_factor=2").phases[1].parts
    crowded = planned(16, "generation.sample_factor=4", backend="transformers")
    assert [one.change for one in crowded.suggestions] == [{"generation.sample_factor": 1}]


def test_the_least_harmful_change_comes_first():
    found = planned(16, *LARGE, *LARGER, backend="transformers")
    places = [next(iter(suggestion.change)) for suggestion in found.suggestions]
    assert places == [
        "data.eval.batch_size",
        "training.gradient_checkpointing",
        "training.per_device_train_batch_size",
        "training.gradient_accumulation_steps",
    ]


def test_smaller_passes_keep_rollout_and_updates():
    found = planned(16, *LARGE, *LARGER, backend="transformers")
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
    for suggestion in planned(16, *LARGE, backend="unsloth", engine="vllm").suggestions:
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
    found = planned(16, *LARGE)
    told = json.loads(json.dumps(as_dict(found)))
    assert told["fits"] is False
    assert told["fits_with_suggestions"] is True
    assert told["phases"]["training"]["bytes"] == sum(told["phases"]["training"]["parts"].values())
    assert told["peak_bytes"] == max(phase["bytes"] for phase in told["phases"].values())


@pytest.mark.parametrize(
    ("recipe", "overrides", "backend", "engine"),
    [
        ("gsm8k_gspo", [], "unsloth", "vllm"),
        ("gsm8k_gspo", ["generation.engine=transformers"], "unsloth", "transformers"),
        ("gsm8k_gspo", ["model.load_in_4bit=false", "model.full_finetuning=true"], "unsloth", "transformers"),
        ("gsm8k_gspo", ["model.backend=transformers"], "transformers", "transformers"),  # 4-bit weights
        ("gsm8k_gspo", ["model.backend=transformers", "model.load_in_4bit=false"], "transformers", "vllm"),
        ("geometry_vlm", ["generation.engine=auto"], "unsloth", "transformers"),
    ],
)
def test_backend_and_engine_are_those_that_a_run_would_take(monkeypatch, recipe, overrides, backend, engine):
    monkeypatch.setattr("gspo_lite.sizing.plan.find_spec", lambda name: object())  # unsloth and vllm are installed
    room = room_for(load_recipe(recipe, overrides).recipe, 24)
    assert (room.backend, room.engine) == (backend, engine)


def test_an_engine_that_a_run_would_refuse_is_refused():
    asked = ["model.backend=transformers", "generation.engine=vllm"]
    with pytest.raises(MachineError, match="unquantized weights"):
        room_for(load_recipe("gsm8k_gspo", asked).recipe, 24)
    with pytest.raises(MachineError, match="does not support prompts with images"):
        room_for(load_recipe("geometry_vlm", ["generation.engine=vllm"]).recipe, 24)


def test_a_run_folders_recipe_has_no_images_because_it_names_every_field():
    recipe = load_recipe("gsm8k_gspo").recipe
    assert not has_images(changed(recipe, {}))
    assert has_images(load_recipe("geometry_vlm").recipe)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["quickstart", "--vram", "8"], 0, "fits: the peak is"),
        (["gsm8k_gspo", "--vram", "16", "--set", "model.backend=unsloth"], 0, "fits: the peak is"),
        (["gsm8k_gspo", "--vram", "12", "--set", "model.backend=unsloth"], 3, "--set training.gradient_acc"),
        (["quickstart", "--vram", "8", "--set", "model.name=no/such"], 3, "hf download no/such config.json"),
        (["quickstart"], 2, "--vram"),
    ],
)
def test_command(words, code, says):
    done = subprocess.run([sys.executable, "-m", "gspo_lite", "plan", *words], capture_output=True, text=True)
    assert (done.returncode, says in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
