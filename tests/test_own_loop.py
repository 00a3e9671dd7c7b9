import importlib.util
from pathlib import Path

import torch

PATH = Path(__file__).parent.parent / "docs" / "own_loop.py"


def own_loop():
    specification = importlib.util.spec_from_file_location("own_loop", PATH)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def loaded(starter):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(starter), AutoTokenizer.from_pretrained(starter)


def test_the_hand_written_loop_learns(starter):
    torch.manual_seed(0)
    rewards = own_loop().train(*loaded(starter), ["What is 12 + 13?", "What is 27 + 35?", "What is 58 + 29?"])
    assert sum(rewards[-3:]) / 3 > rewards[0] + 0.15  # 0.3 to 0.4 more, over three seeds


def test_token_advantages_are_used_where_a_batch_brings_them(starter, monkeypatch):
    loop = own_loop()
    plain = loop.rollout

    def with_token_advantages(*args):
        batch = plain(*args)
        return {**batch, "token_advantages": torch.zeros(batch["input_ids"].shape)}

    monkeypatch.setattr(loop, "rollout", with_token_advantages)
    monkeypatch.setattr(loop, "STEPS", 1)
    model, tokenizer = loaded(starter)
    before = [p.clone() for p in model.parameters()]
    monkeypatch.setattr(torch.optim, "AdamW", torch.optim.SGD)
    loop.train(model, tokenizer, ["What is 12 + 13?"])
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))  # advantage 0: no gradient


def test_the_example_stays_short():
    code = [line for line in PATH.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(code) < 60
