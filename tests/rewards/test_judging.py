"""Completions of any origin before a recipe's rewards, and the reward that decides which of them are right."""

import pytest

from gspo_lite import load_recipe
from gspo_lite.rewards.contract.judging import judge_of, score, verdicts
from gspo_lite.rewards.contract.registry import build_rewards

ROWS = [{"prompt": f"question {n}", "answer": str(n), "completion": "of another run"} for n in range(5)]
MINE = """
from gspo_lite import reward

@reward(judges=True)
def even(completion: str):
    return float(int(completion) % 2 == 0)

@reward
def odd(completion: str):
    return float(int(completion) % 2)
"""


def rewards_of(*lines):
    sets = [f"rewards=[{', '.join(lines)}]"]
    recipe = load_recipe("quickstart", sets, allow_outside=True).recipe
    return recipe, build_rewards(recipe.rewards)


@pytest.mark.parametrize(("at_once", "sizes"), [(None, [5]), (2, [2, 2, 1])])
def test_rewards_get_the_assistants_message_with_prompt_ids_and_columns(at_once, sizes):
    asked = []

    def seen(completions, **inputs):
        asked.append((completions, inputs))
        return [len(completions)] * len(completions)

    _, (one,) = rewards_of("{name: tag_count}")
    one.function = seen
    calls = score([one], ROWS, list("abcde"), [[n] for n in range(5)], at_once)
    assert [len(completions) for completions, _ in asked] == sizes
    completions, inputs = asked[0]
    assert completions[1] == [{"role": "assistant", "content": "b"}]
    assert (inputs["prompts"][1], inputs["answer"][1], inputs["completion_ids"][1]) == ("question 1", "1", [1])
    assert "completion" not in inputs
    assert calls["tag_count"].values == [float(size) for size in sizes for _ in range(size)]


def test_the_first_reward_that_judges_decides_and_math_where_none_does(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    mine = f"{{name: '{tmp_path}/mine.py:even'}}"
    for lines, name in [
        (["{name: think_format}", mine, "{name: math_correct}"], "even"),
        (["{name: think_format}", f"{{name: '{tmp_path}/mine.py:odd'}}"], "math_correct"),
        (["{name: numeric_match}"], "numeric_match"),
    ]:
        recipe, built = rewards_of(*lines)
        assert judge_of(recipe).__name__ == judge_of(recipe, built).__name__ == name


def test_right_is_1_and_what_cannot_be_judged_is_neither():
    recipe, built = rewards_of("{name: multiple_choice}")
    rows = [{"prompt": "?", "answer": answer} for answer in ("A", "B", "")]
    calls = score(built, rows, ["<answer>A</answer>"] * 3, [[1]] * 3)
    assert verdicts(calls[judge_of(recipe, built).__name__]) == [True, False, None]
