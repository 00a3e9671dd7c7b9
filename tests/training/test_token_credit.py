"""Advantages per token from rewards, in real training steps on the starter."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gspo_lite import GSPOTrainer
from gspo_lite.completion.text import Layout
from gspo_lite.credit import Score, Steps, Turns
from gspo_lite.errors import RewardError, UsageError
from gspo_lite.models.starter import build_tokenizer
from gspo_lite.recipe.schema import RewardSettings
from gspo_lite.rewards.contract.registry import build_rewards
from gspo_lite.rewards.math import math_correct
from gspo_lite.training.token_credit import TokenCredit
from tests.training.test_trainer import PROMPTS, carries, config

TOKENIZER = build_tokenizer()
TEXTS = ["<think>a</think><answer>1</answer>", "<think>b</think><answer>2</answer>"]
IDS = [TOKENIZER.encode(text, add_special_tokens=False) for text in TEXTS]  # <think> a </think> <answer> 1 </answer>


def credit(credits, weights=(1.0,), estimator="rewards", marker=None):
    layouts = [marker and Layout(marker)] * len(credits)
    return TokenCredit(credits, layouts, list(weights), 2, "group", estimator, TOKENIZER)


def test_without_credit_trls_own_advantages_do():
    assert credit([None]).advantages(np.array([[1.0], [0.0]]), [()], IDS, 6) is None
    assert credit(["all"]).advantages(np.array([[1.0], [0.0]]), [()], IDS, 6) is None


def test_the_answers_reward_moves_the_answers_tokens_only():
    advantages = credit(["answer"]).advantages(np.array([[1.0], [0.0]]), [()], IDS, 8)
    unit = 0.5 / (np.std([1.0, 0.0], ddof=1) + 1e-4)
    assert advantages.shape == (2, 8)
    assert advantages[0].tolist() == pytest.approx([0, 0, 0, 0, unit, 0, 0, 0])
    assert advantages[1].tolist() == pytest.approx([0, 0, 0, 0, -unit, 0, 0, 0])


def test_the_answers_tokens_are_those_that_its_reward_reads():
    texts = ["\\boxed{3}\n#### 7", "\\boxed{4}\n#### 8"]
    ids = [TOKENIZER.encode(text, add_special_tokens=False) for text in texts]
    for marker, digits in (("boxed", ["3", "4"]), ("gsm8k", ["7", "8"]), ("tag", ["", ""]), (None, ["3", "4"])):
        made = credit(["answer"], marker=marker)
        advantages = made.advantages(np.array([[1.0], [0.0]]), [()], ids, max(map(len, ids)))
        rows = zip(ids, advantages.tolist(), texts, strict=True)
        moved = [made.by_characters(*row) for row in rows]
        read = ["".join(text[a:b] for a, b, v in row if v) for text, row in zip(texts, moved, strict=True)]
        assert read == digits, marker


def test_a_trainer_asks_its_rewards_where_the_answer_stands(tmp_path, starter):
    args = config(tmp_path, importance_sampling_level="sequence_token")
    made = build_rewards([RewardSettings(name="numeric_match")], Layout("gsm8k"))
    rewards = [math_correct.with_options(marker="boxed"), *made, carries]
    trainer = GSPOTrainer("starter", rewards, args, [{"prompt": p, "answer": "1"} for p in PROMPTS])
    assert trainer.token_credit.layouts == [Layout("boxed"), Layout("gsm8k"), None]


def test_spans_that_a_reward_returns_stand_above_the_recipes_credit():
    marks = [[Score(1.0, [(7, 8, 0.5)]), Score(0.0, [(7, 8, 1.0)])]]
    advantages = credit(["answer"]).advantages(np.array([[1.0], [0.0]]), marks, IDS, 6)
    unit = 0.5 / (np.std([1.0, 0.0], ddof=1) + 1e-4)
    assert advantages[0].tolist() == pytest.approx([0, unit / 2, 0, 0, 0, 0])
    assert advantages[1].tolist() == pytest.approx([0, -unit, 0, 0, 0, 0])


def test_steps_give_each_stretch_its_own_value():
    marks = [[Steps([(8, 1.0), (34, 0.0)]), Steps([(8, 0.0), (34, 0.0)])]]
    advantages = credit([None]).advantages(np.array([[0.5], [0.0]]), marks, IDS, 6)
    first = advantages[0].tolist()
    assert first[0] == first[1] > 0  # <think> a: the good step
    assert all(value < 0 for value in first[2:])  # worth 0, below the group's mean of 0.25


def test_a_group_with_equal_sums_teaches_nothing():
    # 1 + 0 and 0 + 1: R is 1 for both, and dividing by no spread would give thousands
    advantages = credit(["answer", "think"], (1.0, 1.0)).advantages(
        np.array([[1.0, 0.0], [0.0, 1.0]]), [(), ()], IDS, 6
    )
    assert advantages.abs().max() == 0


def test_prefix_tree_credits_the_token_where_completions_part():
    advantages = credit([None], estimator="prefix_tree").advantages(np.array([[1.0], [0.0]]), [()], IDS, 7)
    # they share <think>; the second token decides
    assert advantages[0].tolist() == pytest.approx([0, 0.5, 0, 0, 0, 0, 0])
    assert advantages[1].tolist() == pytest.approx([0, -0.5, 0, 0, 0, 0, 0])


def test_advantages_are_told_by_the_characters_of_each_token():
    end = TOKENIZER.eos_token_id  # has no text
    values = [0.0, 0.0, 0.0, 0.0, 0.51234567, 0.0, 1.0, 0.0]
    marks = credit(["answer"]).by_characters([*IDS[0], end], values, TEXTS[0])
    assert "".join(TEXTS[0][start:stop] for start, stop, _ in marks) == TEXTS[0]
    assert [TEXTS[0][start:stop] for start, stop, value in marks if value] == ["1"]
    assert marks[4][2] == 0.5123


def adapter(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters() if p.requires_grad])


def trained(tmp_path, level="sequence_token", **options):
    from tests.training.test_trainer import loaded

    parts = loaded()
    args = config(tmp_path, importance_sampling_level=level)
    trainer = GSPOTrainer(parts.model, carries, args, PROMPTS, processing_class=parts.processing_class, **options)
    trainer.train()
    return trainer


def test_credit_all_is_gspo_and_credit_answer_is_not(tmp_path, starter):
    gspo = adapter(trained(tmp_path, "sequence"))
    assert torch.allclose(adapter(trained(tmp_path, credits=["all"])), gspo, atol=2e-4)
    assert not torch.allclose(adapter(trained(tmp_path, credits=["answer"])), gspo, atol=2e-3)


def test_a_reward_with_spans_trains(tmp_path, starter):
    from tests.training.test_trainer import loaded

    def carries_at(completions, **columns):
        texts = [completion[0]["content"] for completion in completions]
        found = [re.search(r"\+1=", text) for text in texts]
        return [Score(float(bool(m)), [(*m.span(), 1.0)] if m else None) for m in found]

    parts = loaded()
    args = config(tmp_path, importance_sampling_level="sequence_token", max_steps=1)
    trainer = GSPOTrainer(parts.model, carries_at, args, PROMPTS, processing_class=parts.processing_class)
    seen = []
    original = trainer._compute_loss
    trainer._compute_loss = lambda model, inputs: seen.append(inputs["advantages"]) or original(model, inputs)
    trainer.train()
    assert seen[0].dim() == 2
    partly = [row for row in seen[0] if row.unique().numel() == 2 and (row != 0).any()]
    assert partly  # spans cover some tokens and not others


def test_credit_without_tokens_is_refused(tmp_path):
    with pytest.raises(UsageError, match="sequence_token"):
        GSPOTrainer("starter", carries, config(tmp_path), PROMPTS, credits=["answer"])
    args = config(tmp_path, importance_sampling_level="sequence_token")
    with pytest.raises(UsageError, match="2 `credits` for 1 rewards"):
        GSPOTrainer("starter", carries, args, PROMPTS, credits=["answer", "think"])


def test_the_tokenizer_is_all_it_asks_of_the_model():
    fake = SimpleNamespace(decode=TOKENIZER.decode)
    assert TokenCredit(["answer"], [None], [1.0], 2, "group", "rewards", fake).advantages(
        np.array([[1.0], [0.0]]), [()], IDS, 6
    ) is not None  # fmt: skip


def test_a_tag_that_the_prompt_wrote_moves_the_characters_and_has_no_tokens():
    rest = [TOKENIZER.encode(text.removeprefix("<think>"), add_special_tokens=False) for text in TEXTS]
    parts = [[text] for text in TEXTS]
    whole = credit(["answer"]).advantages(np.array([[1.0], [0.0]]), [()], IDS, 8)
    without = credit(["answer"]).advantages(np.array([[1.0], [0.0]]), [()], rest, 7, parts)
    assert without.tolist() == whole[:, 1:].tolist()
    marks = credit(["answer"]).by_characters(rest[0], without[0].tolist(), TEXTS[0])
    assert [TEXTS[0][start:stop] for start, stop, value in marks if value] == ["1"]


# Turns: two completions of the model's own tokens 1 1 . 2 and 1 . 2 2, where a tool wrote the others

OWN = [[True, True, False, True], [True, False, True, True]]


def with_turns(marks, rewards, own=OWN, **options):
    made = TokenCredit(
        [None] * len(marks), [None] * len(marks), [1.0] * len(marks), 2, "none", "rewards", TOKENIZER, **options
    )
    ids = [TOKENIZER.encode("abcd", add_special_tokens=False)] * 2
    return made.advantages(np.array(rewards), marks, ids, 5, own=own)


def test_each_turn_has_the_outcomes_advantage_and_its_own():
    marks = [[Turns([1.0, 0.0]), Turns([None, 0.5])], [4.0, 2.0]]
    found = with_turns(marks, [[0.5, 4.0], [0.5, 2.0]])
    outcome, turn = 1.0, np.array([1.0, 0.0, 0.5]) - 0.5
    assert found[0].tolist() == pytest.approx([outcome + turn[0]] * 2 + [outcome, outcome + turn[1], 0])
    assert found[1].tolist() == pytest.approx([-outcome, -outcome, *[-outcome + turn[2]] * 2, 0])


def test_turns_that_earn_alike_leave_the_advantages_of_the_outcome():
    alike = with_turns([[Turns([0.2, 0.2]), Turns([0.2, None])], [4.0, 2.0]], [[0.2, 4.0], [0.2, 2.0]])
    assert alike.tolist() == [[1, 1, 1, 1, 0], [-1, -1, -1, -1, 0]]


def test_values_of_turns_do_not_count_in_the_outcome():
    found = with_turns([[Turns([1.0, 1.0]), Turns([0.0, 0.0])]], [[1.0], [0.0]])
    assert found.tolist() == [[0.5, 0.5, 0, 0.5, 0], [-0.5, 0, -0.5, -0.5, 0]]


def test_a_number_beside_turns_is_about_every_turn():
    found = with_turns([[Turns([1.0, 0.0]), 1.0]], [[0.5], [1.0]])
    assert found[1].tolist() == [0.25, 0, 0.25, 0.25, 0]


def test_a_completion_without_tools_is_one_turn():
    found = with_turns([[Turns([1.0]), Turns([0.0])]], [[1.0], [0.0]], own=None)
    assert found.tolist() == [[0.5] * 4 + [0], [-0.5] * 4 + [0]]


def test_another_number_of_turns_is_refused_with_both_counts():
    with pytest.raises(RewardError, match=r"`hunt` returned values of 3 turns for a completion of 2"):
        with_turns([[Turns([1.0, 0.0, 0.0]), Turns([0.0, 0.0])]], [[0.3], [0.0]], names=["hunt"])
