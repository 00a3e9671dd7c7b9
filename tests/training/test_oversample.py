"""Dynamic sampling: what is swapped, up to which bound, with which gradient, and that a resumed run goes on alike."""

import copy
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from gspo_lite.data.keys import key_of
from gspo_lite.errors import UsageError
from gspo_lite.training.config import GSPOConfig
from gspo_lite.training.oversample import FreshPrompts, flat_groups, refuse_oversampling, swapped
from gspo_lite.training.trainer import GSPOTrainer
from tests.training.test_rows import Gradients
from tests.unsloth.patched_trainer import BASE, own_tokens, tiny_model, tiny_tokenizer

NAN = float("nan")
# Each prompt ends with what its group is: f without variance, v with. 12 rows, of which a rollout asks 8.
PROMPTS = ["a f", "b c v", "d f", "e v", "g h i f", "j k v", "l m n o v", "p q f", "r v", "s f", "t u w x v", "y f"]
OPTIONS = {"steps_per_generation": 4, "learning_rate": 2.0, "optim": "sgd", "logging_steps": 1, "max_grad_norm": 1e9}


def reward(prompts, completions, **columns):
    return [float(len(set(t.split()))) if p.endswith("v") else 1.0 for p, t in zip(prompts, completions, strict=True)]


def answered(trainer):
    """Completions that depend on the prompt and on the place in its group alone, as if one had sampled them before."""

    def generate(prompt_ids, images, fields, num_generations, **options):
        completions = []
        for row, ids in enumerate(prompt_ids):
            draw = torch.Generator().manual_seed(sum(ids) * 31 + row % num_generations)
            length = int(torch.randint(1, 12, (1,), generator=draw))
            completions.append([*torch.randint(3, 29, (length,), generator=draw).tolist(), 1])
        return completions, None

    trainer._generate_single_turn = generate
    return trainer


def with_tools(trainer):
    """A trainer in whose completions a tool wrote some of the tokens."""
    generated = trainer._generate

    def generate(prompts):
        prompt_ids, ids, _, *rest = generated(prompts)
        return prompt_ids, ids, [own_tokens(len(row)) for row in ids], *rest

    trainer._generate = generate
    return trainer


def made(tmp_path, prompts=PROMPTS, *, credits=None, dtype=torch.float64, rewards=reward, **options):
    tokenizer, gradients = tiny_tokenizer(False), Gradients()
    torch.manual_seed(0)
    args = GSPOConfig(output_dir=str(tmp_path), **{**BASE, **OPTIONS, **options})
    trainer = GSPOTrainer(
        tiny_model(tokenizer).to(dtype), [rewards], args=args, callbacks=[gradients], credits=credits,
        train_dataset=Dataset.from_list([{"prompt": one} for one in prompts]), processing_class=tokenizer,
    )  # fmt: skip
    return trainer, gradients.seen


def kinds(trainer):
    return [row["prompt"][-1] for row in trainer.rollout[::4]]


CASES = {
    "credit per token": {"importance_sampling_level": "sequence_token", "credits": [{"tail": 2}]},
    "two iterations by all tokens": {"num_iterations": 2, "gradient_accumulation_steps": 2, "loss_type": "dapo"},
    "old log-probs at once": {"every row": True},  # as under vLLM
    "tools": {"importance_sampling_level": "sequence_token", "credits": [{"tail": 2}], "with tools": True},
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_the_joined_rollout(case, tmp_path):
    """A plain trainer that is given the groups which are left after the swap takes the same steps."""
    from gspo_lite.recipe.schema import TailCredit

    options = dict(CASES[case])
    every_row, tools = options.pop("every row", False), options.pop("with tools", False)
    if "credits" in options:
        options["credits"] = [TailCredit(**options["credits"][0])]
    trainer, found = made(tmp_path, oversample=1, **options)
    trainer = with_tools(answered(trainer)) if tools else answered(trainer)
    trainer.row_rules = None if every_row else trainer.row_rules
    first = []
    score = trainer._scored

    def noting(inputs):
        output = score(inputs)
        first.append([row["prompt"] for row in inputs[::4]])
        return output

    trainer._scored = noting
    trainer.train()
    assert len(found) == 4
    assert "f" in "".join(prompt[-1] for prompt in first[0])
    prompts = [row["prompt"] for row in trainer.rollout[::4]]
    assert prompts != first[0]
    plain, wanted = made(tmp_path, prompts, shuffle_dataset=False, **options)
    plain = with_tools(answered(plain)) if tools else answered(plain)
    plain.row_rules = None if every_row else plain.row_rules
    plain.train()
    assert any(theirs.norm() > 1e-3 for theirs in wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).norm() <= 1e-9 * theirs.norm()


def test_flat_groups_make_room_and_what_it_cost_is_logged(tmp_path):
    def judged(prompts, completions, **columns):  # but for the last of each group
        rewards = reward(prompts, completions)
        return [None if row % 4 == 3 else value for row, value in enumerate(rewards)]

    trainer, _ = made(tmp_path, oversample=2, max_steps=1, rewards=judged)
    plain, _ = made(tmp_path, max_steps=1, rewards=judged)
    for one in (trainer, plain):
        answered(one).train()
    flat = kinds(plain).count("f")
    rest = [prompt[-1] for prompt in set(PROMPTS) - {row["prompt"] for row in plain.rollout}]
    assert flat >= 2
    assert len(rest) == 4
    gained = min(rest.count("v"), flat)
    assert gained >= 1
    assert kinds(trainer).count("f") == flat - gained
    for new, old in zip(trainer.rollout, plain.rollout, strict=True):  # a group with variance stays where it was
        assert str(new) == str(old) or old["prompt"][-1] == "f"
    logs, before = trainer.state.log_history[0], plain.state.log_history[0]
    asked = logs["gspo/oversample/extra_groups"]
    assert asked == min(flat, 4)
    assert logs["gspo/oversample/kept_share"] == pytest.approx(gained / asked)
    assert logs["gspo/oversample/flat_share"] == (flat - gained) / 8
    assert logs["gspo/oversample/extra_tokens"] == logs["num_tokens"] - before["num_tokens"] > 0
    assert logs["gspo/oversample/seconds"] > 0
    assert logs["rewards/judged/none_count"] == 8 + asked
    for name in ("reward", "reward_std", "frac_reward_zero_std", "rewards/judged/mean", "completions/mean_length"):
        assert logs[name] == before[name], name


def test_the_bound_is_kept_and_what_stays_flat_adds_nothing(tmp_path):
    """Every group is flat, so each of three rounds asks for all eight anew."""
    trainer, gradients = made(tmp_path, [f"{a} {b} f" for a in "abcde" for b in "ghijklm"], oversample=3, max_steps=1)
    rounds = []
    score = trainer._scored
    trainer._scored = lambda inputs: rounds.append(inputs) or score(inputs)
    answered(trainer).train()
    assert [len(inputs) for inputs in rounds] == [32, 32, 32, 32]
    asked = [row["prompt"] for inputs in rounds for row in inputs[::4]]
    assert len(set(asked)) == 32
    logs = trainer.state.log_history[0]
    assert (logs["gspo/oversample/extra_groups"], logs["gspo/oversample/kept_share"]) == (24, 0)
    assert gradients[0].norm() == 0


def test_old_log_probs_are_those_of_the_width_that_is_trained(tmp_path):
    """Rounding to another width would be a ratio before any weight has moved."""
    trainer, _ = made(tmp_path, oversample=1, max_steps=1)
    trainer.row_rules = None  # as under vLLM
    seen, score = [], trainer._old_logps
    trainer._old_logps = lambda part: seen.append(part["completion_ids"].shape) or score(part)
    answered(trainer).train()
    assert seen == [batch["completion_ids"].shape for batch in trainer._buffered_inputs]
    assert [len(shape) for shape in seen] == [2, 2, 2, 2]


def test_where_nothing_is_flat_nothing_changes(tmp_path):
    prompts = [f"{name} v" for name in "abcdeghi"]
    plain, wanted = made(tmp_path, prompts, max_steps=2)
    answered(plain).train()
    trainer, found = made(tmp_path, prompts, oversample=2, max_steps=2)
    answered(trainer).train()
    assert len(found) == 2
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, wanted, strict=True))
    assert trainer.oversampler.prompts.drawn == 0
    assert trainer.state.log_history[0]["gspo/oversample/extra_groups"] == 0
    assert plain.oversampler is None
    assert not any(name.startswith("gspo/oversample") for name in plain.state.log_history[0])


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    options = {"oversample": 2, "max_steps": 10, "save_strategy": "steps", "save_steps": 6, "dtype": torch.float32}
    whole, wanted = made(tmp_path, **options)
    whole.train()
    assert whole.oversampler.prompts.drawn > 4
    resumed, found = made(tmp_path, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))  # inside the second rollout of three
    assert resumed.oversampler.prompts.drawn == whole.oversampler.prompts.drawn
    assert len(found) == 4
    assert wanted[-1].norm() > 0
    for ours, theirs in zip(found, wanted[6:], strict=True):
        assert torch.equal(ours, theirs)


def keys(prompts):
    return [key_of({"prompt": one}) for one in prompts]


def test_fresh_prompts_all_come_before_one_comes_again():
    rows = [{"prompt": name} for name in "abcdefgh"]
    prompts = FreshPrompts(rows, seed=1)
    first = [row["prompt"] for _ in range(4) for row in prompts.draw(2, [])]
    assert sorted(first) == list("abcdefgh")
    again = [row["prompt"] for _ in range(4) for row in prompts.draw(2, [])]
    assert sorted(again) == list("abcdefgh")
    assert again != first
    other = FreshPrompts(rows, seed=2)
    assert [row["prompt"] for row in other.draw(8, [])] != first
    resumed = FreshPrompts(rows, seed=1)
    resumed.drawn = 8
    assert [row["prompt"] for row in resumed.draw(8, [])] == again
    assert [row["prompt"] for row in prompts.draw(8, keys("abcdef"))] in (["g", "h"], ["h", "g"])
    assert prompts.draw(1, keys("abcdefgh")) == []


def rollout_of(advantages, lengths, width):
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return {
        "prompt_ids": torch.full((len(lengths), 2), 7), "prompt_mask": torch.ones(len(lengths), 2, dtype=torch.long),
        "completion_ids": mask * 5, "completion_mask": mask, "advantages": torch.tensor(advantages),
        "num_items_in_batch": mask.sum(),
    }  # fmt: skip


def test_a_group_is_flat_without_variance_or_without_advantage():
    def flat(sums, advantages, **more):
        output = {**rollout_of(advantages, [2] * len(sums), 3), **more}
        return flat_groups(output, [None if total != total else total for total in sums], 2)

    assert flat([1.0, 0.0, 1.0, 1.0], [1.0, -1.0, 0.0, 0.0]) == [1]
    assert flat([0.1, 0.1 + 1e-8], [7e-5, -7e-5]) == [0]  # rounding is no variance
    assert flat([NAN, NAN, NAN, 0.5, NAN, 0.5], [0.0] * 6) == [0, 1, 2]
    assert flat([NAN, 0.5, 0.0, 0.5], [0.0, 0.0, -1.0, 1.0]) == [0]
    by_token = [[0.0, 1.0, 9.0], [0.0, -1.0, 0.0], [0.0, 0.0, 9.0], [0.0, 0.0, 9.0]]  # the last column is padding
    assert flat([1.0, 0.0, 1.0, 0.0], by_token) == [1]
    assert flat([1.0, 0.0], [1.0, -1.0], tool_mask=torch.zeros(2, 3)) == [0]
    assert flat([1.0, 0.0], [NAN, 1.0]) == []  # stays to be seen


def test_rows_are_joined_at_their_common_widths():
    output = rollout_of([0.0, 0.0, 1.0, -1.0], [1, 2, 2, 1], 2)
    extra = rollout_of([[2.0, 3.0, 0.0], [-2.0, -3.0, -4.0]], [2, 3], 3)
    extra["prompt_ids"], extra["prompt_mask"] = torch.tensor([[8], [9]]), torch.ones(2, 1, dtype=torch.long)
    kept = copy.deepcopy(output)
    joined = swapped(output, extra, [0, 1], [0, 1], 6)
    assert joined["prompt_ids"].tolist() == [[6, 8], [6, 9], [7, 7], [7, 7]]
    assert joined["prompt_mask"].tolist() == [[0, 1], [0, 1], [1, 1], [1, 1]]
    assert joined["completion_ids"].tolist() == [[5, 5, 0], [5, 5, 5], [5, 5, 6], [5, 0, 6]]
    assert joined["completion_mask"].tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 0, 0]]
    assert joined["advantages"].tolist() == [[2, 3, 0], [-2, -3, -4], [1, 1, 0], [-1, -1, 0]]
    assert joined["num_items_in_batch"] == 8
    assert all(torch.equal(value, kept[name]) for name, value in output.items())
    with pytest.raises(TypeError, match="`odd` of a rollout cannot be joined"):
        swapped({**output, "odd": torch.ones(4, 2)}, {**extra, "odd": torch.ones(2, 3)}, [0], [0], 6)


@pytest.mark.parametrize(
    ("options", "columns", "unsloth", "why"),
    [
        ({}, ["prompt"], True, "Unsloth's trainer"),
        ({}, ["prompt", "images"], False, "images"),
        ({}, None, False, "a column `prompt`"),
        ({"scale_rewards": "batch"}, ["prompt"], False, "scale_rewards"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, ["prompt"], False, "rewards summed first"),
    ],
)
def test_what_cannot_be_joined_is_refused(options, columns, unsloth, why, tmp_path):
    args = GSPOConfig(output_dir=str(tmp_path), oversample=1, **{**BASE, **options})
    with pytest.raises(UsageError, match=why):
        refuse_oversampling(args, columns, unsloth=unsloth)
    args.oversample = 0
    refuse_oversampling(args, columns, unsloth=unsloth)


def test_several_processes_are_refused():
    args = SimpleNamespace(
        oversample=1, world_size=2, scale_rewards="group", multi_objective_aggregation="sum_then_normalize"
    )
    with pytest.raises(UsageError, match="different numbers of rounds"):
        refuse_oversampling(args, ["prompt"], unsloth=False)
    args.world_size = 1
    refuse_oversampling(args, ["prompt"], unsloth=False)


def test_the_trainer_refuses_before_it_loads_a_model(tmp_path):
    args = GSPOConfig(output_dir=str(tmp_path), oversample=1, **{**BASE, "scale_rewards": "batch"})
    with pytest.raises(UsageError, match="scale_rewards"):
        GSPOTrainer("nowhere", [reward], args=args, train_dataset=["a"])
