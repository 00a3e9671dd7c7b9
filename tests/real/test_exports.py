"""Exports of a real model, loaded by llama.cpp, as its packages bring it.

uv run --group real --extra export pytest -m real tests/real/test_exports.py
"""

import pytest

from gspo_lite.export import llama_cpp
from gspo_lite.export import round_trip as exporting
from gspo_lite.export.forms import Options
from gspo_lite.models import smollm2
from tests.real.conftest import PROMPTS

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(smollm2.packaged_file() is None, reason="needs `uv run --group real`"),
]


def needs(*tools):
    missing = [tool for tool in tools if not llama_cpp.at_hand(tool)]
    return pytest.mark.skipif(bool(missing), reason=f"needs `uv run --extra export`: no {', '.join(missing)}")


needs_llama_cpp = needs(llama_cpp.CONVERTER, llama_cpp.LORA_CONVERTER, llama_cpp.SERVER)
needs_quantizer = needs(llama_cpp.QUANTIZER)  # whose package wants glibc 2.38


@needs_llama_cpp
@pytest.mark.parametrize("form", ["gguf", "gguf-lora"])
def test_llama_cpp_answers_as_the_adapter_does(trained, tmp_path, form):
    result = exporting.export(trained, form, tmp_path / "out", Options(prompts=PROMPTS))
    assert result.asked_by == "llama.cpp"
    assert result.round_trip.agreement >= 0.95, exporting.in_words(result.round_trip)
    assert result.round_trip.adapter_accuracy > 0.1  # the base alone has 0.025
    assert 'TEMPLATE """{{ if .System }}<|im_start|>system\n' in (tmp_path / "out" / "Modelfile").read_text()


@needs_llama_cpp
@needs_quantizer
@pytest.mark.parametrize(("outtype", "largest"), [("q5_k_m", 0.45), ("q4_k_m", 0.42)])
def test_weights_of_few_bits_are_smaller_and_are_asked(trained, tmp_path, outtype, largest):
    result = exporting.export(trained, "gguf", tmp_path / "out", Options(outtype=outtype, prompts=PROMPTS))
    assert result.asked_by == "llama.cpp"
    weights = 2 * 134.5e6  # bytes in 16 bits
    assert (tmp_path / "out" / "model.gguf").stat().st_size < largest * weights
