"""Rows with images: those without an advantage are left out, with the gradients of all rows."""

import json

import pytest
import torch

from gspo_lite import load_recipe
from gspo_lite.data.sources import load_problems
from gspo_lite.models.load import load_model
from gspo_lite.recipe.schema import ModelSettings
from gspo_lite.training.config import GSPOConfig
from gspo_lite.training.trainer import GSPOTrainer
from tests.models.tiny_models import write_vision_model
from tests.training.test_rows import Gradients
from tests.unsloth.patched_trainer import BASE


def reward(completions, answer, **columns):
    """Nothing to tell apart for every other problem, so that its group is flat."""
    lengths = [len(one[0]["content"]) + 0.01 * place**2 for place, one in enumerate(completions)]
    return [length if int(number) % 2 else 1.0 for length, number in zip(lengths, answer, strict=True)]


def trained(tmp_path, lean, seen):
    loaded = load_model(ModelSettings(name=str(tmp_path / "vision"), load_in_4bit=False, dtype="float32"),
                        "transformers", images=True)  # fmt: skip
    recipe = load_recipe("geometry_vlm", [f"data.source={tmp_path}/pictures.jsonl", "data.eval.limit=2"]).recipe
    options = {**BASE, "num_iterations": 2, "max_steps": 10, "optim": "sgd", "learning_rate": 0.5, "max_grad_norm": 1e9}
    gradients = Gradients()
    torch.manual_seed(0)
    trainer = GSPOTrainer(
        loaded.model, [reward], GSPOConfig(output_dir=str(tmp_path / "out"), **options),
        load_problems(recipe.data).train, processing_class=loaded.processing_class, callbacks=[gradients],
    )  # fmt: skip
    if not lean:
        trainer.row_rules = None
    exact = trainer._get_per_token_logps_and_entropies

    def watched(model, ids, *args, **kwargs):
        if not trainer._placeholder_due:
            seen.append((torch.is_grad_enabled(), len(ids), len(kwargs["pixel_values"])))
        return exact(model, ids, *args, **kwargs)

    trainer._get_per_token_logps_and_entropies = watched
    trainer.train()
    return gradients.seen


@pytest.mark.slow
def test_images_stay_with_the_rows_that_are_computed(tmp_path):
    from PIL import Image

    rows = []
    for number in range(18):
        Image.new("RGB", (56 + 28 * (number % 3), 56), (12 * number, 90, 200)).save(tmp_path / f"{number}.png")
        rows.append({"images": [f"{number}.png"], "problem": "<image>How red?", "answer": str(number)})
    (tmp_path / "pictures.jsonl").write_text("\n".join(map(json.dumps, rows)))
    torch.manual_seed(0)
    write_vision_model(tmp_path / "vision")
    every, some = [], []
    wanted, found = trained(tmp_path, False, every), trained(tmp_path, True, some)
    assert len(found) == len(wanted) == 10
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm() + 1e-9
    assert max(gradient.norm() for gradient in wanted) > 0
    computed = [sum(rows for gradient, rows, _ in of if gradient) for of in (some, every)]
    assert computed[0] < 0.75 * computed[1]
    # No old log-probs before the first step on the second rollout.
    assert sum(rows for gradient, rows, _ in some if not gradient) < computed[0]
