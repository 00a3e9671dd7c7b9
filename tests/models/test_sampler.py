"""Sampling by rows: distribution, log-probs and tokens are those of transformers, to which it leaves the rest."""

import math
import types

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessor,
    LogitsProcessorList,
    Phi3Config,
    Phi3ForCausalLM,
    StoppingCriteria,
    StoppingCriteriaList,
)

from gspo_lite.models import sampler
from gspo_lite.models.sampler import sample, sampling_by_rows
from tests.models.tiny_models import write_text_model, write_vision_model

PAD, END, OTHER_END = 0, 5, 4
LONG, SHORT = [1, 2, 3, 3, 1], [2, 1]
DRAWN = {"do_sample": True, "max_new_tokens": 3, "pad_token_id": PAD, "eos_token_id": END, "top_k": 0}


@pytest.fixture(scope="module")
def model():
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=6, **size, pad_token_id=PAD, eos_token_id=END, bos_token_id=None)
    torch.manual_seed(5)
    found = LlamaForCausalLM(config).double().eval()
    with torch.no_grad():
        for weight in found.parameters():
            weight.mul_(4)  # so that probabilities are far from equal
    return found


def batch(*prompts):
    width = max(map(len, prompts))
    ids = [[PAD] * (width - len(one)) + one for one in prompts]
    mask = [[0] * (width - len(one)) + [1] * len(one) for one in prompts]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def completions(found, width):
    """Token ids without padding, which is never drawn."""
    return [tuple(token for token in row if token != PAD) for row in found.sequences[:, width:].tolist()]


def probabilities(scores, ids, rules):
    """The probabilities of the next token by the definitions of the rules, in transformers' order."""
    if "repetition_penalty" in rules:
        seen = torch.tensor(sorted(set(ids)))
        penalty = rules["repetition_penalty"]
        scores[seen] = torch.where(scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty)
    scores[rules.get("suppress_tokens", [])] = -math.inf
    scores = scores / rules.get("temperature", 1.0)
    if rules.get("top_k"):
        scores[scores < scores.sort().values[-rules["top_k"]]] = -math.inf
    if "top_p" in rules:
        order = scores.argsort(descending=True)
        before = scores.softmax(0)[order].cumsum(0) - scores.softmax(0)[order]
        scores[order[before >= rules["top_p"]]] = -math.inf
    if "min_p" in rules:
        scores[scores.softmax(0) < rules["min_p"] * scores.softmax(0).max()] = -math.inf
    return scores.softmax(0).tolist()


def exactly(model, prompt, rules, padding):
    """The probability of every completion of at most three tokens."""
    ends, found, open_ends = set(rules["eos_token_id"]), {}, {(): 1.0}
    for _ in range(3):
        following = {}
        for completion, probability in open_ends.items():
            ids = [*prompt, *completion]
            with torch.no_grad():
                scores = model(torch.tensor([ids])).logits[0, -1].double()
            for token, share in enumerate(probabilities(scores, [*[PAD] * padding, *ids], rules)):
                ended = token in ends
                (found if ended else following)[(*completion, token)] = probability * share
        open_ends = following
    return {one: share for one, share in (found | open_ends).items() if share > 0}


def deviation(drawn, exact):
    """The chi-square statistic of samples as standard deviations, by Wilson and Hilferty; rare cells are one."""
    counts = {one: drawn.count(one) for one in exact}
    assert sum(counts.values()) == len(drawn), "a completion was drawn that is impossible"
    cells = [(counts[one], share * len(drawn)) for one, share in exact.items()]
    rare = [cell for cell in cells if cell[1] < 5]
    cells = [cell for cell in cells if cell[1] >= 5] + ([tuple(map(sum, zip(*rare, strict=True)))] if rare else [])
    degrees = len(cells) - 1
    square = sum((count - expected) ** 2 / expected for count, expected in cells)
    spread = 2 / (9 * degrees)
    return ((square / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


RULES = [
    {},
    {"temperature": 0.7},
    {"temperature": 1.6, "top_k": 3},
    {"top_p": 0.8},
    {"min_p": 0.15},
    {"repetition_penalty": 1.5},
    {"suppress_tokens": [PAD, 3]},
    {"eos_token_id": [END, OTHER_END]},
    {"temperature": 0.8, "top_k": 5, "top_p": 0.95, "min_p": 0.02, "repetition_penalty": 1.2, "suppress_tokens": [PAD]},
]


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: "-".join(rules) or "plain")
def test_completions_are_drawn_as_often_as_the_rules_say(model, rules):
    rules = {**DRAWN, "eos_token_id": [END], "suppress_tokens": [PAD], **rules}
    each = 3000
    torch.manual_seed(1)
    found = sample(model.generate, **batch(*[LONG] * each, *[SHORT] * each), **rules)
    drawn = completions(found, len(LONG))
    for prompt, rows in ((LONG, drawn[:each]), (SHORT, drawn[each:])):
        exact = exactly(model, prompt, rules, len(LONG) - len(prompt))
        assert len(exact) > 7
        assert deviation(rows, exact) < 4
        wrong = exactly(model, prompt, {**rules, "temperature": 0.75 * rules.get("temperature", 1.0)}, 3)
        assert set(wrong) != set(exact) or deviation(rows, wrong) > 4


def test_the_mean_log_prob_is_that_of_the_distribution(model):
    each, rules = 4000, {**DRAWN, "eos_token_id": [END], "suppress_tokens": [PAD]}
    torch.manual_seed(2)
    found = sample(model.generate, **batch(*[LONG] * each), **rules)
    exact = exactly(model, LONG, {"eos_token_id": [END]}, 0)  # without the filter
    lengths = torch.tensor([len(one) for one in completions(found, len(LONG))])
    sums = found.logps.sum(1)
    by_row = torch.tensor([math.log(exact[one]) for one in completions(found, len(LONG))], dtype=sums.dtype)
    assert torch.allclose(sums, by_row, atol=1e-10)
    possible = exactly(model, LONG, rules, 0)
    expected = sum(share * math.log(exact[one]) / len(one) for one, share in possible.items())
    means = sums / lengths
    assert abs(means.mean() - expected) < 4 * means.std() / math.sqrt(each)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen3_moe", "gpt_oss"])
def test_greedy_completions_and_log_probs_are_those_of_the_model(kind, tmp_path):
    """Prompts of several lengths, some of them neighbours of their equals; windows of attention that slide."""
    window = {"sliding_window": 5} if kind in ("gemma3", "gpt_oss") else {}
    folder = write_text_model(kind, tmp_path)
    found = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **window).eval()
    prompts = [[7, 8, 9, 10, 11, 12], [20, 21], [20, 21], [20, 21], [30, 31, 32], [7, 8, 9, 10, 11, 12]]
    rules = {"max_new_tokens": 12, "eos_token_id": [*range(40)], "pad_token_id": 0}  # many rows end early
    theirs = found.generate(**batch(*prompts), do_sample=False, **rules)
    ours = sample(found.generate, **batch(*prompts), do_sample=False, **rules)
    assert torch.equal(ours.sequences, theirs)
    torch.manual_seed(0)
    drawn = sample(found.generate, **batch(*prompts), do_sample=True, temperature=0.8, top_k=20, **rules)
    lengths = set()
    for prompt, row, logps in zip(prompts, drawn.sequences[:, 6:].tolist(), drawn.logps, strict=True):
        length = next((at + 1 for at, token in enumerate(row) if token < 40), len(row))
        assert torch.allclose(logps[:length], alone(found, prompt, row[:length], 0.8), atol=1e-5)
        assert not logps[length:].any()
        lengths.add(length)
    assert len(lengths) > 1


def alone(model, prompt, completion, temperature):
    """Log-probs (T,) of a completion by one forward pass without a cache or padding."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + completion]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1).gather(1, torch.tensor(completion)[:, None]).squeeze(1)


@pytest.mark.parametrize("ended_share", [sampler.ENDED_SHARE, 0.5, 2.0])
def test_a_row_has_the_same_log_probs_whoever_shares_its_batch(ended_share, model, monkeypatch):
    monkeypatch.setattr(sampler, "ENDED_SHARE", ended_share)  # rows leave soon, late, never
    rules = {**DRAWN, "max_new_tokens": 12, "suppress_tokens": [PAD]}
    prompts = [LONG] * 40 + [SHORT] * 40 + [[3]] * 40
    torch.manual_seed(3)
    found = sample(model.generate, **batch(*prompts), **rules)
    drawn = completions(found, len(LONG))
    assert len({len(one) for one in drawn}) > 8  # rows ended at every step
    for prompt, row, logps in zip(prompts, drawn, found.logps, strict=True):
        assert END not in row[:-1]
        assert not logps[len(row) :].any()
        assert torch.allclose(logps[: len(row)], alone(model, prompt, list(row), 1.0), rtol=0, atol=1e-10)
    torch.manual_seed(3)
    assert torch.equal(sample(model.generate, **batch(*prompts), **rules).sequences, found.sequences)


def flops(call):
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def test_prompts_are_computed_once_and_ended_rows_no_longer(model):
    one_token = {**DRAWN, "max_new_tokens": 1, "suppress_tokens": [PAD]}
    prompts, distinct = batch(*[LONG] * 8, *[SHORT] * 8), batch(LONG, SHORT)
    ours = flops(lambda: sample(model.generate, **prompts, **one_token))
    assert ours == flops(lambda: model.generate(**distinct, **one_token))
    assert flops(lambda: model.generate(**prompts, **one_token)) == 8 * ours
    # Only the long prompt's completion goes on where every token but its greedy one ends a completion.
    go_on = int(model(**batch(LONG)).logits[0, -1].argmax())
    ends = {**DRAWN, "max_new_tokens": 3, "do_sample": False, "eos_token_id": [t for t in range(6) if t != go_on]}
    first = flops(lambda: sample(model.generate, **batch(LONG), **{**ends, "max_new_tokens": 1}))
    whole = flops(lambda: sample(model.generate, **batch(LONG), **ends))
    with_ended = [[3, 3]] * 20  # its greedy token is an end
    assert int(model(**batch([3, 3])).logits[0, -1].argmax()) != go_on
    mixed = flops(lambda: sample(model.generate, **batch(*with_ended, LONG), **ends))
    assert mixed - 2 * first == whole - first


class Odd(LogitsProcessor):
    """A processor that nothing is known of."""

    def __call__(self, input_ids, scores):
        return scores


class OddEnd(StoppingCriteria):
    """A criterion that nothing is known of."""

    def __call__(self, input_ids, scores, **_):
        return torch.zeros(len(input_ids), dtype=torch.bool)


LEFT = {
    "its mode is beam_sample": {"num_beams": 2},
    "it is given assistant_model": {"assistant_model": "a model"},
    "several completions per row": {"num_return_sequences": 2},
    "Odd may look beyond a row": {"logits_processor": LogitsProcessorList([Odd()])},
    "OddEnd may look": {"stopping_criteria": StoppingCriteriaList([OddEnd()])},
    "PrefixConstrained": {"prefix_allowed_tokens_fn": lambda batch_id, ids: [1, 2, 5]},
    "computed in chunks": {"prefill_chunk_size": 2},
    "more than tokens": {"return_dict_in_generate": True},
    "the rows of its cache": {"cache_implementation": "static"},
    "the rows of its cache ": {"use_cache": False},
}


@pytest.mark.parametrize("reason", LEFT)
def test_what_does_not_work_row_by_row_is_left_to_generate(reason, model, capsys):
    sampler.tell_once.cache_clear()
    prompts, rules = batch(*[LONG] * 3, *[SHORT] * 3), {**DRAWN, **LEFT[reason]}
    calls = []

    def generate(**options):
        calls.append(options)
        return model.generate(**options) if "assistant_model" not in options else torch.tensor([[1]])

    torch.manual_seed(4)
    found = sample(generate, **prompts, **rules)
    sample(generate, **prompts, **rules)
    assert found.logps is None
    assert capsys.readouterr().err.count(reason.strip()) == 1  # said once
    assert "custom_generate" not in calls[-1]
    assert len(calls[-1]["input_ids"]) == 6
    torch.manual_seed(4)
    theirs = generate(**prompts, **rules)
    assert torch.equal(getattr(found.sequences, "sequences", found.sequences), getattr(theirs, "sequences", theirs))


KINDS = {
    "prepares its inputs in its own way": lambda: Phi3ForCausalLM(
        Phi3Config(
            vocab_size=6, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            bos_token_id=None, eos_token_id=END, pad_token_id=PAD,
        )
    ),
    "the rows of its cache cannot be chosen": lambda: Lfm2ForCausalLM(
        Lfm2Config(
            vocab_size=6, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, layer_types=["conv", "full_attention"], pad_token_id=PAD,
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", KINDS)
def test_a_model_that_keeps_more_than_rows_is_left_to_generate(reason, capsys):
    sampler.tell_once.cache_clear()
    torch.manual_seed(0)
    found = KINDS[reason]().eval()
    prompts = batch(*[LONG] * 3, *[SHORT] * 3)
    ours = sample(found.generate, **prompts, **{**DRAWN, "do_sample": False})
    assert ours.logps is None
    assert reason in capsys.readouterr().err
    assert torch.equal(ours.sequences, found.generate(**prompts, **{**DRAWN, "do_sample": False}))


def test_a_model_whose_positions_are_of_images_is_left_to_generate(tmp_path, capsys):
    sampler.tell_once.cache_clear()
    found = AutoModelForImageTextToText.from_pretrained(write_vision_model(tmp_path)).eval()
    prompts, rules = batch(*[LONG] * 3, *[SHORT] * 3), {**DRAWN, "do_sample": False}
    ours = sample(found.generate, **prompts, **rules)
    assert ours.logps is None
    assert "sampled by transformers' `generate` alone" in capsys.readouterr().err
    assert torch.equal(ours.sequences, found.generate(**prompts, **rules))


def test_prompts_with_more_than_text_are_left_to_generate(capsys):
    sampler.tell_once.cache_clear()
    calls = []
    sample(lambda **options: calls.append(options), **batch(LONG, LONG), pixel_values=torch.zeros(2, 3))
    assert [sorted(one) for one in calls] == [["attention_mask", "input_ids", "pixel_values", "streamer"]]
    assert "there is more than text" in capsys.readouterr().err


def test_unsloths_fast_way_stays(capsys):
    sampler.tell_once.cache_clear()
    calls = []

    def fast(**options):
        calls.append(options)

    elsewhere = types.FunctionType(fast.__code__, {"__name__": "unsloth.models.llama"}, closure=fast.__closure__)
    sample(elsewhere, **batch(LONG, LONG))
    sample(fast, **batch(LONG, LONG))
    assert ["custom_generate" in one for one in calls] == [False, True]
    assert "Unsloth has a fast way" in capsys.readouterr().err


def test_generate_samples_by_rows_inside_and_is_itself_again(model):
    prompts, before = batch(*[LONG] * 3), model.generate
    with sampling_by_rows(model) as calls:
        ids = model.generate(**prompts, **DRAWN)
    assert torch.equal(calls[0].sequences, ids)
    assert calls[0].logps.shape == (3, ids.shape[1] - len(LONG))
    assert model.generate == before
    assert "generate" not in vars(model)
    model.generate = mine = lambda **_: torch.tensor([[1]])
    with pytest.raises(RuntimeError), sampling_by_rows(model):
        raise RuntimeError
    assert vars(model).pop("generate") is mine


def test_a_streamer_is_told_every_step(model):
    class Streamer:
        told, ended = [], False

        def put(self, ids):
            self.told.append(ids.tolist())

        def end(self):
            self.ended = True

    streamer = Streamer()
    rules = {**DRAWN, "do_sample": False, "eos_token_id": [99]}
    found = sample(model.generate, **batch(LONG), streamer=streamer, **rules)
    assert streamer.told == [[LONG], *[[token] for token in found.sequences[0, len(LONG) :].tolist()]]
    assert streamer.ended


def test_probabilities_that_are_not_numbers_raise():
    with pytest.raises(RuntimeError, match="not finite"):
        sampler.by_probability(torch.tensor([[0.5, 0.5], [math.nan, 1.0]]))


def test_a_token_without_probability_is_never_drawn(monkeypatch):
    """Where the uniform number is 0, its largest value, or on the border of two tokens."""
    shares = torch.tensor([[0.0, 0.25, 0.0, 0.75]]).repeat(3, 1)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([[0.0], [1 - 2**-53], [0.25]]).double())
    assert sampler.by_probability(shares).tolist() == [[1], [3], [3]]
