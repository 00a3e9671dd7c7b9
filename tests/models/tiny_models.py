"""Random models of every kind, a few layers wide 64, written to a folder as a hub model would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZE = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 512,
}  # fmt: skip
EXPERTS = {"num_experts_per_tok": 2, "router_aux_loss_coef": 0.01}
VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
VISION_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for block in message['content'] %}"
    "{% if block['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ block['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_text_model(kind: str, folder: Path) -> Path:
    """A text model with the starter's tokenizer: llama, gemma3, qwen3, qwen3_moe or gpt_oss."""
    import torch
    import transformers

    from gspo_lite.models.starter import build_tokenizer

    tokenizer = build_tokenizer()
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    options: dict[str, Any] = {**SIZE, **ids, "vocab_size": len(tokenizer)}
    name = {"llama": "Llama", "gemma3": "Gemma3", "qwen3": "Qwen3", "qwen3_moe": "Qwen3Moe", "gpt_oss": "GptOss"}[kind]
    if kind == "qwen3_moe":
        options |= {**EXPERTS, "num_experts": 4, "moe_intermediate_size": 64}
    if kind == "gpt_oss":
        options |= {**EXPERTS, "num_local_experts": 4, "layer_types": ["sliding_attention", "full_attention"]}
    config_class = getattr(transformers, "Gemma3TextConfig" if kind == "gemma3" else f"{name}Config")
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForCausalLM")(config_class(**options))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_vision_model(folder: Path) -> Path:
    """A Qwen2.5-VL that takes images of 56 x 56 pixels, with a processor of its own."""
    import torch
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    from gspo_lite.models.starter import build_tokenizer

    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(VISION_TOKENS)})
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
    text = {name: value for name, value in SIZE.items() if name != "head_dim"}
    rope = {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10000.0}
    config = Qwen2_5_VLConfig(
        text_config={
            **text, "vocab_size": len(tokenizer), "rope_parameters": rope, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None,
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
            "fullatt_block_indexes": [1], "window_size": 56, "patch_size": 14,
        },
        vision_start_token_id=start, vision_end_token_id=end, image_token_id=image, video_token_id=video,
        tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    pixels = {"min_pixels": 56 * 56, "max_pixels": 56 * 56}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**pixels),
        chat_template=VISION_TEMPLATE,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_adapter(folder: Path, base: Path, rank: int = 4, **options: Any) -> Path:
    """An adapter on `base` that has learned something: both of its halves are random."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = LoraConfig(r=rank, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", **options)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(folder)
    return folder


def write_judge(folder: Path, outputs: int = 1) -> Path:
    """A sequence classifier with the starter's tokenizer."""
    import torch
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    from gspo_lite.models.starter import build_tokenizer

    tokenizer = build_tokenizer()
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    torch.manual_seed(0)
    config = Qwen3Config(**SIZE, **ids, vocab_size=len(tokenizer), num_labels=outputs)
    Qwen3ForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
