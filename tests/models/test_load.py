import pytest
import torch

from gspo_lite.errors import MachineError, UsageError
from gspo_lite.models.engines import choose_engine
from gspo_lite.models.load import choose_backend, load_for_evaluation, load_model
from gspo_lite.recipe.schema import ModelSettings
from tests.models.tiny_models import write_text_model


def settings(**options):
    return ModelSettings(**{"name": "starter", "backend": "transformers", "dtype": "float32", **options})


def gradient(model, ids):
    model.zero_grad()
    logits = model(input_ids=ids).logits
    (logits * torch.linspace(-1, 1, logits.shape[-1])).mean().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])


def with_weights_of(quantized, plain):
    """The plain model with the 4-bit model's weights, written out, and its adapter."""
    import bitsandbytes

    layers = dict(quantized.named_modules())
    for name, module in plain.named_modules():
        if name.endswith("base_layer"):
            weight = layers[name].weight
            module.weight.data.copy_(bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state))
    torch.manual_seed(0)
    for first, second in zip(quantized.parameters(), plain.parameters(), strict=True):
        if first.requires_grad:
            first.data.copy_(torch.randn_like(first) * 0.05)
            second.data.copy_(first.data)
    return plain


def test_gradients_through_4_bit_weights_stay_right_after_an_evaluation(starter):
    quantized = load_model(settings(load_in_4bit=True), "transformers").model
    plain = with_weights_of(quantized, load_model(settings(load_in_4bit=False), "transformers").model)
    ids = torch.randint(5, 200, (4, 12), generator=torch.Generator().manual_seed(0))
    quantized.eval()
    with torch.no_grad():
        quantized.generate(input_ids=ids, max_new_tokens=2)
    quantized.train()
    plain.train()
    wanted, found = gradient(plain, ids), gradient(quantized, ids)
    assert wanted.norm() > 0
    assert (found - wanted).norm() / wanted.norm() < 1e-4


def test_the_adapter_is_the_same_for_the_same_seed(starter):
    first, second, third = (load_model(settings(load_in_4bit=False), "transformers", seed=seed) for seed in (0, 0, 1))
    weights = [
        torch.cat([p.flatten() for p in one.model.parameters() if p.requires_grad]) for one in (first, second, third)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_what_was_loaded_is_said_in_one_line(starter):
    notes = load_model(settings(load_in_4bit=True, lora={"rank": 8, "alpha": 8}), "transformers").notes
    assert notes == [
        "transformers with PEFT, 4-bit NF4, 0.9M parameters of which 0.08M are trained",
        "its chat template leaves system messages out",
    ]


def test_bitsandbytes_that_does_not_work_is_said_plainly(starter, monkeypatch):
    monkeypatch.setattr("gspo_lite.models.weights.bitsandbytes_works", lambda: False)
    loaded = load_model(settings(load_in_4bit=True), "transformers")
    assert any("loaded unquantized" in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("./nowhere", UsageError, "there is no folder `./nowhere`"),
        ("no_such/model", MachineError, "is not on this machine and the hub cannot be reached"),
    ],
)
def test_a_model_that_is_not_there_is_named(name, error, says):
    with pytest.raises(error, match=says):
        load_for_evaluation(settings(name=name), None)


def test_a_folder_without_a_model_or_with_a_broken_one_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"without `config.json`"):
        load_for_evaluation(settings(name=str(tmp_path)), None)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_for_evaluation(settings(name=str(tmp_path)), None)


def test_a_backend_or_engine_that_cannot_run_is_refused_when_asked_for(monkeypatch):
    monkeypatch.setattr("gspo_lite.models.load.find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"`model\.backend: unsloth` cannot run here"):
        choose_backend(settings(backend="unsloth"))
    assert choose_backend(settings(backend="auto")) == "transformers"
    if not torch.cuda.is_available():
        with pytest.raises(MachineError, match="needs a CUDA GPU"):
            choose_engine("vllm", settings(load_in_4bit=False), "transformers")
        assert choose_engine("auto", settings(), "transformers").name == "transformers"


def test_experts_that_stay_wide_under_4_bit_are_said(tmp_path, starter):
    mixture = load_model(settings(name=str(write_text_model("qwen3_moe", tmp_path / "moe"))), "transformers")
    # 2 layers of 4 experts of 3 x 64 x 64 and a router of 4 x 64 against 4 x 64 x 64 of attention: 75 percent
    assert "75% of the layers' weights stay float32, not 4-bit" in mixture.notes
    assert not any("stay" in note for note in load_model(settings(), "transformers").notes)
