import pytest

from gspo_lite.models.names import hub_id


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Qwen/Qwen3-4B", "Qwen/Qwen3-4B"),
        ("gpt2", "gpt2"),
        ("smollm2", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("starter", None),
        ("here/model", None),
        ("./model", None),
        ("~/model", None),
        ("/models/base", None),
        ("models/base.gguf", None),
        ("a/b/c", None),
        ("not a name", None),
    ],
)
def test_a_model_of_this_machine_has_no_hub_id(tmp_path, monkeypatch, name, found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "model").mkdir(parents=True)
    assert hub_id(name) == found
