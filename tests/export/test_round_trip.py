"""Exports of a trained adapter, each proven by asking what was written."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.cli import main
from gspo_lite.errors import MachineError, RunError, UsageError
from gspo_lite.export import forms, llama_cpp, merge
from gspo_lite.export import round_trip as exporting
from gspo_lite.export.asking import Reference
from gspo_lite.export.forms import Options
from gspo_lite.models.generate import Answer, Played
from gspo_lite.recipe.schema import ModelSettings

SEEN = "<answer>{}</answer>"


def rows(count):
    return [{"prompt": "?", "answer": str(number)} for number in range(count)]


def answers(*numbers):
    return [Answer(SEEN.format(number), [number]) for number in numbers]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, starter):
    """A run folder whose adapter has learned on a 4-bit base; with fewer steps more answers are near to a tie."""
    from gspo_lite.run import run

    folder = tmp_path_factory.mktemp("export") / "run"
    settings = ["training.max_steps=80", "data.eval.limit=200"]
    run(load_recipe("quickstart", settings, output=str(folder), allow_outside=True).recipe)
    return folder


def test_agreement_is_about_the_final_answer_and_identity_about_tokens():
    reference = [*answers(0, 1, 2), Answer("no answer", [7])]
    found = [Answer("<think>x</think>" + SEEN.format(0), [9]), *answers(1, 5), Answer("nothing at all", [8])]
    result = exporting.compared(Played(reference), Played(found), rows(4), load_recipe("quickstart").recipe)
    # the same answers: 0 and 1 of 4; the same tokens: 1 of 4; right: 0, 1, 2 and 0, 1
    assert (result.agreement, result.identical) == (0.5, 0.25)
    assert (result.adapter_accuracy, result.export_accuracy) == (0.75, 0.5)
    # no box anywhere, so nothing is right, and texts stand for answers
    boxed = exporting.compared(
        Played(reference), Played(found), rows(4), load_recipe("quickstart", ["data.prompt=boxed"]).recipe
    )
    assert (boxed.adapter_accuracy, boxed.export_accuracy, boxed.agreement) == (0.0, 0.0, 0.25)


@pytest.mark.parametrize(
    ("agreement", "accuracy", "faithful"),
    [(0.96, 0.79, True), (0.94, 0.80, False), (0.96, 0.78, True), (0.96, 0.77, False), (0.96, 0.85, True)],
)
def test_too_little_agreement_or_a_drop_of_accuracy_is_no_faithful_export(agreement, accuracy, faithful):
    result = exporting.RoundTrip(100, 0.80, accuracy, agreement, agreement)
    assert result.faithful(0.95) is faithful


def test_an_exported_checkpoint_leaves_behind_what_only_resuming_needs(tmp_path):
    checkpoint = tmp_path / "checkpoint-4"
    checkpoint.mkdir()
    kept = ["adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer.json"]
    left = ["gspo_state.json", "manifest.json", "optimizer.pt", "rng_state.pth", "rollout.safetensors", "scheduler.pt"]
    for name in (*kept, *left, "trainer_state.json"):
        (checkpoint / name).write_text(name)
    forms.write_adapter(load_recipe("quickstart").recipe, checkpoint, tmp_path / "out", Options())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == kept


@pytest.mark.slow
@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_what_was_written_answers_200_prompts_as_the_adapter_does(trained, tmp_path, form):
    result = exporting.export(trained, form, tmp_path / "out")
    assert result.round_trip.n == 200
    assert result.round_trip.agreement >= 0.99
    figures = json.loads((tmp_path / "out" / "export.json").read_text())
    assert figures["faithful"] is True
    assert figures["round_trip"]["agreement"] == result.round_trip.agreement


@pytest.mark.parametrize(
    ("computed", "written"), [("bfloat16", "bfloat16"), ("float16", "float16"), ("float32", "float16")]
)
def test_weights_are_written_in_the_16_bits_that_lose_least(computed, written):
    assert merge.written_dtype(ModelSettings(name="starter", dtype=computed)) == written


@pytest.mark.slow
def test_merged_weights_are_16_bit_and_ordinary(trained, tmp_path):
    from safetensors.torch import load_file

    exporting.export(trained, "merged", tmp_path / "out", Options(prompts=8, least_agreement=0.0))
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {"torch.float16"}
    assert not any("lora" in name or "quant" in name for name in weights)
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())


@pytest.mark.slow
def test_the_base_of_a_4_bit_run_is_its_nf4_weights_and_not_the_published_ones(trained, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    from gspo_lite.models.load import load_base
    from gspo_lite.models.names import resolve_name

    settings = ModelSettings(name="starter", dtype="float32", load_in_4bit=True)
    folder = resolve_name("starter")
    quantized = merge.widened(load_base(folder, settings)[0])
    published = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for base, model, other in (("trained", quantized, published), ("original", published, quantized)):
        merge.merge(settings, trained / "adapter", tmp_path / base, base=base, dtype="float32")
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / base)
        # the adapter adds rank 32 of 128: what remains of the difference to the right base has no higher rank
        name = "model.layers.0.self_attn.q_proj.weight"
        ranks = [
            torch.linalg.matrix_rank(merged.get_parameter(name) - one.get_parameter(name), rtol=1e-4)
            for one in (model, other)
        ]
        assert ranks[0] <= 32 < ranks[1]


@pytest.mark.slow
def test_a_broken_merge_is_caught(trained, tmp_path, monkeypatch):
    right = merge.widened

    def half_lost(model):
        model = right(model)
        model.get_input_embeddings().weight.data[::2] = 0
        return model

    monkeypatch.setattr(merge, "widened", half_lost)
    with pytest.raises(RunError, match=r"merged export does not answer as the adapter does: accuracy .* is kept"):
        exporting.export(trained, "merged", tmp_path / "out", Options(prompts=50))
    assert json.loads((tmp_path / "out" / "export.json").read_text())["faithful"] is False


@pytest.mark.slow
def test_a_merge_that_forgets_the_adapter_is_caught(trained, tmp_path, monkeypatch):
    from peft import LoraModel

    monkeypatch.setattr(LoraModel, "merge_and_unload", lambda self, **options: self.unload())
    with pytest.raises(RunError, match="does not answer as the adapter does"):
        exporting.export(trained, "merged", tmp_path / "out", Options(prompts=100))


def test_the_base_that_unsloth_quantized_beforehand_is_the_one_trained_on(tmp_path):
    config = tmp_path / "adapter_config.json"
    settings = ModelSettings(name="Qwen/Qwen3-4B")
    config.write_text('{"base_model_name_or_path": "unsloth/qwen3-4b-unsloth-bnb-4bit"}')
    assert merge.as_trained(settings, tmp_path).name == "unsloth/qwen3-4b-unsloth-bnb-4bit"
    config.write_text('{"base_model_name_or_path": "Qwen/Qwen3-4B"}')
    assert merge.as_trained(settings, tmp_path).name == "Qwen/Qwen3-4B"
    config.write_text("{")
    with pytest.raises(UsageError, match="no adapter that can be read"):
        merge.as_trained(settings, tmp_path)


def test_what_cannot_be_exported_is_refused_before_anything_slow(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gspo-lite", "export", str(tmp_path), "--to", "merged"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "is not a run folder" in capsys.readouterr().err
    (tmp_path / "something").touch()
    with pytest.raises(UsageError, match="already in use"):
        exporting.empty_folder(tmp_path)


@pytest.mark.parametrize(
    ("form", "files"),
    [
        ("gguf", ["FROM ./model.gguf"]),
        ("gguf-lora", ["FROM ./base.gguf", "ADAPTER ./adapter.gguf"]),
    ],
)
def test_a_modelfile_lies_beside_gguf_files_or_its_absence_is_said(tmp_path, monkeypatch, capsys, form, files):
    reference = Reference(Played([]), "tokenizer", None, {2})
    asked = []
    monkeypatch.setattr(exporting, "modelfile", lambda *words: asked.append(words) or "FROM x\n")
    exporting.leave_beside(form, tmp_path, reference, "Be brief.", "recipe")
    assert asked == [("tokenizer", {2}, "Be brief.", "recipe", files)]
    assert (tmp_path / "Modelfile").read_text() == "FROM x\n"
    monkeypatch.setattr(exporting, "modelfile", lambda *words: None)
    exporting.leave_beside(form, tmp_path, reference, None, "recipe")
    assert "note     no Modelfile" in capsys.readouterr().err


def test_an_adapter_takes_its_end_tokens_along(tmp_path):
    config = SimpleNamespace(to_json_file=lambda path: Path(path).write_text('{"eos_token_id": [1, 2]}'))
    reference = Reference(Played([]), "tokenizer", config, {1, 2})
    exporting.leave_beside("adapter", tmp_path, reference, None, "recipe")
    assert list(tmp_path.iterdir()) == []  # every weight was trained: the model brings its own
    (tmp_path / "adapter_config.json").write_text("{}")
    exporting.leave_beside("adapter", tmp_path, reference, None, "recipe")
    assert (tmp_path / "generation_config.json").read_text() == '{"eos_token_id": [1, 2]}'


@pytest.mark.parametrize(
    ("recorded", "said"),
    [({"system_message": "Be brief."}, "Be brief."), ({"system_message": ""}, None), ({}, "of the recipe")],
)
def test_the_system_message_is_that_of_the_training(tmp_path, recorded, said):
    (tmp_path / "environment.json").write_text(json.dumps(recorded))
    recipe = load_recipe("quickstart", ["data.system_prompt=of the recipe"]).recipe
    assert exporting.system_of(tmp_path, recipe) == said


def test_an_export_tells_its_figures_and_the_lines_that_use_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    figures = exporting.RoundTrip(100, 0.8, 0.79, 0.99, 0.5)
    lines = ["llama-server --jinja"]
    result = exporting.Export(Path("out"), "gguf", "out: written", figures, "llama.cpp", lines, 'Say "hi".')
    assert list(exporting.told(result)) == [
        "out: written",
        "accuracy 79.0% (adapter 80.0%), the same answer to 99.0% of 100 prompts, token for token to 50.0%, "
        "read by llama.cpp",
        "\nllama-server: a chat page and an OpenAI API at http://127.0.0.1:8080; not on this machine yet: "
        "https://github.com/ggml-org/llama.cpp/releases",
        "  llama-server --jinja",
        '\nthe training had the system message "Say \\"hi\\"."; send it to llama-server and vLLM with each chat',
    ]


@pytest.mark.parametrize("outtype", ["f16", "q4_k_m"])
def test_weights_of_few_bits_that_answer_otherwise_only_cause_a_warning(outtype, capsys):
    figures = exporting.RoundTrip(100, 0.8, 0.7, 0.9, 0.5)
    result = exporting.Export(Path("out"), "gguf", "written", figures, "llama.cpp", [], None)
    options = Options(outtype=outtype)
    if outtype == "f16":
        with pytest.raises(RunError, match="required are 95% equal answers"):
            exporting.refuse_unfaithful(result, options)
    else:
        exporting.refuse_unfaithful(result, options)
        assert "warning: q4_k_m changes the model: accuracy 70.0%" in capsys.readouterr().err
        with pytest.raises(RunError, match="required are 92% equal answers"):
            exporting.refuse_unfaithful(result, Options(outtype=outtype, least_agreement=0.92))


@pytest.fixture
def adapter(tmp_path, monkeypatch):
    """An adapter folder, on a machine with every tool of llama.cpp."""
    monkeypatch.setattr(llama_cpp, "find", lambda tool: [tool])
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    return tmp_path


@pytest.mark.parametrize("key", ["use_dora", "use_rslora", "modules_to_save", "alpha_pattern"])
def test_what_a_lora_in_gguf_cannot_hold_is_refused(adapter, key):
    forms.refuse_unwritable("gguf-lora", adapter, Options(), texts=True)
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 8, key: {"q_proj": 4}}))
    with pytest.raises(UsageError, match=f"`{key}`, which GGUF cannot hold\nhint: export --to gguf instead"):
        forms.refuse_unwritable("gguf-lora", adapter, Options(), texts=True)
    forms.refuse_unwritable("gguf", adapter, Options(), texts=True)


def test_a_lora_in_gguf_needs_an_adapter_and_single_texts(adapter):
    with pytest.raises(UsageError, match="cannot be asked with images or tools"):
        forms.refuse_unwritable("gguf-lora", adapter, Options(), texts=False)
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(UsageError, match="every weight was trained"):
        forms.refuse_unwritable("gguf-lora", adapter, Options(), texts=True)


@pytest.mark.parametrize(
    ("form", "outtype", "tools"),
    [
        ("merged", "f16", []),
        ("gguf", "q8_0", [llama_cpp.CONVERTER]),
        ("gguf", "q5_k_m", [llama_cpp.CONVERTER, llama_cpp.QUANTIZER]),
        ("gguf-lora", "f16", [llama_cpp.CONVERTER, llama_cpp.LORA_CONVERTER, llama_cpp.SERVER]),
    ],
)
def test_every_tool_of_a_form_is_looked_for_before_anything_slow(adapter, monkeypatch, form, outtype, tools):
    asked = []
    monkeypatch.setattr(llama_cpp, "find", lambda tool: asked.append(tool) or [tool])
    monkeypatch.setattr(llama_cpp, "at_hand", lambda tool: True)
    forms.refuse_unwritable(form, adapter, Options(outtype=outtype), texts=True)
    assert asked == tools


def test_a_gguf_file_that_nothing_could_read_back_is_not_written(adapter, monkeypatch):
    monkeypatch.setattr(llama_cpp, "at_hand", lambda tool: False)
    monkeypatch.setattr(forms, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match="pip install gguf"):
        forms.refuse_unwritable("gguf", adapter, Options(), texts=True)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gguf") is None, reason="needs the package gguf")
def test_a_gguf_file_answers_as_the_adapter_does(trained, tmp_path, monkeypatch):
    """llama.cpp knows no tokenizer like the starter's: another writer stands in, and transformers reads the file."""
    monkeypatch.setenv("LLAMA_CPP", str(Path(__file__).parent.parent / "models" / "gguf_writer"))
    monkeypatch.setattr(llama_cpp, "at_hand", lambda tool: False)
    result = exporting.export(trained, "gguf", tmp_path / "out", Options())
    assert result.asked_by == "transformers"
    assert result.round_trip.agreement >= 0.99
