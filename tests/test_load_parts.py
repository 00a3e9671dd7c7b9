"""What is refused or said when the parts of a run are put together."""

import pytest

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.errors import MachineError
from gspo_lite.load_parts import load_parts


def parts_of(monkeypatch, backend, *overrides):
    monkeypatch.setattr("gspo_lite.load_parts.choose_backend", lambda settings: backend)
    return load_parts(load_recipe("quickstart", ["model.backend=auto", *overrides]).recipe)


def test_8_bit_floating_point_is_refused_before_a_model_is_loaded(monkeypatch):
    monkeypatch.setattr("gspo_lite.load_parts.load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    with pytest.raises(MachineError, match=r"`model\.load_in_fp8` cannot work here: it needs a CUDA GPU"):
        parts_of(monkeypatch, "unsloth", "model.dtype=auto", "model.load_in_4bit=false", "model.load_in_fp8=true")


def test_a_key_that_the_engine_does_not_heed_is_said(monkeypatch, starter):
    found = parts_of(monkeypatch, "transformers", "generation.engine=auto", "model.vllm_standby=true")
    assert "model.vllm_standby has no effect without vLLM inside Unsloth" in found.loaded.notes
