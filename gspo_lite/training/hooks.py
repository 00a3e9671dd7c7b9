"""Names of TRL, transformers, PEFT and Unsloth that training needs, compared with what is installed.

Most are private: a release may rename one, or keep it but no longer call it, and training would silently lose what it
was for. So most rows also name the methods that must use them. Compiled code shows whether they do, because Unsloth
installs methods without a source file. Owns the table; `check_hooks.py` compares it with what is installed, and
`selftest.py` checks what the loss computes.
"""

from __future__ import annotations

from dataclasses import dataclass

from gspo_lite.rewards.contract.signature import BATCH, LIVE
from gspo_lite.training.changes import OBJECTIVE, SIZES
from gspo_lite.training.loss.row_metrics import CLIPS, LOWEST_CLIP
from gspo_lite.training.loss.unsloth_kernels import GROUPER

PACKAGES = ("trl", "transformers", "peft", "accelerate", "unsloth")
TRAINER = "GRPOTrainer"  # the live one, TRL's or Unsloth's, with the classes behind it
GENERATED = "UnslothGRPOTrainer"  # the module that Unsloth writes
SAMPLING = "transformers:GenerationMixin"
CONFIG, CALLBACK, MODEL = "trl:GRPOConfig", "transformers:TrainerCallback", "transformers:PreTrainedModel"
TRACKERS, LORA = "transformers.integrations.integration_utils:", "peft.tuners.lora.layer:"
SCORED, LOGPS = "_generate_and_score_completions", "_get_per_token_logps_and_entropies"
CLIPPED = " ".join((*CLIPS, LOWEST_CLIP, "clip_ratio/high_max"))


@dataclass(frozen=True)
class Hook:
    """Names that serve one purpose, separated by spaces.

    Attributes:
        kind: `overridden`, methods that ours stand in front of; `called`; `read`, attributes, of the trainer once it
            is built; `set`, attributes that only their user reads; `key`, strings in the code of their user or owner;
            `written`, functions whose source matches the pattern `takes`, where only an order tells what is what.
        why: what they are needed to do.
        user: methods of the trainer whose code must still speak of them.
        takes: parameters that are relied upon, in their order.
        path: the trainer they are needed on, `TRL` or `Unsloth`; both where it is empty.
        owner: `TRAINER`, `GENERATED` or `module:name`.
    """

    names: str
    kind: str
    why: str
    user: str = ""
    takes: str = ""
    path: str = ""
    owner: str = TRAINER


HOOKS = (
    # Methods of the trainer.
    Hook("__init__", "called", "build the trainer", takes="model reward_funcs args train_dataset"),
    Hook("train", "overridden", "resume from the newest complete checkpoint", takes="resume_from_checkpoint"),
    Hook("training_step", "overridden", "notice a loss that is not finite", "_run_epoch"),
    Hook("_prepare_inputs", "overridden", "arrange the micro-batches of a rollout", "training_step"),
    Hook(SCORED, "overridden", "give credit, oversample and keep the rollout's rows", "_prepare_inputs", "inputs"),
    Hook(SCORED, "written", "know that the first log-probs are the old ones, for which a placeholder is due", "",
         rf"((?!{LOGPS}).)*\bold_per_token_logps, _, _ = self\.{LOGPS}\("),
    Hook("_generate", "overridden", "sample through plain weights", SCORED),
    Hook("_generate_single_turn", "overridden", "compute each prompt once where completions are sampled", "_generate",
         path="TRL"),
    Hook("_generate_single_turn", "written", "sample by rows", "", r".*\bunwrapped_model\.generate\(", "TRL"),
    Hook("_calculate_rewards", "overridden", "keep the rollout's rows and the rewards of all processes", SCORED,
         "inputs prompts completions completion_ids_list"),
    Hook(LOGPS, "overridden", "take old log-probs from the arranged micro-batches and shift the ratio",
         f"{SCORED} _compute_loss", "model input_ids attention_mask logits_to_keep"),
    Hook("_compute_loss", "overridden", "add the level `sequence_token`", "compute_loss", "model inputs", "TRL"),
    Hook("compute_loss", "overridden", "weigh the rows", "training_step", "model inputs", "Unsloth"),
    Hook("log", "overridden", "log the gauges beside TRL's metrics", "_maybe_log_save_evaluate", "logs"),
    Hook("evaluate", "overridden", "measure held-out problems while training", "_evaluate"),
    Hook("_maybe_log_save_evaluate", "written", "log held-out figures with their step and save the best", "",
         r".*\bself\.log\(.*\bself\._evaluate\(.*\bself\._determine_best_metric\(.*\bself\._save_checkpoint\("),
    Hook("_load_best_model", "called", "return to the best step", "_finalize_training"),
    Hook("_get_train_sampler", "overridden", "resume in the order of the data", "get_train_dataloader"),
    Hook("get_train_dataloader", "overridden", "ask for more prompts at once", "_inner_training_loop"),
    Hook("_train_batch_size", "set", "ask for more prompts at once", "get_train_dataloader"),
    Hook("generation_batch_size", "read", "ask for more prompts at once", "get_train_dataloader _get_train_sampler",
         owner=CONFIG),
    Hook("max_num_seqs", "key", "let vLLM serve them all at once", "__init__", path="TRL"),
    Hook("_save_checkpoint", "overridden", "save whole checkpoints only", "_maybe_log_save_evaluate", "model trial"),
    Hook("_get_output_dir", "overridden", "write a checkpoint beside before it counts", "_save_checkpoint", "trial"),
    Hook("save_model", "called", "write adapters", "_save_checkpoint", "output_dir"),
    Hook("_save", "overridden", "keep the hub token off the disk", "save_model", "output_dir state_dict"),
    Hook("_load_optimizer_and_scheduler", "overridden", "resume a rollout", "_prepare_for_training", "checkpoint"),
    Hook("_load_from_checkpoint", "overridden", "take back weights", "train", "resume_from_checkpoint model"),
    Hook("add_callback remove_callback", "called", "watch, write and show every step", takes="callback"),
    # What its callbacks are told.
    Hook("on_train_begin", "overridden", "open the live view", "_inner_training_loop", owner=CALLBACK),
    Hook("on_step_begin on_pre_optimizer_step on_optimizer_step on_step_end", "overridden",
         "guard every step and know when it is whole", "_run_epoch", owner=CALLBACK),
    Hook("on_log", "overridden", "write metrics.jsonl and look for collapse", "log", owner=CALLBACK),
    Hook("on_save", "overridden", "give memory back", "_maybe_log_save_evaluate", owner=CALLBACK),
    Hook("on_train_end", "overridden", "let signals through again", "_finalize_training", owner=CALLBACK),
    # Episodes with tools.
    Hook("_tool_call_loop", "called", "play episodes with tools", "_generate"),
    Hook("_sync_tool_dicts _async_tool_dicts", "set", "hold tools to their limits", "_tool_call_loop"),
    Hook("_environment_pool", "set", "leave out environments in which a call still runs", SCORED),
    Hook("environments", "read", "know which environment pays which turns", SCORED),
    Hook("_env_tools", "set", "know which tools a prompt shows", "_tokenize_prompts"),
    Hook("tools", "read", "know that completions are episodes", "_generate"),
    Hook("environment", "key", "know which environment a row asks for", SCORED),
    Hook("response_template response_schema", "key", "know whether calls can be read", "_generate"),
    Hook("reset get_reward", "key", "know an environment's own methods", "__init__"),
    Hook("parse_response ValueError", "read", "take what cannot be read for a text",
         owner="trl.chat_template_utils:parse_response"),
    Hook("chat_template", "read", "say whose template is at work", "_get_tool_suffix_ids"),
    # Its attributes.
    Hook("_buffered_inputs _step", "read", "arrange and save the rollout under way", "_prepare_inputs"),
    Hook("_metrics", "read", "correct and add figures", "log"),
    Hook("reward_func_names", "read", "keep the rollout's rows", SCORED),
    Hook("vllm_importance_sampling_correction", "read", "know that the loss weighs by vLLM's log-probs", SCORED),
    Hook("vllm_importance_sampling_mode vllm_importance_sampling_clip_min vllm_importance_sampling_clip_max", "read",
         "weigh by vLLM's log-probs on the rows that are trained on", SCORED, path="TRL"),
    Hook("compute_loss_context_manager", "called", "measure noise as training computes", "training_step"),
    Hook("split_pixel_values_by_grid unsplit_pixel_values_by_grid", "called", "cut rows with their images",
         owner="trl.trainer.utils"),
    Hook("importance_sampling_level", "read", "compute at `token` for `sequence_token`", "_compute_loss", path="TRL"),
    Hook("aux_loss_enabled _entropy_bonus_enabled", "read", "know when every row is needed", "_compute_loss"),
    Hook("chat_template_kwargs", "read", "render prompts as evaluation does", "_tokenize_prompts"),
    Hook("generation_config generation_kwargs vllm_generation", "set", "never sample tokens for padding or images",
         "_generate_single_turn"),
    Hook("_name _tag_names _paper", "set", "name the method on TRL's model card", "create_model_card"),
    Hook("args model state control accelerator callback_handler optimizer processing_class train_dataset reward_funcs "
         "reward_weights num_generations num_iterations use_vllm multi_objective_aggregation", "read", "train at all"),
    Hook(" ".join(filter(None, OBJECTIVE.values())), "read", "notice settings that were changed"),
    # Keys of a rollout's batch, of its logs, and of the metrics.
    Hook("prompt_ids prompt_mask completion_ids completion_mask advantages num_items_in_batch old_per_token_logps "
         "ref_per_token_logps sampling_per_token_logps tool_mask pixel_values image images", "key",
         "cut, join and save rows", SCORED),
    Hook("num_images image_grid_thw pixel_attention_mask spatial_shapes num_tiles image_sizes token_type_ids "
         "mm_token_type_ids image_position_ids", "key", "cut rows with their images", SCORED),
    Hook("ref", "key", "refer the KL penalty to the adapter that training begins with", SCORED),
    Hook("importance_sampling_ratio", "key", "cut and join rows", SCORED, path="TRL"),
    Hook("compute_entropy", "key", "log the entropy", "_compute_loss", path="TRL"),
    Hook("completion_mask tool_mask old_per_token_logps", "key", "shift the ratio", "_compute_loss", path="TRL"),
    Hook(" ".join((*BATCH, *LIVE)), "key", "give rewards all that TRL passes", "_calculate_rewards"),
    Hook("max_left_pad unsloth_sample_weight", "key", "follow the packing", SCORED, path="Unsloth"),
    Hook("pixel_values_videos", "key", "leave batches with videos whole", LOGPS, path="Unsloth"),
    Hook("reward reward_std frac_reward_zero_std rewards/ /mean", "key", "see that nothing is learned", SCORED),
    Hook("sum_then_normalize batch", "key", "know which rewards make an advantage", SCORED),
    Hook("num_tokens completions/clipped_ratio", "key", "see speed and truncation", "_generate"),
    Hook(f"{CLIPPED} cispo_clip_ratio vespo/phi_seq_mean entropy kl", "key", "correct figures for rows left out",
         "_compute_loss", path="TRL"),
    Hook(f"{CLIPPED} completion_length", "key", "correct figures for rows left out", "compute_loss", path="Unsloth"),
    Hook("_runtime", "key", "tell the summary from a step", owner="transformers.trainer_utils:speed_metrics"),
    # Settings, state and parts.
    Hook(" ".join((*OBJECTIVE, *SIZES)), "read", "notice settings that were changed", owner=CONFIG),
    Hook("should_evaluate should_save should_training_stop", "read", "evaluate, save the best step and end early",
         owner="transformers:TrainerControl"),
    Hook("best_metric best_global_step best_model_checkpoint", "read", "keep the best step",
         owner="transformers:TrainerState"),
    Hook("save_strategy load_best_model_at_end", "read", "keep the best step", owner=CONFIG),
    Hook("world_size output_dir save_total_limit top_entropy_quantile use_liger_kernel run_name project", "read",
         "choose what is computed and where it goes", owner=CONFIG),
    Hook("global_step max_steps epoch log_history num_input_tokens_seen", "read", "know where the run is",
         owner="transformers:TrainerState"),
    Hook("custom_generate", "read", "sample by rows", owner=f"{SAMPLING}.generate"),
    Hook("prepare_inputs_for_generation _update_model_kwargs_for_generation _optimize_model_for_decode "
         "_pad_token_tensor", "read", "sample by rows", owner=f"{SAMPLING}._sample"),
    Hook("batch_select_indices", "called", "sample by rows", takes="indices", owner="transformers:DynamicCache"),
    Hook("generator num_samples randperm", "read", "resume in the order of the data",
         owner="trl.trainer.utils:RepeatSampler"),
    Hook("generation_kwargs", "read", "never sample tokens for padding or images",
         owner="trl.generation.vllm_generation:VLLMGeneration"),
    Hook("scaler", "read", "let float16 skip steps by itself", owner="accelerate:Accelerator"),
    Hook("rope_parameters", "read", "know that prompts may be trimmed", owner="transformers:PreTrainedConfig"),
    Hook("gradient_checkpointing", "read", "generate with a cache", owner=MODEL),
    Hook("base_model get_output_embeddings", "read", "compute a prompt once for its group", owner=MODEL),
    Hook("_attn_implementation", "read", "compute a prompt once for its group", owner="transformers:PreTrainedConfig"),
    Hook("ALL_ATTENTION_FUNCTIONS", "read", "compute a prompt once for its group", owner="transformers.modeling_utils"),
    Hook("_hf_peft_config_loaded", "read", "play with a quantized model that has no adapter",
         owner="transformers.trainer_utils:validate_quantization_for_training"),
    Hook("is_loaded_in_4bit is_loaded_in_8bit", "read", "say how weights are held", owner=MODEL),
    Hook("logging_dir tb_writer", "read", "write curves into the run's folder", owner=f"{TRACKERS}TensorBoardCallback"),
    Hook("setup", "called", "end a run of wandb by its callback's name", owner=f"{TRACKERS}WandbCallback"),
    Hook("_initialized", "read", "end a run of trackio", owner=f"{TRACKERS}TrackioCallback"),
    Hook("get_base_layer active_adapters disable_adapters merged lora_A lora_dropout use_dora lora_bias lora_variant "
         "in_features out_features", "read", "know that an adapter can be folded in", owner=f"{LORA}LoraLayer"),
    Hook("get_delta_weight", "called", "fold an adapter in", owner=f"{LORA}Linear"),
    # The losses in the module that Unsloth writes.
    Hook("grpo_compute_loss", "called", "add the level `sequence_token`", "",
         "ref new old sampling_per_token_logps input_ids mask beta advantages", "Unsloth", GENERATED),
    Hook("grpo_accumulated_loss", "called", "hear the ratios", "compute_loss", "", "Unsloth", GENERATED),
    Hook("grpo_accumulated_loss", "written", "hear the ratios and their mask, the last of its results", "",
         r".*\breturn [\w, ]+, coef_1, completion_mask\s*$", "Unsloth", GENERATED),
    Hook("grpo_accumulated_loss", "written", "see that no row has a gradient", "",
         r".*\bUnslothEfficientGRPO\.apply\(\s*new_logprobs,\s*old_logps,\s*ref_logps,\s*sampling_per_token_logps,",
         "Unsloth", GENERATED),
    # The two fast ways in which Unsloth computes log-probs.
    Hook("prefix_grouper_enabled tokr_threshold", "called", "know whether whole groups are wanted", "", "", "Unsloth",
         GROUPER),
    Hook("_ENABLED", "key", "end the sharing of prompts", "", "", "Unsloth", f"{GROUPER}:prefix_grouper_enabled"),
    Hook("_unsloth_seq_packing_nograd_ok", "key", "end the packing of rows", LOGPS, path="Unsloth"),
    Hook("grpo_accumulated_loss", "written", "know what is at work and end the packing of rows", "",
         r".*\b_unsloth_prefix_grouper_grad_verified\b.*\b_unsloth_seq_packing_grad_ok\b", "Unsloth", GENERATED),
)  # fmt: skip
