"""Where the settings of other trainers are in a recipe: TRL's GRPOConfig and scripts, open-r1, axolotl, Unsloth.

Every key has one answer: a place in the recipe, or the reason why it has none. Must not know values.
"""

from __future__ import annotations

from dataclasses import dataclass

from gspo_lite.recipe.extra import EPOCHS, FIXED, NO_EFFECT, OWNED, SERVER
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system.redaction import is_secret

SERVING = "completions are sampled inside the run; with a server of its own see docs/scaling.md"
# Places with the keys of other names that belong there; GRPOConfig's fields that a recipe sets are in `extra.OWNED`.
PLACES = {
    "model.name": "model_name_or_path base_model model_name model model_id",
    "model.adapter": "lora_model_dir adapter_name_or_path",
    "model.dtype": "torch_dtype dtype",
    "model.load_in_4bit": "load_in_4bit",
    "model.load_in_8bit": "load_in_8bit",
    "model.load_in_fp8": "load_in_fp8",
    "model.vllm_standby": "unsloth_vllm_standby",
    "model.float8_kv_cache": "float8_kv_cache",
    "model.full_finetuning": "full_finetuning",
    "model.trust_remote_code": "trust_remote_code",
    "model.gpu_memory_utilization": "gpu_memory_utilization",
    "model.max_seq_length": "max_seq_length sequence_len",
    "model.lora": "use_peft adapter peft_config",
    "model.lora.rank": "lora_r lora_rank r",
    "model.lora.alpha": "lora_alpha",
    "model.lora.dropout": "lora_dropout",
    "model.lora.target_modules": "lora_target_modules target_modules lora_target_linear",
    "data.source": "dataset_name dataset_id train_file data_files datasets dataset_mixture dataset",
    "data.subset": "dataset_config dataset_configs dataset_config_name",
    "data.split": "dataset_train_split dataset_split",
    "data.eval.split": "dataset_test_split",
    "data.eval.source": "test_datasets",
    "data.columns.prompt": "dataset_prompt_column",
    "data.columns.answer": "dataset_answer_column",
    "data.streaming": "dataset_streaming",
    "data.system_prompt": "system_prompt",
    "rewards": "reward_funcs reward_functions reward_model_name_or_path reward_model_path soft_punish_cache "
    "max_completion_len",
    "objective.algorithm": "rl",
    "objective.beta": "kl_coef kl_beta",
    "objective.epsilon": "clip_eps clip_range clip_ratio epsilon_low",
    "generation.engine": "fast_inference",
    "generation.num_generations": "num_return_sequences group_size n_generations",
    "generation.max_completion_length": "max_new_tokens max_response_length",
    "generation.sample_factor": "oversample",
    "training.max_steps": "num_steps total_steps train_steps steps",
    "training.learning_rate": "lr",
    "training.lr_scheduler_type": "lr_scheduler scheduler",
    "training.warmup_steps": "warmup_ratio",
    "training.optim": "optimizer",
    "training.per_device_train_batch_size": "micro_batch_size batch_size",
    "training.gradient_accumulation_steps": "grad_accum gradient_accumulation",
    "training.gradient_checkpointing": "use_gradient_checkpointing activation_checkpointing",
    "training.extra.gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
    "training.seed": "random_state",
    "training.save_steps": "save_every",
    "output.dir": "output_path",
    "output.completions_per_step": "num_completions_to_print",
}
OPTIONS = ("cosine_", "repetition_")  # of rewards, before their names

# Reasons with the keys that have no place in a recipe.
REASONS = {
    EPOCHS: "num_epochs epochs",
    SERVING: "vllm vllm_device vllm_dtype vllm_max_model_len vllm_group_port vllm_guided_decoding_regex vllm_lora_sync "
    "vllm_sync_interval vllm_enable_prefix_caching vllm_host vllm_port",
    "held-out problems have their own keys: data.eval, training.eval_steps, training.stop_early, output.keep_best": ""
    "do_train do_eval do_predict eval_strategy evaluation_strategy eval_delay eval_on_start per_device_eval_batch_size "
    "eval_batch_size eval_accumulation_steps batch_eval_metrics eval_do_concat_batches eval_use_gather_object "
    "include_for_metrics include_inputs_for_metrics prediction_loss_only num_generations_eval bf16_full_eval "
    "fp16_full_eval label_names metric_for_best_model greater_is_better evals_per_epoch "
    "val_set_size benchmarks early_stopping_patience eval_sample_packing eval_max_new_tokens",
    "nothing is uploaded: `gspo-lite push RUN --to user/name` does it": "push_to_hub push_to_hub_revision "
    "hub_model_id hub_model_revision hub_strategy hub_private_repo hub_always_push hub_revision overwrite_hub_revision "
    "push_to_hub_model_id push_to_hub_organization log_completions_hub_repo",
    "a run has one GPU, or several that each hold the model: docs/scaling.md": "deepspeed fsdp fsdp_config "
    "parallelism_config accelerator_config local_rank ds3_gather_for_generation num_processes context_parallel_size "
    "tensor_parallel_size sequence_parallel_degree vllm_tensor_parallel_size tp_size",
    "every optimizer step is logged": "logging_steps logging_first_step logging_nan_inf_filter "
    "logging_dir log_level log_level_replica log_on_each_node include_num_input_tokens_seen include_tokens_per_second "
    "skip_memory_metrics",
    "completions are always written: output.completions_per_step": "log_completions log_unique_prompts "
    "wandb_log_unique_prompts log_multimodal",
    "set the tracker's own environment variable, such as WANDB_PROJECT": "wandb_project wandb_entity wandb_run_group "
    "wandb_name wandb_watch wandb_run_id wandb_log_model mlflow_tracking_uri mlflow_experiment_name comet_project_name "
    "use_wandb use_tensorboard",
    "is chosen for the machine": "attn_implementation flash_attention sdp_attention xformers_attention flex_attention "
    "device_map fp8 device use_flash_attention_2 bnb_4bit_quant_type use_bnb_nested_quant bnb_4bit_quant_storage "
    "max_lora_rank bias task_type lora_task_type fix_tokenizer enforce_eager half_precision_backend "
    "auto_find_batch_size",
    "training.save_steps counts the steps between checkpoints; null saves none": "save_strategy",
    "a checkpoint holds what an exact resume needs: training.save_steps, output.save_total_limit": "saves_per_epoch "
    "save_only_model save_on_each_node save_safetensors save_first_step ignore_data_skip enable_jit_checkpoint "
    "restore_callback_states_from_checkpoint auto_resume_from_checkpoints",
    "an existing run folder is refused: output.if_exists may be `resume` or `overwrite`, which deletes the run": ""
    "overwrite_output_dir",
    "columns stay for the rewards": "remove_unused_columns",
    "the model is loaded with the keys of `model`": "model_kwargs tokenizer_name tokenizer_type "
    "tokenizer_name_or_path model_type tokenizer_config base_model_config is_qwen_derived_model special_tokens",
    "the newest revision is loaded; for another one name a local folder in model.name": "model_revision revision "
    "revision_of_model",
    "the model's own chat template is used": "chat_template chat_template_jinja tokenizer_use_fast",
    "belongs to supervised training": "sample_packing packing pad_to_sequence_len train_on_inputs group_by_length "
    "length_column_name dataset_text_field max_length completion_only_loss roles_to_train "
    "excess_length_strategy dataset_num_proc dataset_processes dataset_prepared_path skip_prepare_dataset "
    "shuffle_merged_datasets",
    "only plain LoRA is trained": "use_rslora use_dora lora_modules_to_save modules_to_save lora_target_parameters "
    "peft_use_rslora peft_use_dora lora_fan_in_fan_out loftq_config init_lora_weights layers_to_transform "
    "lora_mlp_kernel lora_qkv_kernel lora_o_kernel",
    "`code_execution` runs programs on this machine: `gspo-lite rewards show code_execution`": "code_language "
    "code_provider code_eval_test_batch_size code_eval_scoring_mode parallel_code_exec_per_proc e2b_router_url "
    "morph_router_url ioi_provider piston_endpoint",
    "code that acts during a run is not taken over": "rollout_func callbacks plugins",
    "name functions as `tools: [my_tools.py:look_up]`, and a class as `environment: my_env.py:Game`": "tools "
    "environment_factory",
    "belongs to axolotl's own trainer": "use_data_producer async_prefetch prefetch_depth streaming_partial_batch "
    "replay_buffer_size replay_recompute_logps reroll_start_fraction reroll_max_groups reward_num_workers "
    "skip_zero_advantage_batches strict gc_steps unfrozen_parameters",
    "has no effect here": "ignore_bias_buffers use_mps_device no_cuda use_ipex jit_mode_eval past_index tpu_num_cores "
    "tpu_metrics_debug ray_scope mp_parameters",
}

# GRPOConfig's fields that pass through `training.extra`.
EXTRA = """
    adam_beta1 adam_beta2 adam_epsilon average_tokens_across_devices cache_implementation cast_lm_head_to_fp32
    data_seed dataloader_drop_last dataloader_in_order dataloader_multiprocessing_context
    dataloader_num_workers dataloader_persistent_workers dataloader_pin_memory dataloader_prefetch_factor
    ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb ddp_find_unused_parameters ddp_static_graph ddp_timeout
    debug disable_dropout entropy_coef entropy_coef_delta entropy_coef_max entropy_coef_min entropy_target
    full_determinism generation_kwargs gradient_checkpointing_kwargs liger_kernel_config lr_scheduler_kwargs
    multi_objective_aggregation neftune_noise_alpha off_policy_mask_threshold optim_args optim_target_modules
    pad_to_multiple_of project ref_model_mixup_alpha ref_model_sync_steps router_aux_loss_coef sapo_temperature_neg
    sapo_temperature_pos shuffle_dataset sync_ref_model tf32 top_entropy_quantile torch_compile
    torch_compile_backend torch_compile_mode torch_empty_cache_steps trackio_bucket_id trackio_space_id
    trackio_static_space_id train_sampling_strategy transformers_continuous_batching_config use_adaptive_entropy
    use_cache use_liger_kernel use_transformers_continuous_batching use_transformers_paged vespo_k_neg vespo_k_pos
    vespo_lambda_neg vespo_lambda_pos vllm_enable_sleep_mode vllm_importance_sampling_cap
    vllm_importance_sampling_clip_max vllm_importance_sampling_clip_min vllm_importance_sampling_correction
    vllm_importance_sampling_mode vllm_max_model_length vllm_model_impl vllm_structured_outputs_regex
"""


def by_key(table: dict[str, str]) -> dict[str, str]:
    """Return the label of each key, from a table of labels with their keys."""
    return {key: label for label, keys in table.items() for key in keys.split()}


PLACE_OF = {name: f"training.extra.{name}" for name in EXTRA.split()} | OWNED | by_key(PLACES)
REASON_OF = dict.fromkeys(FIXED, "is set by gspo-lite itself") | NO_EFFECT | by_key(REASONS)
# Keys whose values are mappings of their own, not sections of settings.
MAPPINGS = frozenset(
    [*EXTRA.split(), *REASON_OF, "activation_checkpointing_kwargs", "dataset_mixture", "chat_template_kwargs"]
)


@dataclass(frozen=True)
class Answer:
    """What becomes of a key: its place in a recipe as `--set` takes it, or why it has none."""

    place: str | None
    reason: str = ""


def answer(key: str) -> Answer | None:
    """Return what becomes of another trainer's key; None if no trainer that we know has it."""
    if is_secret(key):
        return Answer(None, "a recipe is stored with the run and must not hold secrets; set HF_TOKEN instead")
    if key.startswith(SERVER):
        return Answer(None, SERVING)
    if key in PLACE_OF:
        return Answer(PLACE_OF[key])
    if key in REASON_OF:
        return Answer(None, REASON_OF[key])
    return Answer("rewards") if key.startswith(OPTIONS) else None


def is_foreign(values: dict[str, object]) -> bool:
    """Return whether a file is the configuration of another trainer: most of its keys are theirs, not a recipe's."""
    theirs = {k: v for k, v in values.items() if k not in Recipe.model_fields or not isinstance(v, dict | list)}
    known = [k for k, v in theirs.items() if answer(k) or (isinstance(v, dict) and any(answer(one) for one in v))]
    return len(known) > len(values) - len(theirs)
