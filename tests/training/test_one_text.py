"""Training judges the same text as evaluation: all that the assistant wrote, and nothing else."""

from itertools import chain

import numpy as np
import pytest
from trl import GRPOTrainer

from gspo_lite import GSPOTrainer, load_recipe
from gspo_lite.completion.decoding import decoder
from gspo_lite.completion.offsets import part_offsets, token_offsets
from gspo_lite.completion.text import Layout, completion_parts, completion_text
from gspo_lite.evaluation import evaluate
from gspo_lite.models import generate
from gspo_lite.models.load import load_model
from gspo_lite.models.starter import build_tokenizer
from gspo_lite.recipe.schema import ModelSettings, RewardSettings, TailCredit
from gspo_lite.rewards.contract.judging import score
from gspo_lite.rewards.contract.registry import build_rewards
from gspo_lite.training.token_credit import TokenCredit
from tests.models.chat_families import THINKER, write_family
from tests.training.test_trainer import PROMPTS, config, loaded

RIGHT = "<think>7+5=12</think><answer>12</answer>"
TEXTS = [
    RIGHT, "<think>7+5=12</think>12", "<think>7+5=12", "<answer>12</answer>", "<think></think><answer>12</answer>",
    "<think>7+5=12</think><answer>13</answer>", "7+5=12</think><answer>12</answer>", "12",
]  # fmt: skip
TEMPLATE = {  # as the tokenizers of Qwen have it
    "defaults": {"role": "assistant"},
    "start_anchor": "\n",
    "fields": {
        "reasoning_content": {"open": "<think>", "close_pattern": r"</think>\s*", "content": "text"},
        "content": {"close_pattern": r"<eos>\s*|$", "content": "text"},
    },
}
NAMES = ("math_correct", "think_format", "tag_count")


def made(names=NAMES, layout=None):
    return build_rewards([RewardSettings(name=name) for name in names], layout)


def trainer_with(tmp_path, parts, rewards, **options):
    args = config(tmp_path, max_steps=1, steps_per_generation=1, **options)
    rows = [{"prompt": prompt, "answer": "12"} for prompt in PROMPTS]
    return GSPOTrainer(parts.model, rewards, args, rows, processing_class=parts.processing_class)


def evaluated(texts, names=NAMES, layout=None):
    rows = [{"prompt": PROMPTS[0], "answer": "12"}] * len(texts)
    calls = score(made(names, layout), rows, texts, [[1]] * len(texts))
    return [{name: call.values[row] for name, call in calls.items()} for row in range(len(texts))]


def test_reasoning_that_a_response_template_splits_off_is_judged_as_in_evaluation(tmp_path, monkeypatch, starter):
    parts, seen = loaded(), []

    def spy(completions, **columns):
        seen.extend(one[0]["content"] for one in completions)
        return [0.0] * len(completions)

    trainer = trainer_with(tmp_path, parts, [*made(), spy])
    tokenizer = trainer.processing_class
    tokenizer.response_template = TEMPLATE
    ids = [[*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id] for text in TEXTS]
    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", lambda *_, **__: (ids, None))
    parsed = tokenizer.parse_response(ids[0], prefix=tokenizer.encode("\n", add_special_tokens=False))
    assert parsed["reasoning_content"] == "7+5=12"  # split off, as TRL hands it on
    trainer.train()
    assert seen == TEXTS
    assert [row["completion"] for row in trainer.rollout] == TEXTS
    judged = [{name: row["rewards"][name] for name in NAMES} for row in trainer.rollout]
    assert judged == evaluated(TEXTS)
    assert judged[0] == {"math_correct": 1.0, "think_format": 1.0, "tag_count": 1.0}


TURNS = ["<think>I ask</think>", "12", "<think>it says 12</think><answer>13</answer>"]


def conversation(said=TURNS):
    called = {"role": "assistant", "reasoning_content": "I ask", "content": "", "tool_calls": [{"type": "function"}]}
    reply = {"role": "assistant", "reasoning_content": "it says 12", "content": said[2].partition("</think>")[2]}
    return [called, {"role": "tool", "name": "add", "content": said[1]}, reply]


def test_what_only_a_tool_wrote_is_not_paid(tmp_path, monkeypatch, starter):
    parts = loaded()
    args, seen = {"importance_sampling_level": "sequence_token"}, []
    trainer = trainer_with(tmp_path, parts, made(("math_correct", "numeric_match")), **args)
    turns = [TURNS[0], f"<answer>{TURNS[1]}</answer>", TURNS[2]]
    pieces = [trainer.processing_class.encode(text, add_special_tokens=False) for text in turns]
    ids, mask = [*chain(*pieces)], [int(turn != 1) for turn, piece in enumerate(pieces) for _ in piece]

    def generated(self, prompts):
        asked = [self.processing_class.encode("?", add_special_tokens=False)] * len(prompts)
        messages = [conversation(turns) for _ in prompts]
        return asked, [ids] * len(prompts), [mask] * len(prompts), messages, None, {}, None, []

    def spy(credit, rewards, marks, completion_ids, width, *texts):
        seen.extend(texts)

    monkeypatch.setattr(GRPOTrainer, "_generate", generated)
    monkeypatch.setattr(TokenCredit, "advantages", spy)
    trainer.train()
    spoken, own = (one[0] for one in seen)
    assert ("".join(spoken), own) == (TURNS[0] + TURNS[2], [bool(bit) for bit in mask])
    assert {tuple(row["rewards"].values()) for row in trainer.rollout} == {(0.0, 0.0)}
    assert trainer.rollout[0]["completion"] == TURNS[0] + TURNS[2]
    assert trainer.rollout[0]["extracted"] == "13"


def test_credit_in_a_conversation_is_for_the_models_own_tokens():
    tokenizer = build_tokenizer()
    pieces = [tokenizer.encode(text, add_special_tokens=False) for text in TURNS]
    ids, own = [*chain(*pieces)], [turn != 1 for turn, piece in enumerate(pieces) for _ in piece]
    credit = TokenCredit(["answer"], [Layout()], [1.0], 2, "group", "rewards", tokenizer)
    parts = completion_parts(conversation())
    text, offsets = credit.read(ids, parts, own)
    assert text == "".join((TURNS[0], TURNS[2])) == completion_text(conversation())
    assert "".join(text[start:end] for start, end in offsets) == text
    assert [offsets[i][0] == offsets[i][1] for i in range(len(ids)) if not own[i]] == [True] * len(pieces[1])
    advantages = credit.advantages(
        np.array([[1.0], [0.0]]), [()], [ids, ids], len(ids), parts=[parts, parts], own=[own, own]
    )
    moved = [tokenizer.decode([token]) for token, value in zip(ids, advantages[0].tolist(), strict=True) if value]
    assert "".join(moved) == "13"


def test_parts_that_are_not_in_the_tokens_have_none():
    offsets = [(0, 2), (2, 3), (3, 6)]  # of `so</think>7`, cut short
    assert part_offsets(offsets, "soX789", ["<think>", "so", "789"]) == [(7, 9), (9, 9), (9, 12)]
    assert part_offsets(offsets, "soX789", ["X"]) == [(0, 0), (0, 1), (1, 1)]
    assert part_offsets([], "", ["so"]) == []


@pytest.mark.parametrize(
    ("thinking", "special", "written", "without"),
    [
        ("magistral", ["[THINK]", "[/THINK]"], "[THINK]7+5=12[/THINK]<answer>12</answer>", "7+5=12<answer>12</answer>"),
        (
            "gpt_oss",
            ["<|channel|>", "<|message|>", "<|start|>"],  # <|end|> is the starter's own end of a text
            "<|channel|>analysis<|message|>7+5<|start|>assistant<|channel|>final<|message|><answer>12</answer>",
            "analysis7+5assistantfinal<answer>12</answer>",
        ),
        (
            "gemma", ["<|channel>", "<channel|>"], "<|channel>thought\n7+5<channel|><answer>12</answer>",
            "thought\n7+5<answer>12</answer>",
        ),
    ],
)  # fmt: skip
def test_tags_that_are_special_tokens_stay_in_the_text(tmp_path, starter, thinking, special, written, without):
    parts, layout = loaded(), Layout("tag", thinking)
    rewards = made(layout=layout)
    trainer = trainer_with(tmp_path, parts, rewards)
    tokenizer = trainer.processing_class
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    ids = [*tokenizer.encode(written, add_special_tokens=False), tokenizer.eos_token_id]
    assert tokenizer.decode(ids, skip_special_tokens=True) == without  # what TRL passes
    decode = decoder(tokenizer, layout)
    assert decode(ids) == written
    row = {"prompt": PROMPTS[0], "answer": "12"}
    delivered = [[{"role": "assistant", "content": without}]]
    values = trainer._calculate_rewards([row], [PROMPTS[0]], delivered, [ids])
    assert values.tolist() == [list(evaluated([written], layout=layout)[0].values())] == [[1.0, 1.0, 1.0]]
    offsets = token_offsets(tokenizer, ids, written, decode)
    assert "".join(written[start:end] for start, end in offsets) == written
    assert offsets[-1] == (len(written), len(written))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "<answer>7</answer>", "reasoning_content": "so"}, "<think>so</think><answer>7</answer>"),
        ({"content": "7", "thinking": "so"}, "<think>so</think>7"),
        ({"content": "7", "reasoning": "so"}, "<think>so</think>7"),
        ({"content": "", "reasoning_content": "so"}, "<think>so</think>"),
        ({"content": None, "reasoning_content": "so"}, "<think>so</think>"),
        ({"content": "7", "reasoning_content": ""}, "7"),
        ({"content": "7", "reasoning_content": None}, "7"),
        ({"content": "7", "reasoning_content": 3}, "7"),
        ({"content": "<think>so</think>7", "reasoning_content": "so"}, "<think>so</think>7"),
        ({"content": "so</think>7", "reasoning_content": "so"}, "so</think>7"),
        ({"content": [{"type": "text", "text": "7"}], "thinking": "so"}, "<think>so</think>7"),
        ({"role": "tool", "content": "7", "thinking": "so"}, ""),
        ({"role": "user", "content": "7"}, ""),
        ({"role": "developer", "content": "7"}, ""),
    ],
)
def test_reasoning_is_put_back_and_only_the_assistant_speaks(message, text):
    assert completion_text([{"role": "assistant", **message}]) == text


def test_evaluation_decodes_as_training_does(monkeypatch, starter):
    parts, written = loaded(), "[THINK]7+5=12[/THINK]<answer>12</answer>"
    tokenizer = parts.processing_class
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]"]})
    ids = tokenizer.encode(written, add_special_tokens=False)
    monkeypatch.setattr(generate, "generate", lambda *_, **__: [ids])
    recipe = load_recipe("quickstart", ["data.thinking=magistral"]).recipe
    row = {"prompt": PROMPTS[0], "answer": "12"}
    assert generate.answer(parts.model, tokenizer, [row], recipe, None) == [generate.Answer(written, ids)]
    figures = evaluate(parts.model, tokenizer, [row], recipe).figures
    assert (figures["accuracy"], figures["sampled_accuracy"], figures["format_rate"]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("prompts", "opened"), [(PROMPTS, "<think>\n"), (["What is 1 + 1?"] * 16, "")])
def test_thoughts_that_the_template_opens_are_in_the_text_that_is_judged(tmp_path, prompts, opened):
    settings = ModelSettings(name=str(write_family(THINKER, tmp_path / "model")), load_in_4bit=False, dtype="float32")
    parts, seen = load_model(settings, "transformers"), []

    def spy(completions, **columns):
        seen.extend(completion_text(one) for one in completions)
        return [float(index) for index in range(len(completions))]

    args = config(tmp_path, importance_sampling_level="sequence_token", max_completion_length=6)
    rows = [{"prompt": prompt} for prompt in prompts]
    credits = [TailCredit(tail=2)]
    trainer = GSPOTrainer(parts.model, spy, args, rows, processing_class=parts.processing_class, credits=credits)
    trainer.model.train()
    trainer._generate_and_score_completions([row for row in rows[:2] for _ in range(8)])
    decoded = [parts.processing_class.decode(ids, skip_special_tokens=True) for ids, _ in trainer.per_token]
    assert seen == [f"{opened}{text}" for text in decoded]
    for row, text in zip(trainer.sampled(16), decoded, strict=True):
        assert row["completion"] == f"{opened}{text}"
        places = [(start, end) for start, end, _ in row["token_advantages"]]
        assert not places or (places[0][0], places[-1][1]) == (len(opened), len(opened) + len(text))
