"""GSPOTrainer does what TRL's trainer does, but for the differences that the table names."""

import pytest

from tests.training.trl_behaviours.behaviour import Behaviour
from tests.training.trl_behaviours.observing import both, differences
from tests.training.trl_behaviours.page import PAGE, text
from tests.training.trl_behaviours.table import TABLE

ROWS = [pytest.param(one, id=one.name, marks=() if one.quick else pytest.mark.slow) for one in TABLE]


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """What is seen of TRL's trainer with its defaults."""
    return both(Behaviour("TRL's defaults"), tmp_path_factory.mktemp("usual"))[1]


@pytest.mark.parametrize("behaviour", ROWS)
def test_both_trainers_show_the_same(behaviour, tmp_path, usual):
    ours, stock = both(behaviour, tmp_path)
    assert stock.error == behaviour.raises
    assert ours.error == (behaviour.ours if "error" in behaviour.unlike else behaviour.raises)
    assert differences(ours, stock, behaviour.tolerance) == set(behaviour.unlike)
    assert (not differences(stock, usual, behaviour.tolerance)) == behaviour.plain  # else the row shows nothing


def test_every_difference_has_a_reason_and_every_behaviour_a_name():
    assert all(bool(one.unlike) == bool(one.reason) for one in TABLE)
    assert len({one.name for one in TABLE}) == len(TABLE)


def test_the_page_is_the_table():
    assert PAGE.read_text(encoding="utf-8") == text(), "python -m tests.training.trl_behaviours.page"
