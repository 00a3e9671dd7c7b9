"""Single keys of other trainers: what each becomes, in each form it has, or why it becomes nothing."""

from pathlib import Path

import pytest

from gspo_lite import load_recipe
from gspo_lite.checked_recipe import recipe_from
from gspo_lite.errors import RecipeError
from gspo_lite.recipe.data_settings import DataSettings
from gspo_lite.recipe.foreign.telling import as_recipe, report


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("loss_type: gspo_token\n", "objective.algorithm", "gspo_token"),
        ("rl: grpo\nimportance_sampling_level: sequence\n", "objective.algorithm", "gspo"),
        ("rl: gdpo\n", "training.extra.multi_objective_aggregation", "normalize_then_sum"),
        ("bf16: true\n", "model.dtype", "auto"),
        ("fp16: true\n", "model.dtype", "float16"),
        ("model_name: m\nload_in_4bit: true\n", "model.load_in_4bit", True),
        ("model_name_or_path: m\nuse_peft: false\nlora_r: 4\n", "model.full_finetuning", True),
        ("model_name_or_path: m\nload_in_4bit: true\n", "model.full_finetuning", False),
        ("model_name: m\nfull_finetuning: true\n", "model.load_in_4bit", False),
        ("model_name: m\nfull_finetuning: true\n", "model.full_finetuning", True),
        ("model_name: m\nfull_finetuning: false\n", "model.full_finetuning", False),
        ("model_name_or_path: m\nuse_peft: true\n", "model.full_finetuning", False),
        ("base_model: m\nlora_r: 4\n", "model.full_finetuning", False),
        ("base_model: m\nadapter: qlora\n", "model.load_in_4bit", True),
        ("base_model: m\nadapter: qlora\nload_in_8bit: true\n", "model.load_in_4bit", False),
        ("model_name: m\nload_in_4bit: false\nload_in_fp8: true\n", "model.load_in_fp8", True),
        ("model_name_or_path: m\nload_in_4bit: false\nload_in_fp8: true\n", "model.full_finetuning", False),
        ("model_name: m\nfast_inference: true\nfloat8_kv_cache: true\n", "model.float8_kv_cache", True),
        ("model_name: m\nfast_inference: true\nunsloth_vllm_standby: true\n", "model.vllm_standby", True),
        ("base_model: m\nlora_model_dir: out/sft\n", "model.adapter", "out/sft"),
        ("base_model: m\nlora_model_dir: out/sft\n", "model.full_finetuning", False),
        ("model_name_or_path: m\nadapter_name_or_path: ann/sft\n", "model.full_finetuning", False),
        ("target_modules: all-linear\n", "model.lora.target_modules", "all-linear"),
        ("dataset_name: some-org/set-v1.5\n", "data.eval.split", "train[-300:]"),
        ("dataset_name: json\ndata_files: rows.jsonl\n", "data.source", "rows.jsonl"),
        ("datasets: [{path: x/y, split: 'train[:9]'}]\n", "data.eval.split", "train[-300:]"),
        ("use_vllm: false\n", "generation.engine", "transformers"),
        ("batch_size: 4\nnum_generations: 6\n", "training.per_device_train_batch_size", 6),
        ("max_seq_length: 700\nmax_completion_length: 500\n", "generation.max_prompt_length", 200),
        ("warmup_steps: 20.0\nseed: 1\n", "training.warmup_steps", 20),
        ("gradient_checkpointing: unsloth\n", "training.gradient_checkpointing", True),
        ("report_to: all\nseed: 1\n", "output.report_to", None),
        ("eval_steps: 50\nseed: 1\n", "training.eval_steps", 50),
        ("eval_steps: 50\neval_strategy: 'no'\n", "training.eval_steps", None),
        ("eval_steps: 0.1\nseed: 1\n", "training.eval_steps", None),
        ("system_prompt: 'Put it in \\boxed{}.'\nseed: 1\nreward_funcs: [a.b]\n", "data.prompt", "boxed"),
        ("seed: 1\nreward_funcs: [a.b]\n", "data.prompt", "plain"),
        ("seed: 1\nreward_funcs: format_reward\n", "data.prompt", "think_answer"),
        ("beta: 0.1\n", "objective.use_bias_correction_kl", True),
        ("output_dir: ../elsewhere\nseed: 1\n", "output.dir", "runs/x"),
    ],
)
def test_a_key_in_each_form_has_its_value(text, place, value):
    Path("x.yaml").write_text(text)
    assert recipe_from(Path("x.yaml")).draft.get(place) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rl: dpo\nseed: 1\n", "`dpo` is not an objective of a recipe: grpo, gspo, gspo_token"),
        ("reward_funcs: [a.b, c.d]\nreward_weights: [1.0]\n", "1 weights for 2 rewards; those without get 1"),
        ("reward_funcs: [accuracy, accuracy_reward]\n", "`math_correct` is listed already"),
        ("seed: 1\nrandom_state: 2\n", "`training.seed` is taken by `seed` (x.yaml:1)"),
        ("datasets: [{path: a/b}, {path: c/d}]\n", "the other 1: a recipe has one source"),
        ("datasets: [{type: x}]\nseed: 1\n", "names no data set"),
        ("reward_funcs: [code]\nseed: 1\n", "`code`: it runs programs that a model wrote"),
        ("reward_funcs: [a.b]\nreward_weights: [none]\nseed: 1\n", "found `none`; allowed: a number"),
        ("temperature: -1\nseed: 1\n", "found `-1`; allowed: a number above 0.0"),
        ("fp16: false\nseed: 1\n", "model.dtype is the type of the weights"),
        ("save_strategy: epoch\nsave_steps: 5\nseed: 1\n", "save_strategy is `epoch`"),
        ("api_key: abc\nseed: 1\n", "must not hold secrets"),
        ("reward_funcs: [a.b]\nreward_weights: [0.0]\nseed: 1\n", "the weights sum to 0"),
    ],
)
def test_what_does_not_carry_over_has_its_reason(text, reason):
    Path("x.yaml").write_text(text)
    translation = recipe_from(Path("x.yaml"))
    assert any(reason in line for line in report(translation))
    Path("mine.yaml").write_text(as_recipe(translation))
    load_recipe("mine.yaml")


def test_verl_is_named_and_not_guessed_at():
    text = "data: {train_files: a.parquet}\nactor_rollout_ref:\n  model: {path: m}\n  actor: {optim: {lr: 1e-6}}\n"
    Path("x.yaml").write_text(f"{text}algorithm: {{adv_estimator: grpo}}\n")
    for read in (recipe_from, load_recipe):
        with pytest.raises(RecipeError, match=r"x\.yaml:2: is the configuration of verl"):
            read(Path("x.yaml") if read is recipe_from else "x.yaml")


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("system_prompt: Think.\nseed: 1\n", "data.system_prompt", "Think."),
        ("dataset_streaming: true\ndataset_name: a/b\n", "data.limit", 10_000),
    ],
)
def test_keys_of_the_data_that_the_schema_may_have(text, place, value):
    key = {"data.limit": "streaming"}.get(place, "system_prompt")
    if key not in DataSettings.model_fields:
        pytest.skip(f"the schema has no data.{key} yet")
    Path("x.yaml").write_text(text)
    assert recipe_from(Path("x.yaml")).draft.get(place) == value
