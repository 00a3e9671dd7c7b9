"""GSPOTrainer where Python code of TRL's users moves over: what works there works here, or is refused by name."""

import pytest
import torch
from datasets import Dataset, IterableDataset
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, EarlyStoppingCallback
from trl import GRPOConfig, GRPOTrainer

from gspo_lite import GSPOConfig, GSPOTrainer
from gspo_lite.errors import UsageError
from gspo_lite.models.sampler import sampling_by_rows
from gspo_lite.recipe.check import check_recipe
from gspo_lite.recipe.extra import NO_EFFECT
from gspo_lite.training.levels import LEVELS
from tests.training.test_trainer import PROMPTS, adapter_of, config, loaded

ROWS = [{"prompt": prompt} for prompt in PROMPTS]
SCORES = (1.0, 3.0, 2.0, 0.0)  # of the evaluations after each step: the second is the best


def varied(completions, **columns):
    """Reward every second completion, so that every group teaches whatever the starter says."""
    return [float(index % 2) for index in range(len(completions))]


def trainer(tmp_path, *, model=None, args=None, rows=ROWS, rewards=varied, **options):
    parts = loaded()
    args = config(tmp_path, max_completion_length=8) if args is None else args
    return GSPOTrainer(model or parts.model, rewards, args, rows, processing_class=parts.processing_class, **options)


def holds(checkpoint, run):
    """Return whether a checkpoint has the adapter of a trainer."""
    weights = {name.replace(".default", ""): p for name, p in adapter_of(run.model).items()}
    saved = load_file(checkpoint / "adapter_model.safetensors")
    return saved.keys() == weights.keys() and all(torch.equal(weights[name], p) for name, p in saved.items())


def scored_by_step(monkeypatch):
    def evaluate(self, *args, **options):
        metrics = {"eval_reward": SCORES[self.state.global_step - 1]}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    monkeypatch.setattr(GSPOTrainer, "evaluate", evaluate)


@pytest.mark.parametrize(
    ("strategy", "limit", "left"),
    [
        ("steps", 1, {2}), ("steps", 2, {2, 4}), ("steps", None, {1, 2, 3, 4}),
        ("best", 1, {2}), ("best", 2, {1, 2}), ("best", None, {1, 2}),
    ],
)  # fmt: skip
def test_the_best_checkpoint_is_kept_and_loaded(tmp_path, monkeypatch, strategy, limit, left):
    scored_by_step(monkeypatch)
    args = config(
        tmp_path, max_completion_length=8, save_strategy=strategy, save_steps=1, save_total_limit=limit,
        eval_strategy="steps", eval_steps=1, load_best_model_at_end=True, metric_for_best_model="eval_reward",
        greater_is_better=True,
    )  # fmt: skip
    run = trainer(tmp_path, args=args, eval_dataset=ROWS)
    run.train()
    assert run.state.global_step == 4
    best = tmp_path / "checkpoint-2"
    assert run.state.best_model_checkpoint == str(best)
    there = {int(path.name.partition("-")[2]) for path in tmp_path.iterdir() if path.name.startswith("checkpoint-")}
    assert there == left
    assert holds(best, run)


def test_a_finished_training_that_is_resumed_has_the_best_model(tmp_path, monkeypatch):
    scored_by_step(monkeypatch)
    args = config(
        tmp_path, max_completion_length=8, save_strategy="steps", save_steps=1, eval_strategy="steps", eval_steps=1,
        load_best_model_at_end=True, metric_for_best_model="eval_reward",
    )  # fmt: skip
    trainer(tmp_path, args=args, eval_dataset=ROWS).train()
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in tmp_path.glob("checkpoint-*"):
        path.rename(moved / path.name)
    run = trainer(tmp_path, args=args, eval_dataset=ROWS)
    run.train(resume_from_checkpoint=str(moved / "checkpoint-4"))
    assert holds(moved / "checkpoint-2", run)


@pytest.mark.parametrize(("limit", "left"), [(1, {2}), (2, {2, 4}), (None, {1, 2, 3, 4})])
def test_what_a_kill_after_the_last_save_left_is_removed_when_resumed(tmp_path, monkeypatch, limit, left):
    scored_by_step(monkeypatch)
    options = {
        "max_completion_length": 8, "save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps",
        "eval_steps": 1, "load_best_model_at_end": True, "metric_for_best_model": "eval_reward",
    }  # fmt: skip
    trainer(tmp_path, args=config(tmp_path, **options), eval_dataset=ROWS).train()
    run = trainer(tmp_path, args=config(tmp_path, **options, save_total_limit=limit), eval_dataset=ROWS)
    run.train(resume_from_checkpoint=True)
    assert {int(path.name.partition("-")[2]) for path in tmp_path.glob("checkpoint-*")} == left
    assert holds(tmp_path / "checkpoint-2", run)


def test_checkpoints_beside_one_that_is_named_are_kept(tmp_path):
    """A folder of another run, or later steps of this one, are not what a kill left behind."""
    options = {"max_completion_length": 8, "save_strategy": "steps", "save_steps": 1, "learning_rate": 0.0}
    trainer(tmp_path, args=config(tmp_path / "old", **options)).train()
    for output, step, most in ((tmp_path / "new", 4, 4), (tmp_path / "old", 2, 2)):
        run = trainer(tmp_path, args=config(output, **options | {"max_steps": most}, save_total_limit=1))
        run.train(resume_from_checkpoint=str(tmp_path / "old" / f"checkpoint-{step}"))
        assert len(list((tmp_path / "old").glob("checkpoint-*"))) == 4


def test_early_stopping_ends_training_at_the_best(tmp_path, monkeypatch):
    scored_by_step(monkeypatch)
    args = config(
        tmp_path, max_completion_length=8, save_strategy="steps", save_steps=1, save_total_limit=1, max_steps=9,
        eval_strategy="steps", eval_steps=1, load_best_model_at_end=True, metric_for_best_model="eval_reward",
    )  # fmt: skip
    run = trainer(tmp_path, args=args, eval_dataset=ROWS, callbacks=[EarlyStoppingCallback(2)])
    run.train()
    assert (run.state.global_step, run.state.best_global_step) == (4, 2)


def test_a_second_training_replaces_the_checkpoints_of_the_first(tmp_path):
    for rate in (1e-2, 1e-5):
        args = config(
            tmp_path, max_completion_length=8, max_steps=2, save_strategy="steps", save_steps=2, learning_rate=rate
        )
        run = trainer(tmp_path, args=args)
        run.train()
    assert holds(tmp_path / "checkpoint-2", run)
    run.train()  # once more with the same trainer
    assert holds(tmp_path / "checkpoint-2", run)


def test_rotation_removes_what_was_written_first_even_if_its_step_is_later(tmp_path):
    for steps in (4, 2):
        args = config(
            tmp_path, max_completion_length=8, max_steps=steps, save_strategy="steps", save_steps=1, save_total_limit=2
        )
        trainer(tmp_path, args=args).train()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]


@pytest.mark.parametrize(("accumulated", "passes"), [(4, 6), (2, 3), (3, 4)])
def test_steps_that_span_two_rollouts_move_weights_as_on_stock_trl(tmp_path, accumulated, passes):
    options = {
        "max_completion_length": 8, "max_steps": 3, "per_device_train_batch_size": 4, "num_generations": 4,
        "gradient_accumulation_steps": accumulated, "steps_per_generation": passes, "epsilon": 3e-4,
    }  # fmt: skip
    ours = trainer(tmp_path, args=config(tmp_path, **options))
    suppressed = ours.generation_kwargs["suppress_tokens"]
    ours.train()
    args = config(tmp_path, generation_kwargs={"suppress_tokens": suppressed}, **options)
    parts = loaded()
    stock = GRPOTrainer(parts.model, varied, args, Dataset.from_list(ROWS), processing_class=parts.processing_class)
    with sampling_by_rows(stock.model):  # the same random numbers
        stock.train()
    moved = adapter_of(stock.model)
    for name, weight in adapter_of(ours.model).items():
        # Adam makes rounding, of prompts computed once, larger; other rows would move weights by 1e-3.
        torch.testing.assert_close(weight, moved[name], rtol=0, atol=3e-5)


def test_suppressed_tokens_of_the_user_are_kept(tmp_path):
    run = trainer(tmp_path, args=config(tmp_path, generation_kwargs={"suppress_tokens": [7, 9]}))
    placeholders = trainer(tmp_path).generation_kwargs["suppress_tokens"]
    assert run.generation_config.suppress_tokens == sorted({7, 9, *placeholders})
    assert run.generation_kwargs["suppress_tokens"] == run.generation_config.suppress_tokens


def test_token_credit_of_rewards_normalised_apart_is_refused(tmp_path):
    args = config(
        tmp_path, importance_sampling_level="sequence_token", multi_objective_aggregation="normalize_then_sum"
    )
    with pytest.raises(UsageError, match="not for `normalize_then_sum`"):
        trainer(tmp_path, args=args, credits=["answer"])


def test_images_that_generation_would_not_see_are_refused(tmp_path):
    args = config(tmp_path, use_transformers_continuous_batching=True)
    rows = [{**row, "image": "a.png"} for row in ROWS]
    with pytest.raises(UsageError, match="would not see the images"):
        GSPOTrainer("nowhere", varied, args, rows)


def test_a_grpo_config_trains_with_the_values_it_has(tmp_path):
    args = GRPOConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", max_steps=1,
        per_device_train_batch_size=8, max_completion_length=8, save_strategy="no",
    )  # fmt: skip
    run = trainer(tmp_path, args=args)
    assert (run.importance_sampling_level, run.epsilon_low, run.args.steps_per_generation) == ("token", 0.2, 1)
    assert isinstance(run.args, GSPOConfig)
    assert run.train().global_step == 1
    with pytest.raises(UsageError, match="`args` is a dict; allowed are a GSPOConfig and TRL's GRPOConfig"):
        trainer(tmp_path, args={"max_steps": 1})


@pytest.mark.parametrize("kind", [GSPOConfig, GRPOConfig])
def test_a_process_that_sees_two_gpus_trains_on_one(tmp_path, kind):
    """Transformers would make each row of a rollout two, as on Kaggle's pair of T4s."""
    args = kind(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", per_device_train_batch_size=8,
    )  # fmt: skip
    args._n_gpu = 2
    run = trainer(tmp_path, args=args)
    assert (run.args.n_gpu, run._train_batch_size) == (1, 8)


def test_settings_may_be_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = loaded()
    run = GSPOTrainer(parts.model, varied, None, ROWS, ROWS[:4], parts.processing_class)
    assert (run.args.epsilon, run.args.output_dir) == (3e-4, "gspo-output")
    assert run.eval_dataset[:]["prompt"] == [row["prompt"] for row in ROWS[:4]]


def test_a_model_without_a_trained_parameter_is_refused(tmp_path):
    parts = loaded()
    parts.model.save_pretrained(tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(parts.model.peft_config["default"].base_model_name_or_path)
    frozen = PeftModel.from_pretrained(base, tmp_path / "adapter")
    with pytest.raises(UsageError, match="no parameter of `model` is trained") as caught:
        trainer(tmp_path, model=frozen)
    assert "is_trainable=True" in caught.value.hint


def test_a_sixteen_bit_model_stays_one_and_its_user_is_told(tmp_path, starter, capsys):
    model = AutoModelForCausalLM.from_pretrained(starter, dtype=torch.bfloat16)
    run = trainer(tmp_path, model=model)
    assert {p.dtype for p in run.model.parameters()} == {torch.bfloat16}
    assert "the trained weights are in 16 bits" in capsys.readouterr().err


def test_what_cannot_be_resumed_is_said(tmp_path):
    with pytest.raises(UsageError, match="has no complete checkpoint to resume from"):
        trainer(tmp_path).train(resume_from_checkpoint=True)
    stock = tmp_path / "checkpoint-4"
    stock.mkdir()
    (stock / "trainer_state.json").write_text("{}")
    with pytest.raises(UsageError, match="checkpoint of step 4 skipped") as caught:
        trainer(tmp_path).train(resume_from_checkpoint=True)
    assert "TRL's own trainer" in caught.value.hint


def test_a_finished_training_returns_its_result_when_resumed(tmp_path):
    args = {"max_completion_length": 8, "save_strategy": "steps", "save_steps": 1, "max_steps": 3}
    done = trainer(tmp_path, args=config(tmp_path, logging_steps=1, **args)).train()
    again = trainer(tmp_path, args=config(tmp_path, **args)).train(resume_from_checkpoint=True)
    assert (again.global_step, again.training_loss) == (3, pytest.approx(done.training_loss, abs=1e-6))


def test_other_batches_inside_a_rollout_are_refused(tmp_path):
    args = {"max_completion_length": 8, "save_strategy": "steps", "save_steps": 1}
    trainer(tmp_path, args=config(tmp_path, max_steps=2, **args)).train()
    other = config(tmp_path, max_steps=4, gradient_accumulation_steps=2, steps_per_generation=4, **args)
    with pytest.raises(UsageError, match="`gradient_accumulation_steps` was 1, is 2"):
        trainer(tmp_path, args=other).train(resume_from_checkpoint=True)


def test_a_stream_that_cannot_fill_a_rollout_is_an_error(tmp_path):
    few = IterableDataset.from_generator(lambda: iter(ROWS[:1]))
    with pytest.raises(UsageError, match="no step was taken: `train_dataset` ended before"):
        trainer(tmp_path, rows=few).train()


@pytest.mark.parametrize(
    ("options", "doubt"),
    [
        ({"steps_per_generation": 1}, "GSPO has no effect with one optimizer step per rollout"),
        ({"epsilon": 0.2}, "`epsilon` 0.2 is of GRPO's size"),
        ({"loss_type": "dapo"}, "`dapo` sums over tokens"),
        ({"importance_sampling_level": "token"}, "`epsilon` 0.0003 is of GSPO's size"),
    ],
)
def test_settings_that_are_not_gspo_warn_and_are_refused_if_strict(tmp_path, capsys, options, doubt):
    args = config(tmp_path, **options)
    trainer(tmp_path, args=args)
    assert f"warning: {doubt}" in capsys.readouterr().err
    with pytest.raises(UsageError, match=doubt):
        trainer(tmp_path, args=args, strict=True)


def test_the_papers_settings_cause_no_warning(tmp_path, capsys):
    trainer(tmp_path, strict=True)
    assert "warning" not in capsys.readouterr().err
    assert set(LEVELS) == {"gspo", "gspo_token", "grpo"}


def test_logged_figures_reach_the_callers_dict(tmp_path):
    run = trainer(tmp_path)
    given = {"loss": 1.0}
    run._metrics["eval"]["reward"].append(0.5)
    run.model.eval()
    run.log(given)
    assert given["eval_reward"] == 0.5


@pytest.mark.parametrize("name", sorted(NO_EFFECT))
def test_extra_fields_without_effect_are_refused(name):
    from gspo_lite import load_recipe

    recipe = load_recipe("quickstart").recipe
    training = recipe.training.model_copy(update={"extra": {name: True}})
    found = check_recipe(recipe.model_copy(update={"training": training}))
    assert [problem.message for problem in found] == [f"has no effect: {NO_EFFECT[name]}"]
