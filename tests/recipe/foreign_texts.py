"""Configurations of other trainers, made up in the shapes that people have: file name to text."""

TEXTS = {
    "open_r1.yaml": """\
# Model arguments
model_name_or_path: Qwen/Qwen2.5-1.5B-Instruct
model_revision: main
torch_dtype: bfloat16
attn_implementation: flash_attention_2
# Data training arguments
dataset_name: some-org/sums-and-proofs
dataset_prompt_column: problem
system_prompt: "First think.\\n<think>\\n...\\n</think>\\n<answer>\\n...\\n</answer>"
# GRPO trainer config
bf16: true
use_vllm: true
do_eval: false
gradient_accumulation_steps: 4
gradient_checkpointing: true
gradient_checkpointing_kwargs:
  use_reentrant: false
hub_model_id: me/Qwen2.5-1.5B-GRPO
hub_strategy: every_save
learning_rate: 2.0e-05
log_completions: true
log_level: info
logging_steps: 1
lr_scheduler_type: cosine_with_min_lr
lr_scheduler_kwargs:
  min_lr_rate: 0.1
max_prompt_length: 512
max_completion_length: 1024
max_steps: -1
num_generations: 16
num_train_epochs: 2
output_dir: data/Qwen2.5-1.5B-GRPO
overwrite_output_dir: true
per_device_train_batch_size: 16
push_to_hub: true
report_to:
- wandb
reward_funcs:
- accuracy
- format
- tag_count
reward_weights:
- 1.0
- 0.5
- 0.25
save_strategy: "epoch"
save_steps: 40
save_total_limit: 1
seed: 7
warmup_ratio: 0.1
""",
    "open_r1_code.yaml": """\
model_name_or_path: Qwen/Qwen2.5-Coder-3B-Instruct
dataset_name: some-org/programs
dataset_configs:
- python
beta: 0.01
loss_type: dr_grpo
scale_rewards: false
use_vllm: true
vllm_device: auto
vllm_gpu_memory_utilization: 0.7
callbacks:
- push_to_hub_revision
benchmarks:
- lcb_v4
hub_token: hf_abcdefghijklmnop
learning_rate: 1.0e-06
lr_scheduler_type: constant_with_warmup
max_completion_length: 2048
max_prompt_length: 2000
max_steps: 300
max_grad_norm: 0.2
mask_truncated_completions: true
num_generations: 14
num_train_epochs: 1
output_dir: /scratch/out
per_device_train_batch_size: 16
report_to: [wandb, swanlab]
reward_funcs: [cf_code, code_format, rewards.code.style]
reward_weights: [1.0, 0.1, 0.3]
save_steps: 0.05
temperature: 0.7
wandb_project: open-r1
warmup_ratio: 0.03
code_language: cpp
""",
    "open_r1_mixture.yaml": """\
model_name_or_path: ./checkpoints/sft
dataset_mixture:
  datasets:
  - id: some-org/easy
    config: default
    split: train
    columns: [prompt, solution]
    weight: 0.5
  - id: some-org/hard
    split: train
  seed: 0
  test_split_size: 0.1
reward_funcs: [accuracy, cosine, repetition_penalty, length, soft_overlong_punishment]
reward_weights: [1.0, 0.5, 2.0, 0.1, 0.2]
cosine_min_value_wrong: 0.0
cosine_max_value_wrong: -0.5
cosine_min_value_correct: 0.5
cosine_max_value_correct: 1.0
cosine_max_len: 1000
repetition_n_grams: 5
repetition_max_penalty: -0.5
soft_punish_cache: 200
max_completion_length: 900
use_peft: true
lora_r: 64
lora_alpha: 128
lora_dropout: 0.05
lora_target_modules: [q_proj, k_proj]
per_device_train_batch_size: 4
gradient_accumulation_steps: 2
num_generations: 8
max_steps: 100
""",
    "trl_cli.yml": """\
model_name_or_path: Qwen/Qwen3-0.6B
dataset_name: openai/gsm8k
dataset_config: main
dataset_train_split: "train[:2000]"
reward_funcs:
  - accuracy_reward
  - get_soft_overlong_punishment
  - my_lib.my_reward
use_peft: true
lora_r: 32
load_in_4bit: true
learning_rate: '5e-6'
num_generations: 8
max_completion_length: 512
max_steps: 200
warmup_steps: 0.05
logging_steps: 10
log_completions: true
eval_strategy: "no"
adam_beta2: 0.99
use_vllm: true
vllm_mode: server
vllm_server_host: 10.0.0.2
vllm_server_port: 8000
trackio_space_id: me/runs
output_dir: runs/trl
""",
    "trl_gspo.yaml": """\
model_name_or_path: Qwen/Qwen3-8B
dtype: bfloat16
dataset_name: some-org/problems
reward_funcs: [accuracy_reward]
importance_sampling_level: sequence
loss_type: grpo
beta: 0.0
epsilon: 3e-4
epsilon_high: 4e-4
steps_per_generation: 4
gradient_accumulation_steps: 1
per_device_train_batch_size: 16
num_generations: 8
max_steps: 400
use_liger_kernel: true
""",
    "trl_gspo_without_effect.yaml": """\
model_name_or_path: Qwen/Qwen3-0.6B
dataset_name: some-org/problems
reward_funcs: [accuracy_reward, think_format_reward]
importance_sampling_level: sequence_token
gradient_accumulation_steps: 4
steps_per_generation: 4
epsilon: 0.2
epsilon_high: 0.28
delta: 1.5
loss_type: dapo
use_liger_kernel: true
max_steps: 50
""",
    "trl_token.yaml": """\
model_name_or_path: Qwen/Qwen3-0.6B
dataset_name: some-org/problems
reward_funcs: accuracy_reward
importance_sampling_level: token
epsilon: 3e-4
epsilon_high: 4e-4
loss_type: cispo
num_iterations: 2
generation_batch_size: 32
per_device_train_batch_size: 8
lr_scheduler_type: polynomial
top_k: -1
max_steps: 50
temperature: 0
""",
    "trl_judge.yaml": """\
model_name_or_path: Qwen/Qwen3-0.6B
dataset_name: some-org/prompts
reward_model_name_or_path: some-org/judge
reward_funcs:
  - think_format_reward
reward_weights: [0.1]
multi_objective_aggregation: normalize_then_sum
lr_scheduler_type: cosine
fp16: true
save_steps: 20
max_steps: 60
""",
    "axolotl.yaml": """\
base_model: Qwen/Qwen2.5-3B-Instruct
load_in_8bit: false
load_in_4bit: true
strict: false
adapter: qlora
lora_r: 32
lora_alpha: 64
lora_target_linear: true
torch_compile: true
vllm:
  host: 0.0.0.0
  gpu_memory_utilization: 0.85
  dtype: auto
rl: grpo
trl:
  beta: 0.001
  use_vllm: true
  vllm_server_host: 0.0.0.0
  reward_funcs:
    - rewards.rand_reward_func
  reward_weights: [1.0]
  num_generations: 16
  max_completion_length: 512
  scale_rewards: true
chat_template: qwen_25
datasets:
  - path: openai/gsm8k
    name: main
    type: rewards.oai_gsm8k_transform
    split: train
val_set_size: 0.0
output_dir: ./out
gradient_accumulation_steps: 2
micro_batch_size: 32
num_epochs: 1
max_steps: 10000
optimizer: adamw_torch_fused
lr_scheduler: warmup_stable_decay
lr_scheduler_kwargs: {num_stable_steps: 6000}
learning_rate: 5.3e-6
bf16: auto
tf32: true
wandb_entity:
flash_attention: true
warmup_steps: 150
save_steps: 0.5
""",
    "axolotl_full.yaml": """\
base_model: meta-llama/Llama-3.2-1B-Instruct
rl: gdpo
trl:
  use_data_producer: true
  async_prefetch: true
  vllm_sync_interval: 2
  off_policy_mask_threshold: 0.5
  importance_sampling_level: sequence
  num_generations: 8
  reward_funcs: [rewards.format_reward, rewards.correctness_reward]
  reward_weights: [1.0, 2.0]
  reroll_start_fraction: 0.5
  multi_objective_aggregation: normalize_then_sum
datasets:
  - path: some-org/olympiad
    type: rewards.prompt_transform
    split: train
test_datasets:
  - path: some-org/olympiad
    split: validation
sequence_len: 1024
sample_packing: false
gradient_accumulation_steps: 4
micro_batch_size: 2
max_steps: 500
learning_rate: 1e-5
deepspeed: deepspeed_configs/zero3_bf16.json
gradient_checkpointing: true
""",
    "axolotl_file.yaml": """\
base_model: unsloth/Llama-3.2-1B-Instruct
adapter: lora
lora_r: 16
lora_alpha: 16
rl: grpo
trl:
  num_generations: 4
  max_completion_length: 300
  temperature: 0.9
  min_p: 0.05
  reward_funcs: [no_such_reward]
datasets:
  - path: json
    ds_type: json
    data_files: [problems.jsonl]
    type: chat_template
    field_messages: conversation
micro_batch_size: 4
num_epochs: 3
learning_rate: 2e-5
output_dir: outputs/file
""",
    "notebook.py": """\
%pip install unsloth vllm
from unsloth import FastLanguageModel
max_seq_length = 1024  # longer for longer thoughts
lora_rank = 32
model, tokenizer = FastLanguageModel.from_pretrained(
    model_name = "unsloth/Qwen3-4B-Base",
    max_seq_length = max_seq_length,
    load_in_4bit = False,
    fast_inference = True,
    max_lora_rank = lora_rank,
    gpu_memory_utilization = 0.9,
)
model = FastLanguageModel.get_peft_model(
    model,
    r = lora_rank,
    target_modules = ["q_proj", "v_proj"],
    lora_alpha = lora_rank*2,
    use_gradient_checkpointing = "unsloth",
    random_state = 3407,
)
dataset = load_dataset("openai/gsm8k", "main", split = "train")
def correctness_reward_func(prompts, completions, answer, **kwargs) -> list[float]:
    return [0.0 for _ in completions]
max_prompt_length = 287 + 1
from trl import GRPOConfig, GRPOTrainer
training_args = GRPOConfig(
    vllm_sampling_params = vllm_sampling_params,
    learning_rate = 5e-6, adam_beta1 = 0.9, weight_decay = 0.1, warmup_ratio = 0.1, lr_scheduler_type = "cosine",
    optim = "adamw_8bit", logging_steps = 1, per_device_train_batch_size = 1, gradient_accumulation_steps = 1,
    num_generations = 6, max_prompt_length = max_prompt_length,
    max_completion_length = max_seq_length - max_prompt_length,
    # num_train_epochs = 1,
    max_steps = 250, save_steps = 250, max_grad_norm = 0.1, report_to = "none", output_dir = "outputs",
    bf16 = is_bfloat16_supported(),
)
trainer = GRPOTrainer(
    model = model, processing_class = tokenizer, args = training_args, train_dataset = dataset,
    reward_funcs = [correctness_reward_func, get_repetition_penalty_reward(ngram_size = 4, max_penalty = -0.5)],
)
""",
    "notebook_gspo.py": """\
options = dict(importance_sampling_level="sequence", loss_type="dr_grpo", delta=1.5)
args = GRPOConfig(
    "outputs", temperature=1.0, learning_rate=5e-5, per_device_train_batch_size=4, gradient_accumulation_steps=4,
    num_generations=4, epsilon=0.2, epsilon_high=0.28, max_prompt_length=512, max_completion_length=1536,
    mask_truncated_completions=False, max_steps=100, **options,
)
trainer = GRPOTrainer("unsloth/gpt-oss-20b", [accuracy_reward], args=args)
""",
    "arguments.py": """\
learning_rate = 5e-6,
num_generations = 4,
per_device_train_batch_size = 8,  # completions
num_train_epochs = 1,
loss_type = "gspo",
report_to = ["trackio"],
""",
    "grpo_config.json": """\
{
  "output_dir": "trainer_output", "per_device_train_batch_size": 8, "num_train_epochs": 3.0, "max_steps": -1,
  "learning_rate": 1e-06, "lr_scheduler_type": "linear", "lr_scheduler_kwargs": null, "warmup_steps": 0,
  "optim": "adamw_torch_fused", "adam_beta1": 0.9, "bf16": true, "fp16": false, "logging_steps": 10, "seed": 42,
  "save_strategy": "no", "hub_token": "<HUB_TOKEN>", "accelerator_config": {"split_batches": false}, "fsdp": [],
  "report_to": [], "num_generations": 8, "max_completion_length": 256, "temperature": 1.0, "top_k": 0, "min_p": null,
  "use_vllm": false, "beta": 0.04, "epsilon": 0.2, "delta": null, "importance_sampling_level": "token",
  "scale_rewards": "batch", "loss_type": "bnpo", "use_bias_correction_kl": false, "top_entropy_quantile": 1.0,
  "generation_batch_size": 8, "steps_per_generation": 1, "num_iterations": 1, "some_future_field": 3
}
""",
    "sections.yaml": """\
policy:
  model_name_or_path: HuggingFaceTB/SmolLM2-135M-Instruct
  torch_dtype: fp16
peft:
  lora_r: 8
  lora_alpha: 16
  target_modules: q_proj,v_proj
grpo:
  lr: 1e-5
  kl_coef: 0.02
  clip_range: 0.2
  group_size: 4
  max_new_tokens: 128
  steps: 40
  batch_size: 8
""",
}
