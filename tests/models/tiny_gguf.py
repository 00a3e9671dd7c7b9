"""GGUF files of random models, as llama.cpp's converter would write them from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.models.tiny_models import SIZE

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
SPACE = "\u2581"


def byte_level_fields(pre: str) -> dict[str, Any]:
    """Metadata of a byte-level vocabulary that knows `th`, `the` and ` the`; its last row is filler."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "th", "the", "Ġthe", "<tool>", "[PAD0]"]
    types = [CONTROL] * 3 + [NORMAL] * (len(letters) + 3) + [USER_DEFINED, UNUSED]
    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": ["t h", "th e", "Ġ the"],
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, "tokenizer.chat_template": TEMPLATE,
    }  # fmt: skip


def sentencepiece_fields() -> dict[str, Any]:
    """Metadata of a SentencePiece vocabulary in which `ab` is a better pair than `bc`, with Gemma's end of turn."""
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    pieces = [SPACE, "a", "b", "c", "ab", "bc", f"{SPACE}ab"]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<end_of_turn>", *bytes_, *pieces]
    return {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [CONTROL] * 3 + [UNKNOWN, CONTROL] + [BYTE] * 256 + [NORMAL] * len(pieces),
        "tokenizer.ggml.scores": [0.0] * 261 + [-1000.0] * 4 + [-1.0, -2.0, -3.0],
        "tokenizer.ggml.bos_token_id": 2, "tokenizer.ggml.eos_token_id": 1, "tokenizer.ggml.unknown_token_id": 3,
        "tokenizer.ggml.padding_token_id": 0, "tokenizer.ggml.add_space_prefix": False,
    }  # fmt: skip


def random_model(kind: str, vocabulary: int) -> Any:
    """A random model of a kind: llama, qwen2, qwen3 or gemma3."""
    import torch
    import transformers

    name, config = {
        "llama": ("Llama", "LlamaConfig"), "qwen2": ("Qwen2", "Qwen2Config"), "qwen3": ("Qwen3", "Qwen3Config"),
        "gemma3": ("Gemma3", "Gemma3TextConfig"),
    }[kind]  # fmt: skip
    torch.manual_seed(0)
    options = {**SIZE, "num_key_value_heads": 1, "vocab_size": vocabulary, "tie_word_embeddings": kind != "qwen2"}
    model = getattr(transformers, f"{name}ForCausalLM")(getattr(transformers, config)(**options))
    for parameter in model.parameters():  # norms and biases begin as ones and zeros, which would hide a mistake
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def write_gguf(file: Path, kind: str, model: Any, fields: dict[str, Any]) -> Path:
    """Write a model with its vocabulary; float32."""
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(file, kind)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    if kind != "qwen2":
        writer.add_key_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    if kind == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    for key, value in fields.items():
        add = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, list: writer.add_array}[
            type(value)
        ]
        add(key, value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[kind.upper()], config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        module, _, part = name.rpartition(".")
        writer.add_tensor(f"{names.get_name(module)}.{part}", stored(kind, name, tensor, config).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def stored(kind: str, name: str, tensor: Any, config: Any) -> Any:
    """Return a weight as GGUF stores it: Llama's heads with their halves interleaved, Gemma's norms with 1 added."""
    if kind == "gemma3" and name.endswith("norm.weight"):
        return tensor + 1
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if kind != "llama" or heads is None:
        return tensor.contiguous()
    return tensor.reshape(heads, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape).contiguous()
