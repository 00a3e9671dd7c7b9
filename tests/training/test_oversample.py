"""More prompts than a rollout trains on: which groups stay, their gradient, and that a resumed run goes on alike."""

from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset, IterableDataset
from trl.generation import vllm_generation

from gspo_lite.errors import UsageError
from gspo_lite.training.config import GSPOConfig
from gspo_lite.training.oversample import (
    chosen_groups,
    part_of,
    refuse_oversampling,
    room_in_vllm,
    tokens_of,
)
from gspo_lite.training.trainer import GSPOTrainer
from tests.training.test_rows import Gradients
from tests.unsloth.patched_trainer import BASE, own_tokens, tiny_model, tiny_tokenizer

# Each prompt ends with what its group is: f without variance, v with. A rollout trains on 8 and asks 16 of them.
PROMPTS = [
    "a f", "b c v", "d f", "e v", "g h i f", "j k v", "l m n o v", "p q f", "r v", "s f", "t u w x v", "y f",
    "a b f", "c d v", "e g f", "h i f", "j l f", "m n f",
]  # fmt: skip
OPTIONS = {"steps_per_generation": 4, "learning_rate": 2.0, "optim": "sgd", "logging_steps": 1, "max_grad_norm": 1e9}


def reward(prompts, completions, **columns):
    return [float(len(set(t.split()))) if p.endswith("v") else 1.0 for p, t in zip(prompts, completions, strict=True)]


def answered(trainer):
    """Completions that depend on the prompt and on the place in its group alone, as if one had sampled them before."""

    def generate(prompt_ids, images, fields, num_generations=4, **options):  # TRL 1.13 gives none
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


def made(tmp_path, prompts=PROMPTS, *, credits=None, dtype=torch.float64, rewards=reward, streamed=False, **options):
    def rows():
        return ({"prompt": one} for one in prompts)

    tokenizer, gradients = tiny_tokenizer(False), Gradients()
    torch.manual_seed(0)
    args = GSPOConfig(output_dir=str(tmp_path), **{**BASE, **OPTIONS, **options})
    trainer = GSPOTrainer(
        tiny_model(tokenizer).to(dtype), [rewards], args=args, callbacks=[gradients], credits=credits,
        train_dataset=IterableDataset.from_generator(rows) if streamed else Dataset.from_list([*rows()]),
        processing_class=tokenizer,
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
def test_gradients_are_those_of_the_kept_groups_alone(case, tmp_path):
    """A plain trainer that is given the prompts of the groups that were kept takes the same steps."""
    from gspo_lite.recipe.schema import TailCredit

    options = dict(CASES[case])
    every_row, tools = options.pop("every row", False), options.pop("with tools", False)
    if "credits" in options:
        options["credits"] = [TailCredit(**options["credits"][0])]
    trainer, found = made(tmp_path, sample_factor=2, **options)
    trainer = with_tools(answered(trainer)) if tools else answered(trainer)
    trainer.row_rules = None if every_row else trainer.row_rules
    trainer.train()
    prompts = [row["prompt"] for row in trainer.rollout[::4]]
    assert len(found) == 4
    assert {"f", "v"} == set(kinds(trainer))
    plain, wanted = made(tmp_path, prompts, shuffle_dataset=False, **options)
    plain = with_tools(answered(plain)) if tools else answered(plain)
    plain.row_rules = None if every_row else plain.row_rules
    plain.train()
    assert plain.rollout == trainer.rollout
    assert any(theirs.norm() > 1e-3 for theirs in wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).norm() <= 1e-9 * theirs.norm()


def asked_by(trainer):
    """Train; the prompts of each rollout, one of each group, in the order in which they were asked."""
    asked, score = [], trainer._scored
    trainer._scored = lambda inputs: asked.append([row["prompt"] for row in inputs[::4]]) or score(inputs)
    answered(trainer).train()
    return asked


def test_groups_with_variance_come_first_in_the_order_of_the_data_and_what_it_cost_is_logged(tmp_path):
    trainer, _ = made(tmp_path, sample_factor=2, max_steps=1)
    (asked,) = asked_by(trainer)
    assert len(asked) == len(set(asked)) == 16
    varying, flat = ([prompt for prompt in asked if prompt[-1] == kind] for kind in "vf")
    assert (len(varying), len(flat)) == (6, 10)
    kept = [row["prompt"] for row in trainer.rollout[::4]]
    assert kept == [prompt for prompt in asked if prompt in varying + flat[:2]]
    logs = trainer.state.log_history[0]
    assert logs["gspo/oversample/flat_share"] == 2 / 8
    assert logs["gspo/oversample/dropped_share"] == 0
    own = sum(int(batch["completion_mask"].sum()) for batch in trainer._buffered_inputs)
    assert 0 < logs["gspo/oversample/dropped_tokens"] < logs["num_tokens"] - own
    assert logs["frac_reward_zero_std"] == 10 / 16  # figures of rewards are those of all that was sampled


def test_figures_of_rewards_are_those_of_a_rollout_of_the_whole_size(tmp_path):
    def judged(prompts, completions, **columns):  # but for the last of each group
        rewards = reward(prompts, completions)
        return [None if row % 4 == 3 else value for row, value in enumerate(rewards)]

    trainer, _ = made(tmp_path, sample_factor=2, max_steps=1, rewards=judged)
    plain, _ = made(tmp_path, steps_per_generation=8, max_steps=1, rewards=judged)
    assert asked_by(trainer) == asked_by(plain)
    logs, whole = trainer.state.log_history[0], plain.state.log_history[0]
    names = {name for name in whole if name.startswith(("reward", "completions/", "num_tokens", "frac_reward"))}
    assert len(names) > 12
    for name in names - {"rewards/judged/seconds"}:
        assert logs[name] == whole[name], name


def test_groups_beyond_the_size_are_dropped_and_none_is_trained_on_where_none_varies(tmp_path):
    many, _ = made(tmp_path, [f"{a} {b} v" for a in "abcd" for b in "ghij"], sample_factor=2, max_steps=1)
    (asked,) = asked_by(many)
    assert [row["prompt"] for row in many.rollout[::4]] == asked[:8]
    assert many.state.log_history[0]["gspo/oversample/dropped_share"] == 0.5
    none, gradients = made(tmp_path, [f"{a} {b} f" for a in "abcd" for b in "ghij"], sample_factor=2, max_steps=1)
    (asked,) = asked_by(none)
    assert [row["prompt"] for row in none.rollout[::4]] == asked[:8]
    logs = none.state.log_history[0]
    assert (logs["gspo/oversample/flat_share"], logs["gspo/oversample/dropped_share"]) == (1, 0)
    assert gradients[0].norm() == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_an_epoch_asks_every_prompt_once_and_has_fewer_rollouts(streamed, tmp_path):
    prompts = [f"{a} {b} v" for a in "abcdefg" for b in "ghijkl"]  # 42: two rollouts of 16, and a rest that is left out
    options = {"sample_factor": 2, "max_steps": 12, "num_iterations": 1}
    trainer, _ = made(tmp_path, prompts, streamed=streamed, **options)
    asked = asked_by(trainer)
    assert [len(one) for one in asked] == [16, 16, 16]
    assert len({*asked[0], *asked[1]}) == 32
    assert set(asked[2]) & {*asked[0], *asked[1]}  # the next epoch
    assert trainer.args.generation_batch_size == 32  # as it was given


def test_at_factor_1_nothing_changes(tmp_path):
    trainer, _ = made(tmp_path, max_steps=1)
    assert [len(one) for one in asked_by(trainer)] == [8]
    assert not any(name.startswith("gspo/oversample") for name in trainer.state.log_history[0])


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    options = {"sample_factor": 2, "max_steps": 10, "save_strategy": "steps", "save_steps": 6, "dtype": torch.float32}
    whole, wanted = made(tmp_path, **options)
    whole.train()
    resumed, found = made(tmp_path, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))  # inside the second rollout of three
    assert len(found) == 4
    assert wanted[-1].norm() > 0
    assert resumed.rollout == whole.rollout
    for ours, theirs in zip(found, wanted[6:], strict=True):
        assert torch.equal(ours, theirs)


def rollout_of(advantages, lengths, width):
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return {
        "prompt_ids": torch.full((len(lengths), 2), 7), "prompt_mask": torch.ones(len(lengths), 2, dtype=torch.long),
        "completion_ids": mask * 5, "completion_mask": mask, "advantages": torch.tensor(advantages),
        "num_items_in_batch": mask.sum(),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("teaches", "count", "chosen"),
    [
        ([False, True, False, True], 2, [1, 3]),
        ([True, True, True, False], 2, [0, 1]),
        ([False, False, True, False], 2, [0, 2]),
        ([False] * 4, 2, [0, 1]),
        ([False, False, True, True, False, True], 2, [2, 3]),
    ],
)
def test_the_first_that_teach_are_chosen_and_the_first_others_fill_up(teaches, count, chosen):
    assert chosen_groups(teaches, count) == chosen


def test_every_entry_with_a_row_for_each_completion_is_cut_and_no_other():
    output = rollout_of([1.0, -1.0, 2.0, -2.0], [1, 2, 2, 3], 3)
    names, scalar = ["a", "b", "c", "d"], torch.tensor(9)
    wide = {"max_left_pad": torch.full((4, 1), 2), "texts": names, "old_per_token_logps": torch.rand(4, 5), "odd": None}
    kept = part_of({**output, **wide, "scalar": scalar}, [1, 3])
    assert kept["completion_ids"].tolist() == [[5, 5, 0], [5, 5, 5]]
    assert kept["advantages"].tolist() == [-1, -2]
    assert kept["old_per_token_logps"].equal(wide["old_per_token_logps"][[1, 3]])
    assert (kept["max_left_pad"].shape, kept["texts"], kept["odd"]) == ((2, 1), ["b", "d"], None)
    assert kept["num_items_in_batch"] == 5
    assert kept["scalar"] == 9
    assert tokens_of(output) == 8 + 8
    assert tokens_of({**output, "tool_mask": torch.tensor([[1, 0, 0]] * 4)}) == 8 + 4


def test_vllm_serves_all_rollouts_at_once(monkeypatch):
    built = []
    monkeypatch.setattr(vllm_generation.VLLMGeneration, "__init__", lambda self, **options: built.append(options))
    with room_in_vllm(3):
        vllm_generation.VLLMGeneration(max_num_seqs=32, temperature=1.0)
        vllm_generation.VLLMGeneration(max_num_seqs=None)
    vllm_generation.VLLMGeneration(max_num_seqs=32)
    assert built == [{"max_num_seqs": 96, "temperature": 1.0}, {"max_num_seqs": None}, {"max_num_seqs": 32}]


@pytest.mark.parametrize(
    ("options", "columns", "why"),
    [
        ({}, ["prompt", "images"], "images"),
        ({}, ["prompt", "image"], "images"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, ["prompt"], "normalize_then_sum"),
        ({"world_size": 2}, ["prompt"], "several processes"),
        ({"sample_factor": 0}, ["prompt"], "at least 1"),
        ({"sample_factor": 1.5}, None, "whole number"),
    ],
)
def test_where_groups_cannot_be_chosen_it_is_refused(options, columns, why):
    fits = {"sample_factor": 2, "world_size": 1, "multi_objective_aggregation": "sum_then_normalize"}
    refuse_oversampling(SimpleNamespace(**fits), ["prompt"])
    refuse_oversampling(SimpleNamespace(**fits), None)
    with pytest.raises(UsageError, match=why):
        refuse_oversampling(SimpleNamespace(**{**fits, **options}), columns)
    if "sample_factor" not in options:
        refuse_oversampling(SimpleNamespace(**{**fits, **options, "sample_factor": 1}), columns)


def test_the_trainer_refuses_before_it_loads_a_model(tmp_path):
    options = {"sample_factor": 2, "multi_objective_aggregation": "normalize_then_sum"}
    args = GSPOConfig(output_dir=str(tmp_path), **{**BASE, **options})
    with pytest.raises(UsageError, match="normalize_then_sum"):
        GSPOTrainer("nowhere", [reward], args=args, train_dataset=["a"])


def test_data_that_cannot_fill_what_is_asked_is_refused(tmp_path):
    with pytest.raises(UsageError, match="has 15 prompts, but a rollout needs 16"):
        made(tmp_path, PROMPTS[:15], sample_factor=2)
