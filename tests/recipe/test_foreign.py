"""Configurations of other trainers: told where each key belongs, and translated to recipes that load."""

import subprocess
import sys
from pathlib import Path

import pytest

from gspo_lite import load_recipe
from gspo_lite.checked_recipe import recipe_from
from gspo_lite.errors import RecipeError, UsageError
from gspo_lite.recipe.foreign.settings import read_settings
from gspo_lite.recipe.foreign.telling import as_recipe, report
from gspo_lite.recipe.schema import Recipe
from gspo_lite.recipe.source import parse
from tests.recipe.foreign_texts import TEXTS
from tests.test_architecture import HEAVY

# file: values of the recipe by place, keys that do not carry over (some of them), places that the user must decide
EXPECTED = {
    "open_r1.yaml": (
        {
            "model.name": "Qwen/Qwen2.5-1.5B-Instruct", "model.dtype": "bfloat16", "model.full_finetuning": True,
            "model.load_in_4bit": False, "data.source": "some-org/sums-and-proofs", "data.columns.prompt": "problem",
            "data.columns.answer": "solution", "data.prompt": "think_answer", "data.eval.split": "train[-300:]",
            "rewards": [("math_correct", 1.0), ("think_format", 0.5), ("tag_count", 0.25)],
            "objective.algorithm": "grpo", "objective.loss_type": "dapo", "objective.epsilon": 0.2,
            "generation.num_generations": 16, "generation.max_completion_length": 1024,
            "training.learning_rate": 2e-5, "training.lr_scheduler_type": "cosine", "training.warmup_steps": 50,
            "training.gradient_accumulation_steps": 4, "training.steps_per_generation": 4, "training.seed": 7,
            "training.save_steps": None, "training.extra": {"gradient_checkpointing_kwargs": {"use_reentrant": False}},
            "output.dir": "data/Qwen2.5-1.5B-GRPO", "output.report_to": ["wandb"], "output.save_total_limit": 1,
        },
        ["lr_scheduler_kwargs", "max_steps", "num_train_epochs", "push_to_hub", "save_steps", "do_eval"],
        ["model.full_finetuning", "training.max_steps"],
    ),
    "open_r1_code.yaml": (
        {
            "data.subset": "python", "data.prompt": "plain", "objective.loss_type": "dr_grpo", "objective.beta": 0.01,
            "objective.scale_rewards": "none", "objective.use_bias_correction_kl": True,
            "objective.mask_truncated_completions": True, "model.max_seq_length": 4048,
            "model.gpu_memory_utilization": 0.7, "rewards": [("rewards.code:style", 0.3)],
            "training.per_device_train_batch_size": 28, "training.warmup_steps": 9, "output.dir": "runs/open_r1_code",
            "output.report_to": ["wandb"], "training.save_steps": None,
        },
        ["hub_token", "reward_funcs", "code_language", "wandb_project", "vllm_device", "output_dir", "save_steps"],
        ["model.full_finetuning", "rewards"],
    ),
    "open_r1_mixture.yaml": (
        {
            "data.source": "some-org/easy", "data.prompt": "boxed", "model.full_finetuning": False,
            "model.lora.rank": 64, "model.lora.alpha": 128, "model.lora.dropout": 0.05,
            "model.lora.target_modules": ["q_proj", "k_proj"],
            "rewards": [("math_correct", 1.0), ("cosine_length", 0.5), ("repetition_penalty", 1.0),
                        ("length_penalty", 0.1), ("soft_overlong", 0.2)],
            "rewards.1.options.max_length": 900, "rewards.1.options.wrong_short": -0.5,
            "rewards.1.options.wrong_long": 0.0, "rewards.2.options": {"ngram": 5, "unit": "words"},
            "rewards.4.options": {"max_length": 900, "cache": 200},
        },
        ["dataset_mixture"],
        [],
    ),
    "trl_cli.yml": (
        {
            "data.source": "openai/gsm8k", "data.adapter": "gsm8k", "data.subset": "main",
            "data.split": "train[:2000]", "data.eval.split": "test", "model.load_in_4bit": True,
            "model.lora.rank": 32, "model.lora.dropout": 0.0, "training.learning_rate": 5e-6,
            "training.warmup_steps": 10, "generation.engine": "auto",
            "rewards": [("math_correct", 1.0), ("soft_overlong", 1.0), ("my_lib:my_reward", 1.0)],
            "training.extra": {"adam_beta2": 0.99, "trackio_space_id": "me/runs"},
        },
        ["logging_steps", "log_completions", "eval_strategy", "vllm_mode", "vllm_server_host"],
        [],
    ),
    "trl_gspo.yaml": (
        {
            "objective.algorithm": "gspo", "objective.epsilon": 3e-4, "objective.epsilon_high": 4e-4,
            "objective.loss_type": "grpo", "training.steps_per_generation": 4,
            "training.extra": {"use_liger_kernel": True},
        },
        [],
        ["model.full_finetuning"],
    ),
    "trl_gspo_without_effect.yaml": (
        {
            "objective.algorithm": "gspo_token", "objective.loss_type": "grpo", "objective.epsilon": 3e-4,
            "objective.epsilon_high": 4e-4, "objective.delta": 1.5, "training.gradient_accumulation_steps": 4,
            "training.steps_per_generation": 16, "training.extra": {"use_liger_kernel": True},
        },
        ["steps_per_generation", "epsilon", "epsilon_high", "loss_type"],
        ["model.full_finetuning"],
    ),
    "trl_token.yaml": (
        {
            "objective.algorithm": "grpo", "objective.loss_type": "cispo", "objective.epsilon": 0.2,
            "objective.epsilon_high": 5.0, "training.steps_per_generation": 4, "training.num_iterations": 2,
            "training.lr_scheduler_type": "linear", "generation.top_k": 0, "generation.temperature": 1.0,
        },
        ["epsilon", "epsilon_high", "temperature"],
        ["model.full_finetuning"],
    ),
    "trl_judge.yaml": (
        {
            "rewards": [("reward_model", 1.0), ("think_format", 0.1)], "rewards.0.options": {"model": "some-org/judge"},
            "model.dtype": "float16", "training.save_steps": 20,
            "training.extra": {"multi_objective_aggregation": "normalize_then_sum"},
        },
        [],
        ["model.full_finetuning"],
    ),
    "axolotl.yaml": (
        {
            "model.name": "Qwen/Qwen2.5-3B-Instruct", "model.load_in_4bit": True, "model.full_finetuning": False,
            "model.lora.rank": 32, "model.lora.target_modules": "all-linear", "model.dtype": "auto",
            "data.source": "openai/gsm8k", "data.adapter": "gsm8k", "data.split": "train", "objective.beta": 0.001,
            "rewards": [("rewards:rand_reward_func", 1.0)], "training.optim": "adamw_torch_fused",
            "training.per_device_train_batch_size": 32, "training.max_steps": 10000, "training.warmup_steps": 150,
            "training.lr_scheduler_type": "constant_with_warmup", "training.learning_rate": 5.3e-6,
            "training.extra": {"torch_compile": True, "tf32": True}, "output.dir": "./out",
        },
        ["strict", "vllm", "vllm_server_host", "chat_template", "datasets", "num_epochs", "save_steps"],
        [],
    ),
    "axolotl_full.yaml": (
        {
            "model.full_finetuning": True, "model.load_in_4bit": False, "objective.algorithm": "gspo",
            "training.steps_per_generation": 16, "data.eval.source": "some-org/olympiad",
            "data.eval.split": "validation", "model.max_seq_length": 1024,
            "rewards": [("rewards:format_reward", 1.0), ("rewards:correctness_reward", 2.0)],
            "training.extra": {"multi_objective_aggregation": "normalize_then_sum", "off_policy_mask_threshold": 0.5},
        },
        ["use_data_producer", "datasets", "deepspeed", "sample_packing"],
        ["model.full_finetuning"],
    ),
    "axolotl_file.yaml": (
        {
            "data.source": "problems.jsonl", "model.full_finetuning": False, "model.load_in_4bit": False,
            "model.lora.alpha": 16,
            "data.columns.prompt": "conversation", "generation.min_p": 0.05, "rewards": [("math_correct", 1.0)],
        },
        ["reward_funcs", "num_epochs"],
        ["rewards", "training.max_steps"],
    ),
    "notebook.py": (
        {
            "model.name": "unsloth/Qwen3-4B-Base", "model.load_in_4bit": False, "model.full_finetuning": False,
            "model.max_seq_length": 1024, "model.gpu_memory_utilization": 0.9, "model.lora.rank": 32,
            "model.lora.alpha": 64, "data.source": "openai/gsm8k", "generation.max_prompt_length": 288,
            "generation.max_completion_length": 736, "training.per_device_train_batch_size": 6,
            "training.seed": 3407, "rewards": [("repetition_penalty", 0.5)], "rewards.0.options": {"ngram": 4},
            "output.report_to": ["none"], "training.extra": {"adam_beta1": 0.9},
        },
        ["vllm_sampling_params", "per_device_train_batch_size", "bf16", "reward_funcs"],
        ["rewards"],
    ),
    "notebook_gspo.py": (
        {
            "model.name": "unsloth/gpt-oss-20b", "objective.algorithm": "gspo", "objective.loss_type": "grpo",
            "objective.delta": 1.5, "training.steps_per_generation": 16, "output.dir": "outputs",
            "rewards": [("math_correct", 1.0)],
        },
        ["epsilon", "epsilon_high", "loss_type"],
        ["data.source", "model.full_finetuning"],
    ),
    "arguments.py": (
        {
            "model.name": "starter", "objective.algorithm": "gspo", "training.learning_rate": 5e-6,
            "training.per_device_train_batch_size": 8, "output.report_to": ["trackio"],
        },
        ["num_train_epochs"],
        ["data.source", "model.name", "rewards", "training.max_steps"],
    ),
    "grpo_config.json": (
        {
            "objective.beta": 0.04, "objective.loss_type": "bnpo", "objective.scale_rewards": "batch",
            "objective.use_bias_correction_kl": False, "generation.engine": "transformers",
            "training.steps_per_generation": 1, "training.extra": {"adam_beta1": 0.9, "top_entropy_quantile": 1.0},
        },
        ["hub_token", "some_future_field", "accelerator_config", "fp16", "logging_steps"],
        ["data.source", "model.name", "rewards", "training.max_steps"],
    ),
    "sections.yaml": (
        {
            "model.name": "HuggingFaceTB/SmolLM2-135M-Instruct", "model.dtype": "float16", "model.lora.rank": 8,
            "model.lora.target_modules": ["q_proj", "v_proj"], "objective.beta": 0.02, "objective.epsilon": 0.2,
            "generation.num_generations": 4, "generation.max_completion_length": 128, "training.max_steps": 40,
            "training.per_device_train_batch_size": 8, "training.learning_rate": 1e-5,
        },
        [],
        ["data.source", "rewards"],
    ),
}  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "problems.jsonl").write_text('{"conversation": [], "solution": "4"}\n')
    return tmp_path


def written(name: str) -> Path:
    path = Path(name)
    path.write_text(TEXTS[name], encoding="utf-8")
    return path


def value_at(recipe, place: str):
    """A field of a recipe; `rewards` as pairs of name and weight."""
    if place == "rewards":
        return [(one.name, one.weight) for one in recipe.rewards]
    for part in place.split("."):
        recipe = (
            recipe[int(part)] if part.isdigit() else recipe[part] if isinstance(recipe, dict) else getattr(recipe, part)
        )
    return recipe


def test_every_text_is_expected():
    assert TEXTS.keys() == EXPECTED.keys()
    assert len(TEXTS) >= 12


@pytest.mark.parametrize("name", TEXTS)
def test_a_translation_loads_and_has_the_values(here, name):
    values, left, decide = EXPECTED[name]
    translation = recipe_from(written(name))
    Path("mine.yaml").write_text(as_recipe(translation), encoding="utf-8")
    recipe = load_recipe("mine.yaml").recipe
    assert {place: value_at(recipe, place) for place in values} == values
    assert set(left) <= {setting.key for setting, _ in translation.draft.left}
    assert sorted(translation.draft.decide) == sorted(decide)


@pytest.mark.parametrize("name", TEXTS)
def test_a_translation_says_what_became_of_every_key(here, name):
    translation = recipe_from(written(name))
    text = as_recipe(translation)
    sections = [line[:-1] for line in text.splitlines() if line[:1].isalpha()]
    assert sections == [name for name in Recipe.model_fields if name in sections]
    assert text.count("# decide: ") == len(translation.draft.decide)
    lines = report(translation)
    for setting in translation.settings:
        if setting.value not in (None, ""):
            assert any(f"{setting.where}: `{setting.key}`" in line for line in lines), setting


@pytest.mark.parametrize("name", TEXTS)
def test_check_shows_one_table_with_every_key(here, name):
    with pytest.raises(UsageError) as caught:
        load_recipe(str(written(name)))
    message = caught.value.message
    assert "unknown key" not in message
    assert "missing" not in message
    assert message.startswith(f"{name}: is the configuration of another trainer")
    assert caught.value.hint.startswith(f"`gspo-lite recipes --from {name} > mine.yaml`")
    for setting in read_settings(Path(name)):
        line = setting.where.rpartition(":")[2]
        assert f"{setting.where}: {setting.key} " in message or f"{setting.key} (line {line})" in message


def test_the_table_says_where_keys_are_and_why_others_are_not(here):
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(written("open_r1.yaml")))
    lines = {" ".join(line.split()) for line in caught.value.problems}
    assert "open_r1.yaml:20: learning_rate -> training.learning_rate" in lines
    assert (
        "open_r1.yaml:38: reward_funcs -> rewards: `- name: math_correct`, `- name: think_format`, `- name: tag_count`"
        in lines
    )
    assert (
        "not in a recipe: hub_model_id (line 18), hub_strategy (line 19), push_to_hub (line 35): nothing is uploaded: "
        "`gspo-lite push RUN --to user/name` does it" in lines
    )
    assert len(caught.value.problems) < 40


def test_a_loss_type_of_unsloth_is_an_algorithm(here):
    with pytest.raises(RecipeError, match=r"loss_type +-> objective.algorithm: gspo"):
        load_recipe(str(written("arguments.py")))


@pytest.mark.parametrize("name", ["open_r1.yaml", "trl_gspo_without_effect.yaml"])
def test_a_choice_and_a_refusal_come_with_the_reason(here, name):
    lines = report(recipe_from(written(name)))
    wanted = {
        "open_r1.yaml": ["cosine_with_min_lr` is not offered", "epochs x rows x num_generations", "0.1 of max_steps"],
        "trl_gspo_without_effect.yaml": [
            "`steps_per_generation`: GSPO has no effect with one optimizer step per rollout",
            "training.steps_per_generation: `16`: GSPO has no effect",
            "`loss_type`: `dapo` sums over tokens",
        ],
    }
    for words in wanted[name]:
        assert any(words in line for line in lines)


def test_what_means_off_is_carried_over(here):
    left = {setting.key for setting, _ in recipe_from(written("trl_token.yaml")).draft.left}
    assert left == {"epsilon", "epsilon_high", "temperature"}  # not `top_k: -1`


def test_a_reward_file_beside_the_configuration_is_found(here):
    Path("rewards.py").write_text("def rand_reward_func(completions, **kwargs): ...\n")
    assert recipe_from(written("axolotl.yaml")).draft.rewards[0]["name"] == "rewards.py:rand_reward_func"


def test_a_script_is_read_and_never_run(here):
    text = "open('ran', 'w')\nGRPOConfig(learning_rate=__import__('os').getpid(), max_steps=9 ** 9 ** 9, seed=2 * 3)\n"
    Path("x.py").write_text(text)
    draft = recipe_from(Path("x.py")).draft
    assert draft.values == {"training.seed": 6}
    assert [setting.key for setting, _ in draft.left] == ["learning_rate", "max_steps"]
    assert not Path("ran").exists()


def test_names_and_entries_in_a_script_stand_for_their_literals(here):
    text = (
        "CONFIG = {'seed': 5, 'beta': 0.1}\nsteps = 4\nsteps = 5\nlr = 1e-5\n"
        "args = GRPOConfig(seed=CONFIG['seed'], max_steps=steps, learning_rate=lr, **CONFIG)\n"
    )
    Path("x.py").write_text(text)
    draft = recipe_from(Path("x.py")).draft
    assert draft.values == {"training.seed": 5, "training.learning_rate": 1e-5, "objective.beta": 0.1}
    assert [(one.key, reason) for one, reason in draft.left] == [("max_steps", "is computed by the script")]


def test_data_files_of_a_script_are_the_source(here):
    Path("x.py").write_text("d = load_dataset('json', data_files={'train': 'a.jsonl'})\nGRPOConfig(max_steps=3)\n")
    assert recipe_from(Path("x.py")).draft.values["data.source"] == "a.jsonl"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.yaml", "learning_rate: !!python/object/apply:os.system [id]\n", "tags are not allowed"),
        ("x.yaml", "a: &a 1\nlearning_rate: *a\n", "anchors and aliases"),
        ("x.yaml", "learning_rate: 1e-6\nlearning_rate: 1e-5\n", "`learning_rate` occurs twice"),
        ("x.yaml", "[" * 20_000, "nested more than"),
        ("x.json", "x: " + "y" * 300_000, "at most 262144"),
        ("x.yaml", "- learning_rate\n", "holds a list"),
        ("x.yaml", "services: {web: {image: nginx}}\n", "sets nothing that a recipe has"),
        ("x.yaml", "push_to_hub: true\n", "sets nothing that a recipe has"),
        ("x.py", "GRPOConfig(\n", "x.py:1: is not Python"),
        ("x.py", "def f(completions): return [0.0]\n", "has no call of GRPOConfig"),
        ("x.py", "(" * 5_000, "is not Python"),
        ("x.py", "GRPOConfig(seed=" + "1+" * 20_000 + "1)", "is not Python"),
        ("x.toml", "learning_rate = 1e-6\n", "does not end in .yaml, .yml, .json, .py"),
    ],
)  # fmt: skip
def test_what_cannot_be_translated_is_refused(here, name, text, says):
    Path(name).write_text(text)
    with pytest.raises(UsageError) as caught:
        recipe_from(Path(name))
    assert says in caught.value.message


def test_a_recipe_is_no_foreign_file(here):
    Path("mine.yaml").write_text(as_recipe(recipe_from(written("trl_gspo.yaml"))))
    with pytest.raises(UsageError, match="is a recipe already"):
        recipe_from(Path("mine.yaml"))


@pytest.mark.parametrize(
    "value", ["[]", "{}", "'text'", "-1", "1.5", "true", "[[1]]", "{a: {b: 1}}", "9e400", '"\\u0007"', "[null]"]
)
@pytest.mark.parametrize("name", ["open_r1.yaml", "axolotl.yaml"])
def test_any_value_of_any_key_is_carried_or_left(here, name, value):
    for line in TEXTS[name].splitlines():
        key, separator, rest = line.partition(": ")
        if separator and rest and not key.startswith((" ", "#", "-")):
            Path("x.yaml").write_text(TEXTS[name].replace(line, f"{key}: {value}", 1))
            values, _ = parse(as_recipe(recipe_from(Path("x.yaml"))), "mine.yaml")
            Recipe.model_validate(values)


def test_the_command_imports_nothing_heavy(here):
    written("notebook.py")
    code = (
        "import sys\nfrom gspo_lite.cli import main\nsys.argv = ['gspo-lite', 'recipes', '--from', 'notebook.py']\n"
        "try:\n    main()\nexcept SystemExit as error:\n    assert not error.code, error.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_the_command_writes_the_recipe_to_stdout_and_the_rest_to_stderr(here):
    path = written("trl_cli.yml")
    command = [sys.executable, "-m", "gspo_lite", "recipes", "--from", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    Path("mine.yaml").write_text(done.stdout)
    assert load_recipe("mine.yaml").recipe.data.source == "openai/gsm8k"
    assert done.stderr.startswith("carried over:\n  trl_cli.yml:1: `model_name_or_path` -> model.name")
    assert "not carried over:\n" in done.stderr
    assert "chosen:\n" in done.stderr
    both = subprocess.run([*command, "--init", "quickstart"], capture_output=True, text=True, timeout=60)
    assert (both.returncode, both.stdout) == (2, "")
