"""Every kind of model trains through the recipe path, by GSPO and by GSPO-token: random models, a few steps each."""

import json

import pytest
import torch

from gspo_lite import load_recipe
from gspo_lite.errors import MachineError, UsageError
from gspo_lite.models.kinds import never_sampled
from gspo_lite.recipe.schema import ModelSettings
from gspo_lite.run import run
from tests.models.tiny_models import VISION_TOKENS, write_text_model, write_vision_model

REWARD = """
def digits(completions, **columns):
    texts = [completion[0]["content"] for completion in completions]
    return [sum(character.isdigit() for character in text) / (len(text) + 1) for text in texts]
"""
STEPS = 4
QUICK = [
    "model.backend=transformers", "model.dtype=float32", f"training.max_steps={STEPS}",
    "training.per_device_train_batch_size=8", "training.gradient_accumulation_steps=1",
    "training.steps_per_generation=4", "training.learning_rate=2.0e-3", "training.warmup_steps=0",
    "generation.num_generations=4", "generation.max_completion_length=16", "data.limit=16", "data.eval.limit=4",
]  # fmt: skip
ALGORITHMS = {"gspo": [], "gspo_token": ["objective.algorithm=gspo_token"]}


@pytest.fixture
def train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.py").write_text(REWARD)

    def trained(recipe, model, algorithm, *overrides):
        credit = ", credit: {tail: 4}" if algorithm == "gspo_token" else ""
        reward = f"rewards=[{{name: 'digits.py:digits'{credit}}}]"
        settings = [*QUICK, *ALGORITHMS[algorithm], reward, f"model.name={model}", *overrides]
        folder = run(load_recipe(recipe, settings, output="out").recipe).folder
        return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]

    return trained


def moved(steps):
    """Whether the first step had a gradient and later ones a policy that had left the one it sampled with."""
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
    assert steps[0]["grad_norm"] > 0
    assert all(step["grad_norm"] < float("inf") for step in steps)  # 0 where the clip cuts all of a batch
    assert steps[0]["gspo/on_policy_share"] == 1.0 or steps[0]["gspo/log_ratio_std"] < 1e-6
    assert all(step["gspo/log_ratio_std"] > 1e-6 for step in steps[1:])
    return True


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", ["qwen3", "llama", "gemma3"])
def test_dense_models_train(kind, algorithm, tmp_path, train):
    model = write_text_model(kind, tmp_path / kind)
    steps = train("quickstart", model, algorithm)
    assert moved(steps)
    assert "aux_loss" not in steps[-1]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", ["qwen3_moe", "gpt_oss"])
def test_mixtures_of_experts_train_with_their_auxiliary_loss(kind, algorithm, tmp_path, train):
    model = write_text_model(kind, tmp_path / kind)
    questions = [f'{{"question": "What is {n} + 2?", "answer": "#### {n + 2}"}}' for n in range(24)]
    (tmp_path / "sums.jsonl").write_text("\n".join(questions))
    steps = train("gsm8k_moe", model, algorithm, "data.source=sums.jsonl")
    assert moved(steps)
    assert all(step["aux_loss"] > 0 for step in steps)


@pytest.fixture
def pictures(tmp_path):
    """Rows with a drawing each, named by a path beside the file; half of them ask the same."""
    from PIL import Image

    rows = []
    for n in range(20):
        Image.new("RGB", (60, 48), (12 * n, 90, 255 - 12 * n)).save(tmp_path / f"{n}.png")
        rows.append({"images": [f"{n}.png"], "problem": "<image>How red?", "answer": str(12 * n)})
    (tmp_path / "pictures.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_model_that_sees_trains_on_images(algorithm, tmp_path, train, pictures):
    model = write_vision_model(tmp_path / "vision")
    steps = train("geometry_vlm", model, algorithm, "data.source=pictures.jsonl", "model.load_in_4bit=false")
    assert moved(steps)
    prompts = [json.loads(line)["prompt"] for line in (tmp_path / "out" / "completions.jsonl").read_text().splitlines()]
    assert all("How red?" in json.dumps(prompt) for prompt in prompts)


def test_what_the_model_sees_changes_what_it_says(tmp_path, pictures):
    from gspo_lite.data.inputs import model_inputs
    from gspo_lite.data.sources import load_problems
    from gspo_lite.models.load import load_model
    from gspo_lite.recipe.schema import ModelSettings

    folder = write_vision_model(tmp_path / "vision")
    recipe = load_recipe("geometry_vlm", [f"data.source={tmp_path}/pictures.jsonl", "data.eval.limit=4"]).recipe
    rows = load_problems(recipe.data).train.select([0, 15])
    settings = ModelSettings(name=str(folder), load_in_4bit=False, dtype="float32")
    loaded = load_model(settings, "transformers", images=True)
    batch = model_inputs(loaded.processing_class, list(rows), {})
    with torch.no_grad():
        first, second = loaded.model(**batch).logits[:, -1]
    assert (first - second).abs().max() > 1e-4
    ids = loaded.processing_class.tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
    assert set(never_sampled(loaded.model, loaded.processing_class)) == {
        *ids,
        loaded.processing_class.tokenizer.pad_token_id,
    }


def test_images_take_the_backend_that_sees(monkeypatch):
    from gspo_lite.models.load import backend_with_images

    def backend_that_sees(wanted):
        return backend_with_images(ModelSettings(name="x", backend=wanted), "unsloth")

    assert backend_that_sees("auto") == "transformers"  # this machine has no GPU
    with pytest.raises(MachineError, match="needs a GPU to train on images"):
        backend_that_sees("unsloth")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert backend_that_sees("unsloth") == backend_that_sees("auto") == "unsloth"


def test_images_for_a_model_without_eyes_are_refused(tmp_path, monkeypatch, pictures, starter):
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("geometry_vlm", ["model.name=starter", "data.source=pictures.jsonl"], output="out").recipe
    with pytest.raises(UsageError, match=r"`starter` \(a qwen3\) does not take images"):
        run(recipe.model_copy(update={"model": recipe.model.model_copy(update={"backend": "transformers"})}))
    assert not (tmp_path / "out").exists()
