"""Ten kinds of chat model: tokenizers that spell every byte, with the special tokens and the template of a family.

The templates are short ones of our own that behave as the family's: who writes `<bos>`, what a system message becomes,
what is stripped, which variables are read, what ends a turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

SIZE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " 2 + 2?"}]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nA model speaks.<|im_end|>\n' }}{% endif %}" + CHATML
)
EMPTY_THOUGHTS = (
    "{% if add_generation_prompt and enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)
OPEN_THOUGHTS = "{% if add_generation_prompt %}{{ '<think>\n' }}{% endif %}"
LLAMA_3 = (
    "{{ bos_token }}{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{% if messages[0].role == 'system' %}{% set said = messages[0].content | trim %}{% set messages = messages[1:] %}"
    "{% else %}{% set said = '' %}{% endif %}"
    "{{ '<|start_header_id|>system<|end_header_id|>\n\nDate: ' + date_string + '\n\n' + said + '<|eot_id|>' }}"
    "{% for message in messages %}{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}"
    "{{ message.content | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA_TURNS = (
    "{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}"
    "{{ (first if loop.first else '') + message.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
GEMMA_2 = (
    "{{ bos_token }}{% set first = '' %}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('no system role') }}{% endif %}" + GEMMA_TURNS
)
GEMMA_3 = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}" + GEMMA_TURNS
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if message.role == 'user' %}"
    "{{ '[INST] ' + message.content + ' [/INST]' }}{% else %}{{ message.content + eos_token }}{% endif %}{% endfor %}"
)
PHI = (
    "{% for message in messages %}{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
GPT_OSS = (
    "{{ '<|start|>system<|message|>Date: ' + strftime_now('%Y-%m-%d') }}"
    "{{ '\nReasoning: ' + (reasoning_effort | default('medium')) + '<|end|>' }}"
    "{% for message in messages %}{% if message.role == 'system' %}"
    "{{ '<|start|>developer<|message|>' + message.content + '<|end|>' }}{% elif message.role == 'user' %}"
    "{{ '<|start|>user<|message|>' + message.content + '<|end|>' }}{% else %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + message.content + '<|return|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A kind of chat model.

    Attributes:
        prompt: how it is asked `CHAT`.
        ends: all tokens that end a completion.
        eos: that of its tokenizer.
        configured: those in its generation config.
        adds_bos: whether its tokenizer writes `<bos>` before any text, where special tokens are asked for.
        others: special tokens besides.
    """

    template: str | None
    prompt: str
    ends: tuple[str, ...]
    eos: str
    configured: tuple[str, ...]
    bos: str | None = None
    adds_bos: bool = False
    others: tuple[str, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


IM = ("<|im_end|>", "<|endoftext|>")
ASKED_IN_CHATML = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n 2 + 2?<|im_end|>\n<|im_start|>assistant\n"
)
HEADS = ("<|start_header_id|>", "<|end_header_id|>")
LLAMA_ENDS = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")
TURNS = ("<start_of_turn>", "<end_of_turn>")
ASKED_IN_TURNS = "<bos><start_of_turn>user\nBe brief.\n\n2 + 2?<end_of_turn>\n<start_of_turn>model\n"
OSS_ENDS = ("<|return|>", "<|endoftext|>", "<|call|>")
FAMILIES = {
    "qwen2.5": Family(DEFAULT_SYSTEM, ASKED_IN_CHATML, IM, IM[0], IM, others=("<|im_start|>",)),
    "qwen3": Family(
        CHATML + EMPTY_THOUGHTS, ASKED_IN_CHATML + "<think>\n\n</think>\n\n", IM, IM[0], IM,
        others=("<|im_start|>",), kwargs={"enable_thinking": False},
    ),
    "llama3": Family(
        LLAMA_3,
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nDate: 1 Jan 2026\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n2 + 2?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        LLAMA_ENDS, "<|eot_id|>", LLAMA_ENDS, "<|begin_of_text|>", True, HEADS, {"date_string": "1 Jan 2026"},
    ),
    "gemma2": Family(
        GEMMA_2, ASKED_IN_TURNS.replace("2 + 2", " 2 + 2"), ("<eos>", "<end_of_turn>"), "<eos>", ("<eos>",), "<bos>",
        True, TURNS,
    ),
    "gemma3": Family(
        GEMMA_3, ASKED_IN_TURNS, ("<eos>", "<end_of_turn>"), "<eos>", ("<eos>", "<end_of_turn>"), "<bos>", True, TURNS
    ),
    "mistral": Family(MISTRAL, "<s>[INST] Be brief.\n\n 2 + 2? [/INST]", ("</s>",), "</s>", ("</s>",), "<s>", True),
    "smollm2": Family(DEFAULT_SYSTEM, ASKED_IN_CHATML, ("<|im_end|>",), "<|im_end|>", ("<|im_end|>",), "<|im_start|>"),
    "phi": Family(
        PHI, "<|system|>\nBe brief.<|end|>\n<|user|>\n 2 + 2?<|end|>\n<|assistant|>\n",
        ("<|endoftext|>", "<|end|>"), "<|endoftext|>", ("<|endoftext|>", "<|end|>"), "<s>",
        others=("<|system|>", "<|user|>", "<|assistant|>"),
    ),
    "gpt_oss": Family(
        GPT_OSS,
        f"<|start|>system<|message|>Date: {date.today()}\nReasoning: low<|end|><|start|>developer<|message|>Be brief."
        "<|end|><|start|>user<|message|> 2 + 2?<|end|><|start|>assistant",
        OSS_ENDS, "<|return|>", OSS_ENDS, others=("<|start|>", "<|message|>", "<|channel|>", "<|end|>"),
        kwargs={"reasoning_effort": "low"},
    ),
    "none": Family(None, "<bos>Be brief.\n\n 2 + 2?\n", ("<eos>",), "<eos>", ("<eos>",), "<bos>", True),
}  # fmt: skip

# A model that always thinks, as DeepSeek-R1's and later Qwen3 do: the prompt ends with the opening tag.
THINKER = Family(CHATML + OPEN_THOUGHTS, ASKED_IN_CHATML + "<think>\n", IM[:1], IM[0], IM[:1], others=("<|im_start|>",))


def build_tokenizer(family: Family) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    named = dict.fromkeys(filter(None, ("<pad>", family.bos, family.eos, *family.configured, *family.others)))
    vocab = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in named])
    if family.adds_bos:
        bos = (family.bos, core.token_to_id(family.bos))
        core.post_processor = processors.TemplateProcessing(single=f"{bos[0]}:0 $A:0", special_tokens=[bos])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=family.bos, eos_token=family.eos, pad_token="<pad>",
        chat_template=family.template, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def write_family(family: Family, folder: Path, **generation: Any) -> Path:
    """Write a random model of a family to a folder; `generation` are sampling defaults it brings."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer(family)
    ends = tokenizer.convert_tokens_to_ids(list(family.configured))
    ids = {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZE, **ids, vocab_size=len(tokenizer), eos_token_id=ends))
    model.generation_config = GenerationConfig(**ids, eos_token_id=ends, **generation)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
