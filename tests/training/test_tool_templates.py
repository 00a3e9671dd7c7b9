"""A two-turn episode under the chat templates that TRL can read: every token is what the template itself renders."""

import re

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM
from trl import chat_template_utils

from gspo_lite import GSPOConfig, GSPOTrainer
from tests.training.trl_behaviours.parts import SIZE

# By family: the token that ends a text, the one that ends a message with a call, how an answer begins, and whether TRL
# swaps in its training template.
FAMILIES = {
    "qwen3": ("<|im_end|>", "<|im_end|>", "", True),
    "qwen3_instruct_2507": ("<|im_end|>", "<|im_end|>", "", False),
    "qwen2_5": ("<|im_end|>", "<|im_end|>", "", False),
    "llama3_1": ("<|eot_id|>", "<|eot_id|>", "", False),
    "llama3_2": ("<|eot_id|>", "<|eot_id|>", "", False),
    "gptoss": ("<|return|>", "<|call|>", "<|channel|>final<|message|>", False),
    "gemma4": ("<eos>", "<|tool_response>", "", False),
    "glm4moe": ("<|endoftext|>", "</tool_call>", "\n<think></think>\n", False),
}
PROMPT = [{"role": "user", "content": "2 + 3?"}]
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 3}}}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "name": "add", "content": "5"}


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: a number
        b: another
    """
    return a + b


def tokenizer_of(template, end):
    """A tokenizer of single bytes, and of the tags that a template writes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<pad>", "<bos>", end])
    core.add_tokens([AddedToken(tag, special=False) for tag in sorted(set(re.findall(r"<\|?/?\w+\|?>", template)))])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=end, pad_token="<pad>", bos_token="<bos>", chat_template=template,
        padding_side="left",
    )  # fmt: skip


def trainer_of(tmp_path, family):
    tokenizer = tokenizer_of(getattr(chat_template_utils, f"{family}_chat_template"), FAMILIES[family][0])
    torch.manual_seed(0)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    config = Qwen3Config(**{**SIZE, "max_position_embeddings": 4096}, vocab_size=len(tokenizer), **ids)
    args = GSPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=2, num_generations=2, steps_per_generation=2,
        max_completion_length=400, use_cpu=True, bf16=False, report_to="none",
    )  # fmt: skip
    rows = [{"prompt": PROMPT}] * 2
    return GSPOTrainer(
        Qwen3ForCausalLM(config), lambda completions, **_: [0.0] * len(completions), args, rows,
        processing_class=tokenizer, tools=[add],
    )  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_an_episode_is_what_the_template_renders(tmp_path, capsys, family):
    trainer, (_, end, begins, is_swapped) = trainer_of(tmp_path, family), FAMILIES[family]
    tokenizer, rounds = trainer.processing_class, []

    def rendered(messages, *, asks):
        return tokenizer.apply_chat_template(
            messages, tools=[add], add_generation_prompt=asks, chat_template=trainer.chat_template, return_dict=False
        )

    asked, called = rendered(PROMPT, asks=True), rendered([*PROMPT, CALLING], asks=False)
    told, last = rendered([*PROMPT, CALLING, RESULT], asks=True), tokenizer.convert_tokens_to_ids(end)
    assert called[: len(asked)] == asked
    call = called[len(asked) : len(called) - called[::-1].index(last)]
    answer = [*tokenizer.encode(f"{begins}5", add_special_tokens=False), tokenizer.eos_token_id]

    def single_turn(prompt_ids, *_, **__):
        rounds.append(prompt_ids)
        return [list(call if len(rounds) == 1 else answer) for _ in prompt_ids], None

    trainer._generate_single_turn = single_turn
    trainer.model.train()
    output = trainer._generate_and_score_completions([{"prompt": PROMPT}] * 2)
    assert rounds == [[asked] * 2, [told] * 2]
    own = len(told) - len(asked) - len(call)
    assert output["completion_ids"][0].tolist() == told[len(asked) :] + answer
    assert output["tool_mask"][0].tolist() == [1] * len(call) + [0] * own + [1] * len(answer)
    messages = trainer._rewarded.completions[0]
    assert [message["role"] for message in messages] == ["assistant", "tool", "assistant"]
    assert messages[0]["tool_calls"] == [CALL]
    assert (messages[1]["content"], messages[2]["content"].strip()) == ("5", "5")
    assert ("TRL's training template" in capsys.readouterr().err) == is_swapped == (trainer.chat_template is not None)
