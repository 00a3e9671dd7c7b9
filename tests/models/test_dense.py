"""Sampling through plain weights answers as the layers do, and leaves them as they were."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from gspo_lite.models import dense
from gspo_lite.models.dense import dense_for_sampling


class Small(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.proj = layer

    def forward(self, x):
        return self.proj(x)


def adapted(layer=None, **lora):
    torch.manual_seed(0)
    model = get_peft_model(Small(layer or nn.Linear(64, 128)), LoraConfig(r=4, target_modules=["proj"], **lora))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return model


def four_bit():
    from bitsandbytes.nn import Linear4bit

    layer = Linear4bit(64, 128, compute_dtype=torch.float32, quant_type="nf4")
    return layer.to("cpu")


@pytest.mark.parametrize("layer", [lambda: nn.Linear(64, 128), four_bit])
def test_folded_layers_answer_alike_and_are_put_back(layer):
    model, x = adapted(layer()), torch.randn(3, 64)
    before = model(x)
    with dense_for_sampling(model) as count:
        assert count == 1
        inside = model(x)
    assert torch.allclose(inside, before, rtol=1e-5, atol=1e-5)
    assert not torch.equal(inside, before)  # it took the other way
    assert torch.equal(model(x), before)


def test_layers_are_put_back_after_an_error():
    model = adapted()
    with pytest.raises(RuntimeError), dense_for_sampling(model):
        raise RuntimeError
    assert "forward" not in vars(model.base_model.model.proj)


@pytest.mark.parametrize("options", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_an_adapter_that_is_more_than_a_matrix_is_left_alone(options):
    with dense_for_sampling(adapted(**options)) as count:
        assert count == 0


def test_a_disabled_adapter_and_narrow_digits_are_left_alone():
    model = adapted()
    with model.disable_adapter(), dense_for_sampling(model) as count:
        assert count == 0
    with dense_for_sampling(model.to(torch.bfloat16)) as count:
        assert count == 0


def test_weights_beyond_the_limit_are_left_alone(monkeypatch):
    monkeypatch.setattr(dense, "LARGEST", 4 * 64 * 128 - 1)
    with dense_for_sampling(adapted()) as count:
        assert count == 0
    monkeypatch.setattr(dense, "LARGEST", 4 * 64 * 128)
    with dense_for_sampling(adapted()) as count:
        assert count == 1


def test_a_model_without_adapter_is_left_alone():
    with dense_for_sampling(nn.Linear(2, 2)) as count:
        assert count == 0
