"""Credit: parts of a text, characters of sampled tokens, advantages per token."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from gspo_lite.completion.offsets import token_offsets
from gspo_lite.credit import (
    Score,
    Steps,
    credit_spans,
    credit_weights,
    credited_advantages,
    prefix_tree_advantages,
    step_values,
    token_weights,
    turn_advantages,
    turn_numbers,
)
from gspo_lite.objective import group_advantages
from gspo_lite.recipe.schema import RegexCredit, TailCredit, TurnCredit

NAN = float("nan")
LINES = [
    "The quick brown fox jumps over the lazy dog 12345",
    "héllo wörld 你好世界 <think>so</think><answer>7</answer>",
]
BROKEN = "\ufffd"


@pytest.fixture(scope="module")
def byte_level():
    """Byte-level BPE, as GPT-2, Qwen and Llama 3 have it."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    specials = ["<pad>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(LINES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>")


@pytest.fixture(scope="module")
def sentencepiece():
    """Unigram with `▁` for spaces and bytes as fallback, as Llama 2, Mistral and Gemma have it."""
    letters = "abcdefghijklmnopqrstuvwxyz<>/=+.,é你"
    pieces = [("<unk>", 0.0), ("<eos>", 0.0), *((f"<0x{byte:02X}>", -20.0) for byte in range(256))]
    pieces += [("▁", -2.0), ("▁▁", -2.5), ("▁the", -3.0), ("▁fox", -3.0), ("answer", -3.0)]
    core = Tokenizer(models.Unigram([*pieces, *((letter, -5.0) for letter in letters)], unk_id=0, byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(steps)
    core.add_special_tokens([AddedToken("<eos>", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", unk_token="<unk>")


@pytest.fixture(params=["byte_level", "sentencepiece"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def parts_of(tokenizer, ids, skip=True):
    """The text that each token is said to stand for."""
    text = tokenizer.decode(ids, skip_special_tokens=skip)
    return [text[start:end] for start, end in token_offsets(tokenizer, ids, text)]


def ids_of(tokenizer, *pieces):
    return tokenizer.convert_tokens_to_ids(list(pieces))


# Spans: text, credit, the marked parts

SPANS = [
    ("<think>a b</think><answer> 7 </answer>", "answer", ["7"]),
    ("<think>a b</think><answer> 7 </answer>", "think", ["a b"]),
    ("<think>a</think><answer>7</answer>", "tags", ["<think>", "</think>", "<answer>", "</answer>"]),
    ("<answer>1</answer> or <answer>2</answer>", "answer", ["2"]),
    ("<answer>1</answer> or <answer>2", "answer", []),  # cut off, as it is graded
    ("<think><answer>1</answer></think>", "answer", []),  # thoughts are not graded
    ("<think>so <answer>1</answer>", "answer", []),  # cut off while thinking
    ("<think>so", "think", ["so"]),
    ("so</think>7", "think", ["so"]),  # the prompt held the opening tag
    ("a<think>b</think>c</think>7", "think", ["b</think>c"]),
    ("7", "think", []),
    ("7", "answer", []),
    ("7", "tags", []),
    ("</answer><answer>", "answer", []),
    ("<answer></answer>", "answer", []),
    ("</think><think>x", "think", ["x"]),
    (r"so \boxed{1} and \boxed{\frac{1}{2}}.", "answer", ["1", r"\frac{1}{2}"]),
    (r"so \boxed{1} but \boxed{\frac{1}{2}}.", "answer", [r"\frac{1}{2}"]),
    ("<answer>1</answer> \\boxed{2}\n#### 3", "answer", ["1"]),  # what is found first: tag, box, hashes
    ("<answer>1 \\boxed{2}\n#### 3", "answer", ["2"]),
    (r"so \boxed{\frac{1}{2}", "answer", []),
    ("a\n#### 41\n#### 42\nb", "answer", ["42"]),
    ("a\n#### 42", "answer", ["42"]),
    ("<think>a</think>b<think>c", "think", ["a</think>b<think>c"]),  # thinks again, and is cut off
    ("x=1, y=22", RegexCredit(regex=r"\d+"), ["1", "22"]),
    ("abc", RegexCredit(regex="z*"), []),
    ("", "answer", []),
    ("", "tags", []),
    ("", "think", []),
]


@pytest.mark.parametrize(("text", "credit", "expected"), SPANS)
def test_a_credit_marks_its_part_of_the_text(text, credit, expected):
    spans = credit_spans(credit, text)
    assert [text[start:end] for start, end, _ in spans] == expected
    assert {weight for *_, weight in spans} <= {1.0}


@pytest.mark.parametrize("credit", ["answer", "think", "tags"])
@pytest.mark.parametrize("piece", ["<answer>", "</answer>", "<think>", "</think>", "\\boxed{", "####", "<", "{}"])
def test_hostile_text_is_searched_in_linear_time(credit, piece):
    start = time.perf_counter()
    credit_spans(credit, piece * (1_000_000 // len(piece)))
    assert time.perf_counter() - start < 2.0  # typical: 0.01 to 0.2


# Weights of tokens

OFFSETS = [(0, 3), (3, 5), (5, 5), (5, 9), (9, 9)]
WEIGHTS = [
    ([(0, 9, 1.0)], [1, 1, 1, 1, 1]),
    ([], [0, 0, 0, 0, 0]),
    ([(3, 5, 1.0)], [0, 1, 1, 0, 0]),  # the token without text touches the end
    ([(4, 6, 0.5)], [0, 0.5, 0.5, 0.5, 0]),  # a part of a token counts as the token
    ([(0, 5, 0.25), (2, 4, 0.75)], [0.75, 0.75, 0.25, 0, 0]),  # the larger weight counts
    ([(6, 9, 1.0)], [0, 0, 0, 1, 1]),
    ([(20, 30, 1.0)], [0, 0, 0, 0, 0]),
]


@pytest.mark.parametrize(("spans", "expected"), WEIGHTS)
def test_a_token_gets_the_largest_weight_among_the_spans_it_shares_characters_with(spans, expected):
    assert token_weights(spans, OFFSETS) == expected


def test_no_tokens_get_no_weights():
    assert token_weights([(0, 1, 1.0)], []) == []


@pytest.mark.parametrize(
    ("credit", "expected"),
    [
        (None, [1, 1, 1, 1, 1]),
        ("all", [1, 1, 1, 1, 1]),
        (TailCredit(tail=2), [0, 0, 0, 1, 1]),
        (TailCredit(tail=9), [1, 1, 1, 1, 1]),
        (RegexCredit(regex="de"), [0, 1, 1, 0, 0]),
        ("answer", [0, 0, 0, 0, 0]),
    ],
)
def test_credit_weights_by_setting(credit, expected):
    assert credit_weights(credit, "abcdefghi", OFFSETS) == expected


def test_all_reaches_a_lone_end_of_sequence():
    assert credit_weights("all", "", [(0, 0)]) == [1.0]


@pytest.mark.parametrize("span", [(-1, 2, 1.0), (3, 2, 1.0), (0, 1, 1.5), (0, 1, -0.1), (0, 1, NAN)])
def test_a_score_refuses_a_broken_span(span):
    with pytest.raises(ValueError, match="expected 0 <= start <= end and a weight from 0 to 1"):
        Score(1.0, [span])


def test_a_score_without_spans_is_about_everything():
    assert Score(0.5).spans is None
    assert Score(None, [(0, 2, 1.0)]).value is None


def test_steps_are_worth_their_mean_and_each_token_its_step():
    steps = Steps([(3, 1.0), (6, 0.0), (8, -0.25)])
    assert steps.value == 0.25
    offsets = [(0, 2), (2, 4), (3, 3), (3, 6), (6, 6), (6, 8), (8, 10), (10, 10)]
    assert step_values(steps, offsets) == [1.0, 1.0, 1.0, 0.0, 0.0, -0.25, -0.25, -0.25]


def test_steps_without_a_step_cannot_judge():
    assert Steps([]).value is None


@pytest.mark.parametrize("steps", [[(5, 1.0), (3, 0.0)], [(3, NAN)], [(3, float("inf"))]])
def test_steps_out_of_order_or_not_finite_are_refused(steps):
    with pytest.raises(ValueError, match="expected rising end characters and finite values"):
        Steps(steps)


# Characters of sampled tokens

TEXTS = [
    "the quick brown fox",
    "<think>a=1</think><answer>42</answer>",
    "héllo wörld",
    "你好世界, 你好",
    "smile 🙂🙂 and 👨‍👩‍👧 family",
    "combining e\u0301 o\u0308\u0323 marks",
    "line\nbreak\ttab  two  spaces ",
    " leading space",
    "مرحبا שלום नमस्ते",
    f"a real {BROKEN} replacement",
    "",
    " ",
]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_cover_the_text_in_order(tokenizer, text):
    ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
    shown = tokenizer.decode(ids, skip_special_tokens=True)
    offsets = token_offsets(tokenizer, ids, shown)
    assert len(offsets) == len(ids)
    assert offsets == sorted(offsets)
    assert {index for start, end in offsets for index in range(start, end)} == set(range(len(shown)))
    assert offsets[-1] == (len(shown), len(shown))


@pytest.mark.parametrize("text", TEXTS)
def test_offsets_are_those_that_the_tokenizer_reports_for_its_own_tokens(byte_level, text):
    encoded = byte_level(text, add_special_tokens=False, return_offsets_mapping=True)
    assert token_offsets(byte_level, encoded["input_ids"], text) == [tuple(pair) for pair in encoded["offset_mapping"]]


def test_byte_level_tokens_that_share_a_character_each_get_it(byte_level):
    ids = ids_of(byte_level, "T", "Ã", "©", "Ġ", "ð", "Ł", "Ļ", "Ĥ", "<eos>")
    assert parts_of(byte_level, ids) == ["T", "é", "é", " ", "🙂", "🙂", "🙂", "🙂", ""]


def test_a_token_that_ends_inside_a_character_gets_that_character_too():
    core = Tokenizer(models.BPE(vocab={"a": 0, "Ã": 1, "aÃ": 2, "©": 3, "b": 4}, merges=[("a", "Ã")]))
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core)
    assert parts_of(tokenizer, [2, 3, 4]) == ["aé", "é", "b"]


def test_tokens_are_taken_as_sampled_not_as_the_tokenizer_would_cut(byte_level):
    whole = byte_level.encode("the fox", add_special_tokens=False)
    letters = ids_of(byte_level, *"the", "Ġ", *"fox")
    assert len(letters) > len(whole)
    assert byte_level.decode(letters) == byte_level.decode(whole)
    assert parts_of(byte_level, letters) == list("the fox")


def test_a_completion_cut_off_inside_a_character(byte_level, sentencepiece):
    assert parts_of(byte_level, ids_of(byte_level, "a", "ð", "Ł")) == ["a", BROKEN, BROKEN]
    assert parts_of(sentencepiece, ids_of(sentencepiece, "a", "<0xF0>", "<0x9F>")) == ["a", BROKEN, BROKEN]
    assert token_offsets(byte_level, ids_of(byte_level, "a", "ð", "Ł"), f"a{BROKEN}") == [(0, 1), (1, 2), (1, 2)]


def test_broken_bytes_do_not_shift_what_follows(byte_level, sentencepiece):
    ids = ids_of(byte_level, "a", "ä", "½", "Ġfox", "Ã", "b", "<eos>")
    assert parts_of(byte_level, ids) == ["a", BROKEN, BROKEN, " fox", BROKEN, "b", ""]
    ids = ids_of(sentencepiece, "a", "<0xE4>", "<0x45>", "<0x2E>", "▁fox", "b", "<eos>")
    assert parts_of(sentencepiece, ids) == ["a", BROKEN, BROKEN, BROKEN, " fox", "b", ""]


def test_broken_bytes_far_from_the_start_do_not_shift_what_follows(sentencepiece):
    the = ids_of(sentencepiece, "▁the") * 12
    ids = [*the, *ids_of(sentencepiece, "<0xE4>", "<0x45>", "<0x2E>", "▁fox", "▁the")]
    assert parts_of(sentencepiece, ids)[11:] == [" the", BROKEN, BROKEN, BROKEN, " fox", " the"]


def test_a_long_byte_run_that_its_last_byte_makes_unreadable_is_shared(sentencepiece):
    letter, broken, the = ids_of(sentencepiece, "<0x45>", "<0xE4>", "▁the")
    text = sentencepiece.decode([letter] * 4096 + [broken])
    start = time.perf_counter()
    assert token_offsets(sentencepiece, [letter] * 4096 + [broken], text) == [(0, 4097)] * 4097
    assert time.perf_counter() - start < 2.0  # typical: 0.02
    ids = [letter] * 20 + [broken] + [the] * 30  # found whole at 32 tokens, 11 of them `the`
    offsets = token_offsets(sentencepiece, ids, sentencepiece.decode(ids))
    assert offsets[:32] == [(0, 21 + 11 * 4)] * 32
    assert offsets[32:34] == [(65, 69), (69, 73)]


def test_a_byte_run_that_its_last_byte_makes_unreadable(sentencepiece):
    valid = ids_of(sentencepiece, "<0xC3>", "<0xA9>")
    assert parts_of(sentencepiece, [*valid, *ids_of(sentencepiece, "▁the")]) == ["é", "é", " the"]
    ids = [*valid, *ids_of(sentencepiece, "<0xE4>", "▁the", "▁fox")]
    text = sentencepiece.decode(ids)
    assert text == BROKEN * 3 + " the fox"
    offsets = token_offsets(sentencepiece, ids, text)
    assert [text[start:end] for start, end in offsets[-2:]] == [" the", " fox"]


def test_the_space_that_sentencepiece_drops_in_front_belongs_to_no_token(sentencepiece):
    assert parts_of(sentencepiece, ids_of(sentencepiece, "▁the", "▁", "▁fox", "▁▁", "a")) == [
        "the",
        " ",
        " fox",
        "  ",
        "a",
    ]


@pytest.mark.parametrize("skip", [True, False])
def test_special_tokens_have_a_place_without_length_or_their_own_text(tokenizer, skip):
    the, eos = tokenizer.encode("the", add_special_tokens=False), tokenizer.eos_token_id
    parts = parts_of(tokenizer, [eos, *the, eos, eos, *the, eos], skip)
    special = "" if skip else "<eos>"
    assert [parts[0], parts[-1]] == [special, special]
    assert parts[len(the) + 1 : len(the) + 3] == [special, special]
    assert "".join(parts) == tokenizer.decode([eos, *the, eos, eos, *the, eos], skip_special_tokens=skip)


def test_a_special_token_knows_its_place_between_the_others(byte_level):
    ids = ids_of(byte_level, "a", "<eos>", "b")
    assert token_offsets(byte_level, ids, "ab") == [(0, 1), (1, 1), (1, 2)]


def test_a_part_of_the_text_is_found_and_the_rest_clipped(byte_level):
    ids = ids_of(byte_level, "4", "2", "Ġ", "4", "2", "Ġ")
    assert token_offsets(byte_level, ids, "42") == [(0, 0), (0, 0), (0, 0), (0, 1), (1, 2), (2, 2)]


def test_no_tokens_have_no_offsets(tokenizer):
    assert token_offsets(tokenizer, [], "") == []


def test_a_text_from_elsewhere_is_refused(byte_level):
    with pytest.raises(ValueError, match="text `nope` is not part of what the 1 ids decode to, `a`"):
        token_offsets(byte_level, ids_of(byte_level, "a"), "nope")


def test_random_tokens_are_placed_whatever_they_are(tokenizer):
    rng = random.Random(0)
    for _ in range(200):
        ids = [rng.randrange(len(tokenizer)) for _ in range(rng.randrange(60))]
        text = tokenizer.decode(ids, skip_special_tokens=True)
        offsets = token_offsets(tokenizer, ids, text)
        assert {index for start, end in offsets for index in range(start, end)} == set(range(len(text)))
        ends = [end for _, end in offsets]
        assert ends == sorted(ends)


def test_single_texts_that_join_give_the_offsets_that_decoding_piece_by_piece_gives(byte_level, monkeypatch):
    rng = random.Random(2)
    plain = [token for token in range(len(byte_level)) if byte_level.decode([token]).isascii()]
    for _ in range(100):
        ids = [rng.choice(plain) for _ in range(rng.randrange(1, 40))]
        text = byte_level.decode(ids, skip_special_tokens=True)
        joined = token_offsets(byte_level, ids, text)
        with monkeypatch.context() as slow:
            slow.setattr("gspo_lite.completion.offsets._joined", lambda *_: [])
            assert token_offsets(byte_level, ids, text) == joined


def test_a_token_is_decoded_by_itself_once_for_all_completions(byte_level):
    asked = []

    def decode(ids):
        asked.append(len(ids))
        return byte_level.decode(ids, skip_special_tokens=True)

    ids = byte_level.encode("the quick fox the quick fox")
    for _ in range(3):
        token_offsets(byte_level, ids, decode(ids), decode)
    assert asked.count(1) == len(set(ids))
    assert set(asked) == {1, len(ids)}  # nothing piece by piece


@pytest.mark.parametrize("kind", ["text", "random", "spaces", "bytes"])
def test_long_completions_take_about_linear_time(tokenizer, kind):
    rng = random.Random(1)
    text = tokenizer.encode("the quick fox 🙂 你好 <answer>42</answer> ", add_special_tokens=False) * 4096
    space = tokenizer.encode("a  ", add_special_tokens=False)[-1]
    byte = tokenizer.encode("🙂", add_special_tokens=False)[-2]
    ids = {
        "text": text,
        "random": [rng.randrange(len(tokenizer)) for _ in range(16384)],
        "spaces": [space] * 16384,
        "bytes": [byte] * 16384,
    }[kind][:16384]
    shown = tokenizer.decode(ids, skip_special_tokens=True)
    start = time.perf_counter()
    offsets = token_offsets(tokenizer, ids, shown)
    assert time.perf_counter() - start < 5.0  # typical: 0.1 to 0.4
    assert sum(end - start for start, end in offsets) < 3 * len(ids) + 3 * len(shown)  # no token holds the rest


# Advantages


def test_credited_advantages_by_hand():
    rewards = [[1.0, 0.0], [0.0, 4.0]]
    credits = [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.5], [1.0, 1.0]]]
    found = credited_advantages(rewards, [2.0, 1.0], credits, 2)
    scale = np.sqrt(2.0) + 1e-4  # R = 2, 4: unbiased standard deviation sqrt(2)
    # completion 0: 2 (1 - 0.5) = 1 by reward 1, 1 (0 - 2) = -2 by reward 2; completion 1 the reverse
    assert found.tolist() == [
        [pytest.approx(1 / scale), pytest.approx(-2 / scale)],
        [pytest.approx((-1 + 2) / scale), pytest.approx((-0.5 + 2) / scale)],
    ]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_full_credit_is_the_advantage_of_the_weighted_sum(scale, holes):
    rng = np.random.default_rng(0)
    for _ in range(50):
        rewards = rng.normal(0, 1, (12, 3))
        rewards[rng.random(12) < holes] = np.nan
        rewards[rng.random((12, 3)) < holes / 3] = np.nan
        weights = rng.normal(0, 1, 3)
        total = np.where(np.isnan(rewards).all(axis=1), np.nan, np.nansum(rewards * weights, axis=1))
        expected = group_advantages(torch.tensor(total), 4, scale_rewards=scale).numpy()
        found = credited_advantages(rewards, weights, np.ones((12, 3, 5)), 4, scale)
        assert found.shape == (12, 5)
        assert np.abs(found - expected[:, None]).max() < 1e-12


def test_a_completion_nothing_can_judge_is_left_out_and_gets_zero():
    found = credited_advantages([[1.0], [NAN], [3.0]], [1.0], np.ones((3, 1, 1)), 3, "none")
    assert found.tolist() == [[-1.0], [0.0], [1.0]]


def test_none_of_one_reward_counts_as_zero_beside_others():
    found = credited_advantages([[1.0, NAN], [1.0, 1.0]], [1.0, 1.0], np.ones((2, 2, 1)), 2, "none")
    assert found.tolist() == [[-0.5], [0.5]]


def test_values_of_steps_take_the_place_of_the_reward_at_their_tokens():
    token_rewards = [[[1.0, 0.0, NAN]], [[NAN, NAN, NAN]]]
    found = credited_advantages([[0.5], [0.0]], [2.0], np.ones((2, 1, 3)), 2, "none", token_rewards)
    assert found.tolist() == [[1.5, -0.5, 0.5], [-0.5, -0.5, -0.5]]  # 2 (r - 0.25)


@pytest.mark.parametrize(
    ("rewards", "weights", "credits", "size", "scale", "expected"),
    [
        ([1.0, 2.0], [1.0], np.ones((2, 1, 1)), 2, "group", "expected shapes"),
        ([[1.0], [2.0]], [1.0, 1.0], np.ones((2, 1, 1)), 2, "group", "expected shapes"),
        ([[1.0], [2.0]], [1.0], np.ones((2, 1)), 2, "group", "expected shapes"),
        ([[1.0], [2.0]], [1.0], np.ones((2, 1, 1)), 3, "group", "expected a `num_generations`"),
        ([[1.0], [2.0]], [1.0], np.ones((2, 1, 1)), 2, "std", "expected `scale_rewards`"),
        ([[1.0], [np.inf]], [1.0], np.ones((2, 1, 1)), 2, "none", "expected finite rewards"),
        ([[1.0], [2.0]], [NAN], np.ones((2, 1, 1)), 2, "none", "expected finite rewards"),
        ([[1.0], [2.0]], [1.0], np.full((2, 1, 1), 1.1), 2, "none", "credits from 0 to 1"),
        ([[1.0], [2.0]], [1.0], np.full((2, 1, 1), NAN), 2, "none", "credits from 0 to 1"),
    ],
)
def test_a_wrong_call_says_what_was_found_and_what_is_allowed(rewards, weights, credits, size, scale, expected):
    with pytest.raises(ValueError, match=expected):
        credited_advantages(rewards, weights, credits, size, scale)


def test_prefix_tree_by_hand():
    #        1 -> 2 (reward 1)          mean of all 0.5, after 1: 2/3, after 1 3: 1/2
    #   root 1 -> 3 -> 4 (1), 5 (0)
    #        6 (0)
    found = prefix_tree_advantages([[1, 2], [1, 3, 4], [1, 3, 5], [6]], [1.0, 1.0, 0.0, 0.0], 4)
    first = 2 / 3 - 1 / 2
    expected = [[first, 1 / 3], [first, -1 / 6, 1 / 2], [first, -1 / 6, -1 / 2], [-1 / 2]]
    assert found == [[pytest.approx(value) for value in row] for row in expected]


def test_prefix_tree_adds_up_to_the_distance_to_the_mean():
    rng = np.random.default_rng(0)
    for _ in range(50):
        completions = [rng.integers(0, 3, rng.integers(1, 9)).tolist() for _ in range(12)]
        rewards = rng.normal(0, 1, 12)
        found = prefix_tree_advantages(completions, rewards.tolist(), 4)
        means = np.repeat(rewards.reshape(3, 4).mean(axis=1), 4)
        assert [len(row) for row in found] == [len(tokens) for tokens in completions]
        assert np.abs([sum(row) for row in found] - (rewards - means)).max() < 1e-12


def test_prefix_tree_ends_at_a_completions_own_reward_even_where_another_goes_on():
    assert prefix_tree_advantages([[1], [1, 2]], [0.0, 1.0], 2) == [[-0.5], [0.0, 0.5]]
    assert prefix_tree_advantages([[1], [1]], [0.0, 1.0], 2) == [[-0.5], [0.5]]


def test_prefix_tree_leaves_out_what_could_not_be_judged():
    assert prefix_tree_advantages([[1, 2], [1], [1, 3]], [NAN, 0.0, 1.0], 3) == [[0.0, 0.0], [-0.5], [0.0, 0.5]]
    assert prefix_tree_advantages([[1], []], [NAN, NAN], 2) == [[0.0], []]


def test_prefix_tree_does_not_mix_groups():
    assert prefix_tree_advantages([[1], [1], [1], [1]], [0.0, 0.0, 5.0, 5.0], 2) == [[0.0], [0.0], [0.0], [0.0]]


@pytest.mark.parametrize(("completions", "rewards", "size"), [([[1]], [1.0, 2.0], 1), ([[1], [2]], [1.0, 2.0], 3)])
def test_prefix_tree_wants_whole_groups(completions, rewards, size):
    with pytest.raises(ValueError, match="expected one reward per completion, and whole groups"):
        prefix_tree_advantages(completions, rewards, size)


def test_credit_is_imported_without_torch():
    check = (
        "import sys, gspo_lite.credit; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'trl')))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# Turns: expected values computed by hand from the formula in `credit.py`

TURNS = [[[1.0], [0.0]], [[1.0]], [[0.0], [1.0], [1.0]], [[0.0]]]  # 7 turns of one group, 4 of them right


def test_a_turn_is_a_run_of_the_models_own_tokens():
    assert turn_numbers([True, True, False, True, False, False, True]) == [1, 1, 0, 2, 0, 0, 3]
    assert turn_numbers([False, True]) == [0, 1]
    assert turn_numbers([]) == []


@pytest.mark.parametrize(
    ("turn", "expected"),
    [("first", [1, 1, 0, 0]), ("last", [0, 0, 0, 1]), (2, [0, 0, 0, 1]), (3, [0, 0, 0, 0]), ("all", [1, 1, 0, 1])],
)
def test_credit_for_a_turn(turn, expected):
    numbers = turn_numbers([True, True, False, True])
    assert credit_weights(TurnCredit(turn=turn), "", [(0, 0)] * 4, turns=numbers) == expected


def test_turns_are_compared_with_all_turns_of_their_group():
    mean, deviation = 4 / 7, (12 / 49 * 7 / 6) ** 0.5
    right, wrong = (1 - mean) / (deviation + 1e-4), (0 - mean) / (deviation + 1e-4)
    found = turn_advantages(TURNS, [1.0], 4)
    assert [one.tolist() for one in found] == [
        pytest.approx(row) for row in ([right, wrong], [right], [wrong, right, right], [wrong])
    ]


def test_stopping_early_is_not_paid_for():
    # Compared per index, the only turn 3 of the group has no deviation and earns nothing, although it is right.
    assert turn_advantages(TURNS, [1.0], 4)[2][2] == turn_advantages(TURNS, [1.0], 4)[0][0] > 0.8


def test_a_turn_is_paid_for_what_later_turns_earn():
    found = turn_advantages([[[0.0], [0.0], [1.0]], [[0.0], [NAN]]], [1.0], 2, "none", gamma=0.5)
    mean = (0.25 + 0.5 + 1 + 0) / 4  # a turn without a value and without later ones is left out
    assert found[0].tolist() == pytest.approx([0.25 - mean, 0.5 - mean, 1 - mean])
    assert found[1].tolist() == pytest.approx([0 - mean, 0])


def test_turns_with_equal_values_add_exactly_nothing():
    for scale in ("group", "batch", "none"):
        found = turn_advantages([[[0.2], [0.2]], [[0.2 + 1e-9]], [[NAN]], []], [1.0], 2, scale)
        assert [one.tolist() for one in found] == [[0, 0], [0], [0], []]


def test_each_reward_of_turns_has_its_own_deviation_and_weight():
    alone = [turn_advantages([[[one[k]] for one in row] for row in PAIRS], [w], 2) for k, w in ((0, 2.0), (1, 0.5))]
    both = turn_advantages(PAIRS, [2.0, 0.5], 2)
    for first, second, together in zip(*alone, both, strict=True):
        assert together.tolist() == pytest.approx((first + second).tolist())


PAIRS = [[[1.0, 3.0], [0.0, NAN]], [[0.5, -1.0]]]


def test_a_batchs_turns_share_a_deviation_where_the_recipe_says_so():
    found = turn_advantages([[[1.0]], [[0.0]], [[4.0]], [[0.0]]], [1.0], 2, "batch")
    deviation = np.std([1, 0, 4, 0], ddof=1) + 1e-4
    assert (np.concatenate(found) * deviation).tolist() == pytest.approx([0.5, -0.5, 2, -2])
