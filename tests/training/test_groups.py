"""Whole groups in every optimizer step: who is where after TRL's shuffle."""

import pytest
import torch

from gspo_lite.training.loss.groups import GROUP, by_groups


def rollout(groups, advantages, size):
    """Micro-batches of `size` rows whose completion is the number of the row."""
    rows = torch.arange(len(groups))[:, None]
    whole = {"completion_ids": rows, "completion_mask": torch.ones(len(groups), 1), "prompt_ids": rows,
             "advantages": torch.tensor(advantages), GROUP: torch.tensor(groups)}  # fmt: skip
    parts = rows.flatten().split(size)
    return [{**{name: value[part] for name, value in whole.items()}, "scale": torch.tensor(7.0),
             "extra": [f"row {int(row)}" for row in part]} for part in parts]  # fmt: skip


def members(batches, window=1):
    steps = [batches[start : start + window] for start in range(0, len(batches), window)]
    return [[group for batch in step for group in batch[GROUP].tolist()] for step in steps]


def test_every_optimizer_step_has_whole_groups_and_its_share_of_those_that_teach():
    flat = {0, 3}
    groups = [3, 0, 1, 2, 0, 3, 2, 1]
    shuffled = rollout(groups, [0.0 if group in flat else 1.0 for group in groups], 2)
    dealt = by_groups(shuffled, 2)
    assert members(dealt, 2) == [[1, 1, 3, 3], [2, 2, 0, 0]]
    assert [batch["completion_ids"].flatten().tolist() for batch in dealt] == [[2, 7], [0, 5], [3, 6], [1, 4]]
    assert [batch["extra"] for batch in dealt] == [["row 2", "row 7"], ["row 0", "row 5"], ["row 3", "row 6"],
                                                   ["row 1", "row 4"]]  # fmt: skip
    assert all(batch["scale"] == 7.0 for batch in dealt)


def test_a_group_with_one_token_that_counts_teaches():
    shuffled = rollout([0, 1, 0, 1], [[0.0], [0.0], [0.0], [0.5]], 4)
    assert members(by_groups(shuffled, 1)) == [[1, 1, 0, 0]]


def test_no_step_is_without_a_gradient_for_the_sake_of_whole_groups():
    shuffled = rollout([0, 1, 0, 1], [0.0, 1.0, 0.0, -1.0], 2)
    assert members(by_groups(shuffled, 1)) == [[0, 1], [0, 1]]
    shuffled = rollout([0, 1, 0, 1], [0.5, 1.0, 0.0, -1.0], 2)
    assert members(by_groups(shuffled, 1)) == [[0, 0], [1, 1]]


def test_a_group_is_parted_only_where_the_size_of_a_step_does():
    shuffled = rollout([0, 1, 2, 0, 1, 2, 0, 1, 2], [1.0] * 9, 3)
    assert members(by_groups(shuffled, 1)) == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    shuffled = rollout([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], [1.0] * 12, 6)
    assert members(by_groups(shuffled, 1)) == [[0, 0, 0, 0, 2, 2], [2, 2, 1, 1, 1, 1]]


@pytest.mark.parametrize("change", ["images", "numbers"])
def test_rows_stay_where_they_are_without_numbers_or_with_images(change):
    shuffled = rollout([0, 1, 0, 1], [1.0] * 4, 2)
    for batch in shuffled:
        if change == "images":
            batch["pixel_values"] = torch.zeros(5, 3)
        else:
            del batch[GROUP]
    assert [batch["extra"] for batch in by_groups(shuffled, 1)] == [batch["extra"] for batch in shuffled]
