"""The grader holds its targets on tables written without knowledge of its code."""

import pytest

from tests.rewards.tables.score import by_kind, contract_cases, grading_cases, misses, run, share

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def core():
    return run(grading_cases())


@pytest.fixture(scope="module")
def contract():
    return run(contract_cases())


def test_nearly_every_answer_is_judged_rightly(core):
    assert share(core) >= 0.98, misses(core)


def test_hardly_a_wrong_answer_is_paid(core):
    paid = [one for one in core if one.paid_wrongly]
    wrong = sum(one.case.verdict is False for one in core)
    assert len(paid) <= 0.01 * wrong, misses(paid)


def test_no_kind_of_answer_is_left_behind(core):
    behind = {kind: misses(group) for kind, group in by_kind(core).items() if share(group) < 0.85}
    assert not behind, "\n".join(behind.values())


def test_markers_thinking_golds_and_attacks_keep_to_the_contract(contract):
    assert share(contract) >= 0.97, misses(contract)


def test_no_completion_raises(core, contract):
    raised = [one for one in core + contract if isinstance(one.said, Exception)]
    assert not raised, misses(raised)
