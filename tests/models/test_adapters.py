"""The adapter that a recipe continues: what is understood, what is refused before a model is loaded, what fits."""

import json

import pytest
from safetensors.torch import load_file, save_file

from gspo_lite import load_recipe
from gspo_lite.errors import RecipeError, UsageError
from gspo_lite.load_parts import with_adapter
from gspo_lite.models.adapters import contradictions, following
from gspo_lite.models.continued import settle
from gspo_lite.models.engines import Place, choose_engine
from gspo_lite.models.load import load_for_evaluation, load_model
from gspo_lite.models.starter import build_tokenizer
from gspo_lite.recipe.schema import ModelSettings
from tests.models.tiny_models import write_adapter

PLAIN = {
    "peft_type": "LORA", "r": 4, "lora_alpha": 8.0, "lora_dropout": 0.05, "target_modules": ["v_proj", "q_proj"],
    "base_model_name_or_path": "unsloth/Qwen3-0.6B-unsloth-bnb-4bit",
}  # fmt: skip
STARTER = {"base_model_name_or_path": "/home/ann/.cache/gspo-lite/starter-0123456789ab"}
OWN = "model.lora={}"  # the shipped recipe sets a rank, which an adapter has itself


def write(folder, **config):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**PLAIN, **config}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def recipe_with(*overrides):
    return load_recipe("quickstart", [OWN, *overrides], allow_outside=True)


@pytest.mark.parametrize("key", ["name", "adapter"])
def test_an_adapter_brings_its_shape_and_where_it_is_the_model_its_base(tmp_path, key):
    folder = write(tmp_path / "sft", **STARTER)
    model = recipe_with(f"model.{key}={folder}").recipe.model
    assert (model.name, model.adapter) == ("starter", str(folder))
    assert (model.lora.rank, model.lora.alpha, model.lora.target_modules) == (4, 8, ["q_proj", "v_proj"])
    assert model.lora.dropout == 0.0  # of the training that follows, not of what was learned
    again = recipe_with(f"model.adapter={folder}", "model.lora={rank: 4, alpha: 8, target_modules: [v_proj, q_proj]}")
    assert again.recipe.model.lora == model.lora


def test_a_run_folder_stands_for_its_adapter(tmp_path):
    write(tmp_path / "adapter", **STARTER)
    for name in ("recipe.yaml", "environment.json"):
        (tmp_path / name).write_text("{}")
    assert recipe_with(f"model.adapter={tmp_path}").recipe.model.lora.rank == 4


@pytest.mark.parametrize(
    ("overrides", "config", "message"),
    [
        (["model.lora.rank=8"], {}, r"`model\.lora\.rank`: is 8, but the adapter `.*sft` has 4 and keeps it"),
        (["model.lora.target_modules=[q_proj]"], {}, r"is \['q_proj'\], but the adapter `.*` has \['q_proj', 'v_proj'"),
        (["model.full_finetuning=true", "model.load_in_4bit=false"], {}, "full_finetuning trains every weight"),
        ([], {"peft_type": "IA3"}, "is an adapter of type `IA3`; only LoRA is continued"),
        (["output.dir=SFT/.."], {}, r"is inside output\.dir"),
        (["model.name=SFT"], {}, r"`model\.name`: holds an adapter, as model\.adapter does"),
        (["model.adapter=SFT/nowhere"], {}, "no folder"),
    ],
)
def test_what_contradicts_an_adapter_or_is_none_is_refused_by_check(tmp_path, overrides, config, message):
    folder = write(tmp_path / "sft", **STARTER, **config)
    with pytest.raises(RecipeError, match=message):
        recipe_with(f"model.adapter={folder}", *(one.replace("SFT", str(folder)) for one in overrides))


def test_an_adapter_as_the_model_is_not_trained_in_full(tmp_path):
    settings = [f"model.name={write(tmp_path / 'sft', **STARTER)}", "model.full_finetuning=true"]
    with pytest.raises(RecipeError, match=r"`model\.name`: holds a LoRA to continue, but full_finetuning"):
        recipe_with(*settings, "model.load_in_4bit=false")


def test_files_that_are_missing_or_broken_are_named(tmp_path):
    folder = write(tmp_path / "sft")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(RecipeError, match=r"has no `adapter_model\.safetensors`"):
        recipe_with(f"model.adapter={folder}")
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(RecipeError, match=r"`adapter_config\.json` cannot be read: it is no JSON object"):
        recipe_with(f"model.adapter={folder}")
    (folder / "adapter_config.json").rename(folder / "config.json")
    with pytest.raises(RecipeError, match=r"holds no adapter; a whole model is named in model\.name"):
        recipe_with(f"model.adapter={folder}")


@pytest.mark.parametrize(
    ("name", "warned"),
    [
        ("Qwen/Qwen3-0.6B", False),  # Unsloth's copy, quantized beforehand
        ("models/qwen3-0.6b", False),  # a folder of one's own
        ("Qwen/Qwen3-1.7B", True),
    ],
)
def test_another_base_is_warned_about_but_not_another_copy_of_it(tmp_path, name, warned):
    found = contradictions(ModelSettings(name=name, adapter="sft"), PLAIN)
    assert [one.severity for one in found] == ["warning"] * warned
    assert all(f"the recipe puts it on `{name}`" in one.message for one in found)


def test_what_a_trained_model_is_used_for_works_when_the_adapter_it_began_with_is_gone(tmp_path):
    recipe = load_recipe("quickstart", [f"model.adapter={tmp_path / 'gone'}"], with_data=False).recipe
    assert recipe == following(recipe)


def test_an_adapter_of_the_hub_is_looked_at_when_the_run_begins(tmp_path, monkeypatch):
    folder = write(tmp_path / "cached")
    monkeypatch.setattr("gspo_lite.models.adapters.downloaded", lambda name: folder)
    model = with_adapter(recipe_with("model.adapter=ann/sft").recipe).model
    assert (model.name, model.adapter, model.lora.rank) == ("starter", "ann/sft", 4)
    with pytest.raises(RecipeError, match="is 8, but the adapter `ann/sft` has 4"):
        with_adapter(recipe_with("model.adapter=ann/sft", "model.lora.rank=8").recipe)


def test_vllm_inside_unsloth_is_not_given_an_adapter_to_continue():
    place = Place(gpu=True, capability=8.0, vllm=True)
    models = (ModelSettings(name="x", adapter=adapter) for adapter in (None, "sft"))
    engines = [choose_engine("auto", model, "unsloth", place=place).title for model in models]
    assert engines == ["vLLM inside Unsloth", "transformers"]


def test_an_adapter_is_loaded_with_its_tokenizer_onto_the_base_of_the_recipe_without_dropout(tmp_path, starter):
    folder = write_adapter(tmp_path / "sft", starter, lora_dropout=0.1)
    tokenizer = build_tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "gone/away"}))
    model = ModelSettings(name="starter", adapter=str(folder), load_in_4bit=False, backend="transformers")
    loaded = load_model(model, "transformers")
    assert loaded.processing_class.chat_template == tokenizer.chat_template
    assert loaded.model.peft_config["default"].base_model_name_or_path == str(starter)
    assert loaded.model.peft_config["default"].lora_dropout == 0.0
    assert load_for_evaluation(model, folder).processing_class.chat_template == tokenizer.chat_template
    loaded.model.get_base_model().name_or_path = "unsloth/its-bnb-4bit"  # Unsloth may load such a twin
    settle(loaded.model, model, folder)
    assert loaded.model.peft_config["default"].base_model_name_or_path == "unsloth/its-bnb-4bit"
    trained = {name: one for name, one in loaded.model.named_parameters() if one.requires_grad}
    saved = load_file(folder / "adapter_model.safetensors")
    assert len(trained) == len(saved) == 16
    assert all(one.equal(saved[name.replace(".default", "")]) for name, one in trained.items())


def test_an_adapter_that_its_base_has_no_place_for_is_refused(tmp_path, starter):
    folder = write_adapter(tmp_path / "sft", starter)
    model = ModelSettings(name="starter", adapter=str(folder), load_in_4bit=False, backend="transformers")
    assert load_model(model, "transformers").notes[-1] == f"continues the adapter `{folder}`"
    file = folder / "adapter_model.safetensors"
    weights = load_file(file)
    save_file({name: one for name, one in weights.items() if "layers.3" not in name}, file)
    with pytest.raises(UsageError, match=r"`starter`: 0 of its 12 matrices have no place there, 4 are missing"):
        load_model(model, "transformers")
    save_file({name: one[:, :2].contiguous() for name, one in weights.items()}, file)
    with pytest.raises(UsageError, match=r"does not fit `model\.name` `starter`") as caught:
        load_model(model, "transformers")
    assert "adapter_config.json" in caught.value.hint
