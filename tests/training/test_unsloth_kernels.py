"""Which rows a micro-batch holds where Unsloth shares prompts, and what is ended where old and new log-probs differ."""

import pytest
import torch

from gspo_lite.training.loss.rows import row_rules
from gspo_lite.training.loss.unsloth_kernels import Grouping, choose_kernels
from tests.training.test_rows import RULES, batch

TOLD = "note     Unsloth's packing of rows off: log s of an unmoved policy had a noise of {}, now 1.0e-06"
GROUPS = Grouping(size=2, least_saving=1.3)


def step(advantages, lengths, prompts, groups):
    return {**batch(lengths, advantages, prompts), "group": torch.tensor(groups)}


@pytest.mark.parametrize(
    ("advantages", "lengths", "prompts", "groups", "kept"),
    [
        # Flat groups stay out whole; 4 + 1 + 1 tokens with the prompt once are fewer than 2 x 5.
        ([0.0, 0.0, 1.0, -1.0], [6, 6, 1, 1], [4, 4, 4, 4], [0, 0, 1, 1], [2, 3]),
        # A group's rows are put side by side.
        ([1.0, 0.5, -1.0, -0.5], [1, 1, 1, 1], [4, 4, 4, 4], [0, 1, 0, 1], [0, 2, 1, 3]),
        # 4 + 1 + 6 tokens for both rows are more than 4 + 1 for the one that teaches.
        ([1.0, 0.0], [1, 6], [4, 4], [0, 0], [0]),
        # Whole groups 4 + 2 + 1 and 4 + 1 + 1 are fewer than 6 + 5 + 5 of the three rows.
        ([1.0, 0.0, 1.0, -1.0], [2, 1, 1, 1], [4, 4, 4, 4], [0, 0, 1, 1], [0, 1, 2, 3]),
        # 1 + 6 + 6 tokens instead of 14 are less than Unsloth shares for.
        ([1.0, 0.0, 1.0, -1.0], [1, 1, 6, 6], [1, 1, 1, 1], [0, 0, 1, 1], [0, 2, 3]),
        # A group that is not whole: no sharing.
        ([1.0, -1.0, 0.0, 1.0], [1, 1, 1, 1], [4, 4, 4, 4], [0, 0, 1, 2], [0, 1, 3]),
    ],
)
def test_groups_are_whole_where_sharing_their_prompts_pays(advantages, lengths, prompts, groups, kept):
    found = GROUPS.arranged(step(advantages, lengths, prompts, groups), row_rules("grpo", **RULES))
    assert found["extra"] == [f"row {row}" for row in kept]
    assert found["loss_scale"] == len(kept) / len(advantages)


def test_every_row_stays_where_the_loss_needs_it():
    rules = row_rules("grpo", **{**RULES, "beta": 0.1})
    found = GROUPS.arranged(step([0.0, 0.0, 1.0, -1.0], [1, 1, 1, 1], [4, 4, 4, 4], [0, 0, 1, 1]), rules)
    assert found["extra"] == ["row 0", "row 1", "row 2", "row 3"]


class Model:
    """One on which Unsloth has noted that it packs rows."""

    def __init__(self):
        self._unsloth_seq_packing_nograd_ok = self._unsloth_seq_packing_grad_ok = True


@pytest.mark.parametrize(
    ("packed", "plain", "packs", "told"),
    [
        (1e-6, 1e-6, True, ""),
        (5e-4, 1e-6, False, TOLD.format("5.0e-04")),
        (5e-4, 4e-4, True, ""),  # it is something else
        (float("nan"), 1e-6, False, TOLD.format("nan")),
    ],
)  # fmt: skip
def test_packing_ends_where_it_makes_the_noise(packed, plain, packs, told):
    model = Model()

    def noise():
        return packed if model._unsloth_seq_packing_grad_ok else plain

    assert choose_kernels(model, noise, 7.5e-5) == told
    assert (model._unsloth_seq_packing_nograd_ok, model._unsloth_seq_packing_grad_ok) == (packs, packs)
