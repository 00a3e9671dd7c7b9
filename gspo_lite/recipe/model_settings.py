"""The model of a recipe: which one is trained, how its weights are stored, and the adapter on it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gspo_lite.recipe.fields import PositiveInt, Settings, Share, Text

NARROW = ("load_in_4bit", "load_in_8bit", "load_in_fp8")  # keys that store base weights in fewer than 16 bits


class LoraSettings(Settings):
    """The low-rank adapter that is trained."""

    rank: PositiveInt = Field(16, description="Rank of the adapter.")
    alpha: PositiveInt = Field(32, description="Scale of the adapter: its output is multiplied by alpha / rank.")
    dropout: Share = Field(0.0, description="Dropout inside the adapter; GRPO generates in train mode, so keep 0.")
    target_modules: Literal["all-linear"] | list[Text] = Field(
        "all-linear", description="Layers that get an adapter: `all-linear`, or a list of module names."
    )


class ModelSettings(Settings):
    """The language model to train, and how it is loaded."""

    name: Text = Field(
        description="Hub id, folder, GGUF file, `smollm2`, or `starter` or `starter-tools` (built here)."
    )
    adapter: Text | None = Field(
        None,
        description="LoRA adapter to continue, such as one from supervised training: a folder, a run folder or a hub "
        "id. The KL penalty refers to it.",
    )
    backend: Literal["auto", "unsloth", "transformers"] = Field(
        "auto", description="`auto` uses Unsloth if it can run here, else transformers with PEFT."
    )
    load_in_4bit: bool = Field(True, description="Load the base weights as 4-bit NF4; without 4 or 8 bits, as `dtype`.")
    load_in_8bit: bool = Field(False, description="Load the base weights in 8 bits (LLM.int8).")
    load_in_fp8: bool = Field(
        False, description="Load the base weights in 8-bit floating point, by Unsloth on an RTX 40, L4, H100 or later."
    )
    full_finetuning: bool = Field(False, description="Train every weight, in float32, instead of an adapter.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Type of the base weights; `auto` is bfloat16 or float16 on a GPU, float32 on a CPU."
    )
    max_seq_length: PositiveInt = Field(2048, description="Longest prompt plus completion, in tokens.")
    gpu_memory_utilization: Share = Field(0.6, description="Share of GPU memory that vLLM may use.")
    vllm_standby: bool = Field(
        False, description="Let vLLM inside Unsloth give its cache's memory to training; Unsloth then sets the share."
    )
    float8_kv_cache: bool = Field(False, description="Let vLLM inside Unsloth keep its cache in 8-bit floating point.")
    trust_remote_code: bool = Field(False, description="Run Python code that comes with the model.")
    chat_template_kwargs: dict[str, Any] = Field(
        default_factory=dict,
        description="Variables of the model's chat template, such as `enable_thinking: false` or "
        "`reasoning_effort: low`, for every prompt in training and outside it.",
    )
    lora: LoraSettings = Field(LoraSettings(), description="The adapter that is trained; `adapter` brings its own.")

    @property
    def narrow(self) -> list[str]:
        """The keys that ask for base weights of fewer than 16 bits; none where they stay unquantized."""
        return [name for name in NARROW if getattr(self, name)]
