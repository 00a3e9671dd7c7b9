import pytest

from gspo_lite.data.letters import LETTERS, OVER, CoachedGuessLetter, GuessLetter, problems
from gspo_lite.errors import UsageError


def game(answer, guesses, allowed=4):
    """Return the replies to some guesses, and the game after them."""
    played = CoachedGuessLetter()
    played.reset(answer=answer, guesses=allowed)
    return [played.guess(letter) for letter in guesses], played


def test_replies_say_which_letters_are_left():
    replies, played = game("k", "hnak")
    assert replies == ["ijklmno", "ijklm", "ijklm", "right"]
    assert played.get_reward() == 1.0


def test_a_game_is_lost_when_the_guesses_are_used_up():
    replies, played = game("k", "abcdk")
    assert replies == ["bcdefghijklmno", "cdefghijklmno", "defghijklmno", "efghijklmno", OVER]
    assert played.get_reward() == 0.0


def test_nothing_that_is_said_after_a_game_changes_its_outcome():
    replies, played = game("h", "ha")
    assert replies == ["right", OVER]
    assert (played.get_reward(), played.get_turn_rewards()) == (1.0, [1.0])


@pytest.mark.parametrize("letter", ["", "kl", "K", "?", "z", "abc", "right", 7, None, ["k"]])
def test_whatever_else_is_guessed_costs_a_guess_and_wins_nothing(letter):
    replies, played = game("k", [letter])
    assert replies == ["not a letter"]
    assert (played.left, played.get_reward(), played.get_turn_rewards()) == (3, 0.0, [0.0])


def test_a_guess_is_worth_what_it_rules_out_for_certain():
    # 15 letters: h rules out 8 of 8 at best. 7 left, i to o: n rules out 2 of 4. 5 left, i to m: a is out of the
    # question, and k is the middle, 3 of 3. 2 left, l and m: either rules out itself.
    _, played = game("m", "hnakl", allowed=5)
    assert played.get_turn_rewards() == [1.0, 0.5, 0.0, 1.0, 1.0]


def test_luck_is_not_worth_more_than_a_bad_guess():
    assert game("a", "a")[1].get_turn_rewards() == [pytest.approx(1 / 8)]


def test_halving_wins_every_game():
    for answer in LETTERS:
        played = CoachedGuessLetter()
        played.reset(answer=answer)
        while played.left and not played.won:
            played.guess(played.possible[len(played.possible) // 2])
        assert played.won
        assert set(played.get_turn_rewards()) == {1.0}


def test_a_new_game_forgets_the_last_one():
    played = game("k", "ab")[1]
    played.reset(answer="c", guesses=6, prompt="another column")
    assert (played.left, played.possible, played.get_turn_rewards()) == (6, list(LETTERS), [])


def test_only_the_coached_game_pays_for_single_guesses():
    assert not hasattr(GuessLetter, "get_turn_rewards")


def test_games_are_the_same_every_time_and_share_no_number():
    train, test = problems("train"), problems("test", "easy")
    assert (len(train), len(test)) == (2500, 500)
    assert train[0] == {"prompt": "Game 501: guess my letter, abcdefghijklmno", "answer": "h", "guesses": 4}
    assert test[0] == {"prompt": "Game 1: guess my letter, abcdefghijklmno", "answer": "i", "guesses": 5}
    assert not {row["prompt"] for row in train} & {row["prompt"] for row in test}


def test_another_split_is_refused():
    with pytest.raises(UsageError, match="`letters` has no split `dev`; allowed: `train`, `test`"):
        problems("dev")
