"""A short run of a real model, made once by each process that tests its exports."""

import pytest

from gspo_lite.checked_recipe import load_recipe

PROMPTS = 20


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run whose adapter is far from its base after a few large steps."""
    from gspo_lite.run import run

    folder = tmp_path_factory.mktemp("exports") / "real run"
    settings = ["training.max_steps=4", "training.learning_rate=0.001", f"data.eval.limit={PROMPTS}"]
    run(load_recipe("smollm2_json", settings, output=str(folder)).recipe)
    return folder
