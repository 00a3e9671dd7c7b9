"""Which tags mean thinking: for each preset, texts with the answer that is spoken, and the thoughts."""

import pytest

from gspo_lite.completion.text import Layout, answer_spans, find_answer, layout_of
from gspo_lite.completion.thinking import PRESETS, after_thinking, tags_of, thought_spans
from gspo_lite.credit import credit_spans
from gspo_lite.rewards.format import tag_count, think_format
from gspo_lite.rewards.math import grade

CALL = "<|start|>assistant<|channel|>commentary to=functions.add <|constrain|>json<|message|>{}<|call|>"
ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
OWN = ("<start_working_out>", "<end_working_out>")

# thinking, text, what is spoken (None while thoughts are open), the thoughts
TEXTS = [
    ("think", "<think>so</think>7", "7", ["so"]),
    ("think", "so</think>7", "7", ["so"]),  # the prompt held the opening tag
    ("think", "<think>so 7", None, ["so 7"]),
    ("think", "<think></think>\n\n7", "\n\n7", [""]),
    ("think", "<think>a</think>b<think>c</think>7", "7", ["a</think>b<think>c"]),
    ("think", "7<think>hm", None, ["hm"]),
    ("think", "7", "7", []),
    ("think", "[THINK]so[/THINK]7", "[THINK]so[/THINK]7", []),
    ("think", "<thinking>so</thinking>7", "<thinking>so</thinking>7", []),
    ("thinking", "<thinking>so</thinking>7", "7", ["so"]),
    ("thinking", "so</thinking>7", "7", ["so"]),
    ("thinking", "<thinking>so 7", None, ["so 7"]),
    ("thinking", "<thinking>a</thinking><thinking>b</thinking>7", "7", ["a</thinking><thinking>b"]),
    ("thinking", "<thinking>\n</thinking>", "", ["\n"]),
    ("thinking", "7<thinking>", None, [""]),
    ("thinking", "7", "7", []),
    ("thinking", "<think>so</think>7", "<think>so</think>7", []),
    ("reasoning", "<reasoning>\nso\n</reasoning>\n<answer>\n7\n</answer>", "\n<answer>\n7\n</answer>", ["\nso\n"]),
    ("reasoning", "so</reasoning>7", "7", ["so"]),
    ("reasoning", "<reasoning>so 7", None, ["so 7"]),
    ("reasoning", "<reasoning>a</reasoning><reasoning>b", None, ["a</reasoning><reasoning>b"]),
    ("reasoning", "<reasoning></reasoning>7", "7", [""]),
    ("reasoning", "my reasoning: 7", "my reasoning: 7", []),
    ("reasoning", "7", "7", []),
    ("reasoning", "<think>so 7", "<think>so 7", []),
    ("magistral", "[THINK]so[/THINK]7", "7", ["so"]),
    ("magistral", "so[/THINK]7", "7", ["so"]),
    ("magistral", "[THINK]so 7", None, ["so 7"]),
    ("magistral", "[THINK]a[/THINK]b[THINK]c[/THINK]7", "7", ["a[/THINK]b[THINK]c"]),
    ("magistral", "[think]so[/think]7", "[think]so[/think]7", []),
    ("magistral", "7[THINK]", None, [""]),
    ("magistral", "7", "7", []),
    ("magistral", "<think>so</think>7", "<think>so</think>7", []),
    ("gpt_oss", f"{ANALYSIS}so<|end|><|start|>assistant{FINAL}7<|return|>", "7", ["so"]),
    ("gpt_oss", f"{ANALYSIS}so<|end|><|start|>assistant{FINAL}7", "7", ["so"]),
    ("gpt_oss", f"{ANALYSIS}so 7<|end|>", None, ["so 7<|end|>"]),
    ("gpt_oss", f"{ANALYSIS}a<|end|>{CALL}<|start|>assistant{FINAL}7", "7", [f"a<|end|>{CALL}"]),
    ("gpt_oss", f"{ANALYSIS}a<|end|>{CALL}", None, [f"a<|end|>{CALL}"]),
    ("gpt_oss", f"{FINAL}7<|return|>", "7", [""]),
    ("gpt_oss", f"{FINAL}7<|end|><|start|>assistant{ANALYSIS}hm 8", None, ["hm 8"]),
    ("gpt_oss", "<|channel|>final <|constrain|>json<|message|>{}<|return|>", "{}", [""]),
    ("gpt_oss", "<|channel|>commentary<|message|>I look it up: 7<|end|>", None, ["I look it up: 7<|end|>"]),
    ("gpt_oss", "analysisso we addassistantfinal7", "7", ["so we add"]),  # decoded without special tokens
    ("gpt_oss", "analysisso 7", None, ["so 7"]),
    ("gpt_oss", "analysisaassistantcommentary to=functions.add json{}assistantfinal7", "7",
     ["aassistantcommentary to=functions.add json{}"]),
    ("gpt_oss", "analysisaassistantfinal7assistantanalysishm", None, ["aassistantfinal7assistantanalysishm"]),
    ("gpt_oss", "final7", "7", [""]),
    ("gpt_oss", "final answer: 7", "final answer: 7", []),
    ("gpt_oss", "The analysis says 7", "The analysis says 7", []),
    ("gpt_oss", "7", "7", []),
    ("gemma", "<|channel>thought\nso<channel|>7<turn|>", "7", ["so"]),
    ("gemma", "<|channel>thought\nso<channel|>7", "7", ["so"]),
    ("gemma", "<|channel>thought\n<channel|>7", "7", [""]),  # how the larger ones answer with thinking off
    ("gemma", "so<channel|>7", "7", ["so"]),
    ("gemma", "<|channel>thought\nso 7", None, ["so 7"]),
    ("gemma", "thought\nso 7", None, ["so 7"]),  # decoded without special tokens: no end of the thoughts
    ("gemma", "<|channel>thought\na<channel|>b<|channel>thought\nc<channel|>7", "7",
     ["a<channel|>b<|channel>thought\nc"]),
    ("gemma", "I thought\nso: 7", "I thought\nso: 7", []),
    ("gemma", "7", "7", []),
    (OWN, "<start_working_out>so<end_working_out><SOLUTION>7</SOLUTION>", "<SOLUTION>7</SOLUTION>", ["so"]),
    (OWN, "so<end_working_out>7", "7", ["so"]),
    (OWN, "<start_working_out>so 7", None, ["so 7"]),
    (OWN, "<start_working_out>so</start_working_out>7", None, ["so</start_working_out>7"]),
    (OWN, "<think>so</think>7", "<think>so</think>7", []),
    (("(", ")"), "(so)7", "7", ["so"]),
    (("Thought:", "Final:"), "Thought: so\nFinal: 7", " 7", [" so\n"]),
    (("Thought:", "Final:"), "Thought: so\nFinal 7", None, [" so\nFinal 7"]),
]  # fmt: skip


@pytest.mark.parametrize(("thinking", "text", "spoken", "thoughts"), TEXTS)
def test_what_is_spoken_comes_after_the_last_closing_tag(thinking, text, spoken, thoughts):
    assert after_thinking(text, thinking) == spoken
    assert [text[start:end] for start, end in thought_spans(text, thinking)] == thoughts
    assert find_answer(text, "text", thinking) == ((spoken or "").strip() or None)
    layout = Layout("text", thinking)
    assert credit_spans("answer", text, layout) == [(a, b, 1.0) for a, b in answer_spans(text, "text", thinking)]
    assert credit_spans("think", text, layout) == [(a, b, 1.0) for a, b in thought_spans(text, thinking) if a < b]


EVERY = [*PRESETS, OWN]


@pytest.mark.parametrize("thinking", EVERY)
def test_rewards_read_the_answer_after_these_thoughts_and_pay_none_inside_them(thinking):
    right, tags = Layout("tag", thinking).form("7", "so <answer>8</answer>"), tags_of(thinking)
    assert grade(right, 7, "tag", thinking) is True
    assert grade(f"{tags.open}<answer>7</answer>", 7, "tag", thinking) is False
    assert grade(f"{tags.open}so{tags.close}", 7, "tag", thinking) is False
    assert grade(f"{right}{tags.open}hm", 7, "tag", thinking) is False


@pytest.mark.parametrize("thinking", EVERY)
def test_the_form_is_about_these_tags(thinking):
    format_of, count = think_format.with_options(thinking=thinking), tag_count.with_options(thinking=thinking)
    layout, tags = Layout("tag", thinking), tags_of(thinking)
    right = layout.form("7", "so")
    for text, value, share in [
        (right, 1.0, 1.0),
        (right.removeprefix(tags.open), 1.0, 0.75),
        (f"\n{right}\n", 1.0, 1.0),
        (layout.form("", "so"), 0.0, 1.0),
        (f"well {right}", 0.0, 1.0),
        (f"{right}!", 0.0, 1.0),
        (right + right, 0.0, 0.0),
        (f"{tags.open}so<answer>7</answer>", 0.0, 0.75),
        ("<answer>7</answer>", 0.0, 0.5),
        (right.replace("</answer>", ""), 0.0, 0.75),
    ]:
        assert (format_of([text]), count([text])) == ([value], [share]), text


def test_credit_tags_covers_the_tags_of_the_layout():
    text = "[THINK]so[/THINK]<SOLUTION>7</SOLUTION> <think>"
    layout = layout_of({"tags": ["<SOLUTION>", "</SOLUTION>"]}, "magistral")
    found = sorted(text[start:end] for start, end, _ in credit_spans("tags", text, layout))
    assert found == ["</SOLUTION>", "<SOLUTION>", "[/THINK]", "[THINK]"]
