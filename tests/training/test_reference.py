"""The reference of a KL penalty is the adapter that training begins with, exactly, and again after a resume."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from gspo_lite import GSPOConfig, GSPOTrainer, load_recipe
from gspo_lite.models.load import load_model
from gspo_lite.run import run
from tests.models.tiny_models import write_adapter

PROMPTS = [f"What is {a} + 4?" for a in range(8)]
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, starter):
    return write_adapter(tmp_path_factory.mktemp("sft") / "adapter", starter)


def lengths(completions, **_):
    return [float(len(text) % 7) for text in completions]


def trainer_of(model, starter, folder, **options):
    args = GSPOConfig(
        output_dir=str(folder), per_device_train_batch_size=8, num_generations=4, steps_per_generation=2, beta=0.1,
        max_completion_length=12, learning_rate=1e-3, max_steps=4, save_steps=2, logging_steps=1, disable_tqdm=True,
        use_cpu=True, bf16=False, **options,
    )  # fmt: skip
    return GSPOTrainer(model, lengths, args, PROMPTS, processing_class=AutoTokenizer.from_pretrained(starter))


def loaded(adapter, starter):
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(starter), adapter, is_trainable=True)


def trained(model):
    return {name: one.detach().clone() for name, one in model.named_parameters() if one.requires_grad}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def log_probs(model, ids, mask, width):
    """Of the completions at temperature 1, (B, width)."""
    found = model(input_ids=ids, attention_mask=mask).logits[:, -width - 1 : -1].log_softmax(-1)
    return found.gather(-1, ids[:, -width:, None]).squeeze(-1)


def test_the_reference_is_the_loaded_adapter_and_not_the_base(adapter, starter, tmp_path):
    trainer = trainer_of(loaded(adapter, starter), starter, tmp_path)
    seen = []
    scored = trainer._generate_and_score_completions

    def watched(inputs):
        seen.append(scored(inputs))
        return seen[-1]

    trainer._generate_and_score_completions = watched
    trainer.train()
    first = seen[0]
    ids = torch.cat([first["prompt_ids"], first["completion_ids"]], dim=1)
    mask, width = torch.cat([first["prompt_mask"], first["completion_mask"]], dim=1), first["completion_ids"].shape[1]
    own = loaded(adapter, starter).eval()
    with torch.no_grad():
        expected = log_probs(own, ids, mask, width)
        with own.disable_adapter():
            base = log_probs(own, ids, mask, width)
    kept = first["completion_mask"].bool()
    assert torch.allclose(first["ref_per_token_logps"][kept], expected[kept], atol=1e-5)
    assert (base - expected)[kept].abs().max() > 0.1
    history = [row for row in trainer.state.log_history if "kl" in row]
    assert abs(history[0]["kl"]) < 1e-9
    assert history[-1]["kl"] > 1e-4


def test_a_resumed_run_with_a_kl_penalty_goes_on_from_its_checkpoint(adapter, starter, tmp_path):
    whole = trainer_of(loaded(adapter, starter), starter, tmp_path / "whole", save_total_limit=None)
    whole.train()
    assert not list(tmp_path.rglob("ref"))  # neither in a checkpoint nor in what is handed on
    cut = trainer_of(loaded(adapter, starter), starter, tmp_path / "cut")
    cut.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert equal(trained(whole.model), trained(cut.model))


def test_a_checkpoint_of_trl_with_a_reference_beside_the_weights_is_loaded_whole(adapter, starter, tmp_path):
    trainer = trainer_of(loaded(adapter, starter), starter, tmp_path / "run")
    for parameter in trained(trainer.model):
        trainer.model.get_parameter(parameter).data.add_(1.0)
    trainer.model.save_pretrained(tmp_path / "theirs")  # as stock TRL does
    assert (tmp_path / "theirs" / "ref" / WEIGHTS).is_file()
    moved = trained(trainer.model)
    for parameter in moved:
        trainer.model.get_parameter(parameter).data.zero_()
    trainer._load_from_checkpoint(str(tmp_path / "theirs"))
    assert equal(trained(trainer.model), moved)


def test_under_4_bit_weights_a_learned_adapter_keeps_its_digits(adapter, starter, tmp_path):
    recipe = load_recipe("quickstart", [f"model.adapter={adapter}", "model.lora={}"], allow_outside=True).recipe
    model = load_model(recipe.model, "transformers").model
    before = trained(model)
    trainer = trainer_of(model, starter, tmp_path)
    assert equal(before, trained(trainer.model))
    assert any((one != one.bfloat16().float()).any() for one in before.values())


WARMUP = "warmup={completion: '<answer>{answer}</answer>', max_steps: 2, learning_rate: 1.0e-3}"


@pytest.mark.parametrize("warmup", [[], [WARMUP]], ids=["loaded", "warmed up"])
def test_a_run_continues_an_adapter_and_records_it(adapter, starter, tmp_path, quick, warmup):
    settings = ["model.lora={}", "model.load_in_4bit=false", "objective.beta=0.1", *quick, *warmup]
    recipe = load_recipe(
        "quickstart", [f"model.name={adapter}", *settings], output=str(tmp_path / "run"), allow_outside=True
    ).recipe
    folder = run(recipe).folder
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert abs(rows[0]["kl"]) < 1e-9
    facts = json.loads((folder / "environment.json").read_text())
    assert list(facts["continued"]) == [str(adapter)]
    assert len(facts["continued"][str(adapter)]) == 64
    text = (folder / "recipe.yaml").read_text()
    assert f"adapter: {adapter}" in text
    assert "rank: 4" in text
    begun, ended = load_file(adapter / WEIGHTS), load_file(folder / "adapter" / WEIGHTS)
    assert begun.keys() == ended.keys()
    assert 0 < max(float((begun[name] - ended[name]).abs().max()) for name in begun) < 0.05
    assert json.loads((folder / "adapter" / "adapter_config.json").read_text())["r"] == 4
