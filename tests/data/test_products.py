import pytest

from gspo_lite.data.products import multiply, problems
from gspo_lite.errors import UsageError


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_no_product_of_the_held_out_split_is_trained_on_not_even_swapped(difficulty):
    def pairs(split):
        return {tuple(sorted(row["prompt"].split()[2:5:2])) for row in problems(split, difficulty)}

    train, test = ({tuple(sorted(one.strip("?") for one in pair)) for pair in pairs(s)} for s in ("train", "test"))
    assert (len(train), len(test)) == (1500, 500)
    assert not train & test


def test_products_are_the_same_every_time_and_right():
    assert {len(row["answer"]) for row in problems("train")} == {4}
    assert problems("test")[0] == {"prompt": "What is 38 * 77?", "answer": "2926"}
    for row in problems("train", "hard")[:200]:
        a, b = row["prompt"].removeprefix("What is ").removesuffix("?").split(" * ")
        assert row["answer"] == str(int(a) * int(b))


def test_the_calculator_multiplies_numbers_and_never_repeats_text():
    assert multiply(47, 85) == 3995
    assert multiply("47", 3) == 141
    with pytest.raises(ValueError, match="invalid literal"):
        multiply("ha", 1000)


def test_another_difficulty_is_refused():
    with pytest.raises(UsageError, match="`products` has no difficulty `medium`; allowed: `easy`, `hard`"):
        problems("train", "medium")
