import pytest

from gspo_lite.tools.number_game import NumberGame


def begun(numbers=(3, 25, 8), target=67):
    game = NumberGame()
    game.reset(numbers=numbers, target=target, answer="25 * 3 - 8", other=1)
    return game


def test_a_game_is_won_with_nothing_but_the_target_left():
    game = begun()
    assert game.combine(25, "*", 3) == "on the table: 8, 75"
    assert game.get_reward() == 0.0
    assert game.combine(75, "-", "8") == "on the table: 67. You have won."  # a model may give text
    assert game.get_reward() == 1.0
    game.reset(numbers=[1, 2], target=2)
    assert game.get_reward() == 0.0
    assert game.combine(1, "+", 2) == "on the table: 3. It is not 2: lost."


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ((25, "*", 4), "4 is not on the table any more: on the table: 3, 25, 8"),
        ((3, "+", 3), "3 is not on the table"), ((25, "/", 8), "not a whole number"), ((3, "^", 8), "none of"),
        (("three", "+", 8), "invalid literal"), ((25, "/", 0), "0 is not on the table"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_changes_nothing(step, reason):
    game = begun()
    with pytest.raises(ValueError, match=reason):
        game.combine(*step)
    assert game.table == [3, 25, 8]


def test_zero_on_the_table_divides_nothing():
    with pytest.raises(ValueError, match="3 / 0 is not a whole number"):
        begun((3, 0), 1).combine(3, "/", 0)
