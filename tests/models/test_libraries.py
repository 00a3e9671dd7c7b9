"""What a run's process imports, what stays hidden from it, and that nothing stays switched off."""

import gc
import subprocess
import sys

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.models.libraries import collector_paused, hide, import_libraries, unused_libraries

PROBE = """
import gc, sys
from gspo_lite.models.libraries import import_libraries
import_libraries(("transformers", "peft"), ("wandb", "torchao"))
import torch
from importlib.util import find_spec
loaded = [name for name in ("wandb", "torchao", "torch._inductor.compile_fx") if sys.modules.get(name)]
assert not loaded, loaded
assert find_spec("wandb") is None  # TRL looks again whenever it saves
assert gc.isenabled()
assert torch.compile.__module__ == "torch"
assert "bitsandbytes" in sys.modules
print("done")
"""


@pytest.mark.slow
def test_a_run_imports_no_tracker_no_torchao_and_no_compiler_and_what_it_switched_off_is_on_again():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr


def test_a_library_is_unused_where_neither_recipe_nor_model_mentions_it(tmp_path):
    def of(*words):
        return unused_libraries(load_recipe("quickstart", words).recipe)

    assert of() == ["torchao", "wandb"]
    assert of("output.report_to=[wandb]") == ["torchao"]
    assert of("model.name=some/model") == ["wandb"]  # whatever is in it
    eight = ("model.backend=auto", "model.dtype=auto", "model.load_in_4bit=false", "model.load_in_fp8=true")
    assert of(*eight) == ["wandb"]
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "torchao"}}')
    assert unused_libraries(with_model(tmp_path)) == ["wandb"]
    (tmp_path / "config.json").write_text("{}")
    assert unused_libraries(with_model(tmp_path)) == ["torchao", "wandb"]


def with_model(folder):
    recipe = load_recipe("quickstart").recipe
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": str(folder)})})


def test_what_is_hidden_cannot_be_had_and_what_is_loaded_stays(monkeypatch):
    import json

    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    hide(["json", "no_such_library"])
    assert sys.modules["json"] is json
    assert sys.modules["no_such_library"] is None


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()


def test_a_process_that_has_transformers_is_left_as_it_is():
    import transformers  # noqa: F401

    import_libraries(["no_such_module"])
