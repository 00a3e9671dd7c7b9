"""Rewards of TRL, open-r1 and axolotl by the names of ours. Names are literal, because rewards stand above recipes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gspo_lite.recipe.foreign.python_text import Code
from gspo_lite.system.imports import with_colon

# Their name without `get_`, `_reward` and the like, and ours.
SAME = {
    "accuracy": "math_correct", "reasoning_accuracy": "math_correct", "math": "math_correct",
    "math_verify": "math_correct", "correctness": "math_correct", "math_format": "boxed_format",
    "format": "think_format", "think_format": "think_format", "tag_count": "tag_count",
    "cosine": "cosine_length", "cosine_scaled": "cosine_length", "length": "length_penalty", "len": "length_penalty",
    "repetition": "repetition_penalty", "repetition_penalty": "repetition_penalty",
    "soft_overlong": "soft_overlong", "soft_overlong_punishment": "soft_overlong",
    "exact_match": "exact_match", "boxed_format": "boxed_format", "countdown": "countdown",
}  # fmt: skip
DIFFERENCES = {
    "math_correct": "it looks for the answer only where data.prompt asks for it",
    "think_format": "it asks for <think>..</think><answer>..</answer>",
    "tag_count": "it counts the tags, not the line breaks around them",
    "cosine_length": "it counts tokens, and scores a completion of max_length like the worst wrong one",
    "length_penalty": "the shortest of a group gets 0.5, the longest -0.5",
    "soft_overlong": "max_length is max_completion_length unless the file gives it",
    "repetition_penalty": "it is minus the share that is repeated, times the weight",
}
RUNS_CODE = ("code", "binary_code", "cf_code", "ioi_code", "code_execution")
TRUST = (
    "it runs programs that a model wrote: read `gspo-lite rewards show code_execution`, then write "
    "`- {name: code_execution, options: {trusted: true}}`"
)
OF_TRL = (
    "accuracy_reward", "reasoning_accuracy_reward", "think_format_reward", "get_soft_overlong_punishment",
    "get_cosine_scaled_reward", "get_repetition_penalty_reward",
)  # fmt: skip
LIBRARIES = ("trl", "open_r1", "axolotl", "swift")
DECORATION = re.compile(r"^get_|_(?:reward|func|fn|function)(?=_|$)")


def ours(name: str) -> str | None:
    """Return the name of our reward for a name that TRL, open-r1 or axolotl knows; None if there is none."""
    called = name.split("(")[0]
    last = called.rpartition(".")[2]
    of_script = isinstance(name, Code) and last not in OF_TRL
    if of_script or ("." in called and not called.startswith(LIBRARIES)):
        return None
    return last if last in SAME.values() else SAME.get(DECORATION.sub("", last))


def as_code(name: str, home: Path | None = None) -> str | None:
    """Return `my_lib.my_reward` as a recipe names code: `my_lib.py:my_reward` for a file, else `my_lib:my_reward`.

    Args:
        home: a folder beside the current one to look for the file in.
    """
    code = with_colon(name)
    if code is None or name.startswith(LIBRARIES):
        return None
    module, _, function = code.partition(":")
    path = Path(*module.split(".")).with_suffix(".py")
    found = next((file for file in (path, (home or Path()) / path) if file.is_file()), None)
    return f"{found}:{function}" if found else code


def form_of(name: str) -> str:
    """Return the item of a recipe's `rewards` for a bare name, as a message shows it."""
    own_file = f"rewards.py:{name.split('(')[0]}" if isinstance(name, Code) else name
    return f"`- name: {ours(name) or as_code(name) or own_file}`"


def options_of(name: str, given: dict[str, Any], max_completion_length: int) -> dict[str, Any]:
    """Return the options of one of our rewards.

    Args:
        given: all settings of the other trainer, in which these options are named `cosine_*`, `repetition_*`, ...
        max_completion_length: in tokens.
    """

    def number(key: str, default: float) -> Any:
        return given[key] if type(given.get(key)) in (int, float) else default

    if name == "soft_overlong":
        longest = number("max_completion_len", max_completion_length)
        return {"max_length": longest, "cache": number("soft_punish_cache", max(longest // 5, 1))}
    if name == "repetition_penalty" and "repetition_ngram_size" in given:  # TRL's; open-r1 counts words
        return {"ngram": number("repetition_ngram_size", 3)}
    if name == "repetition_penalty":
        return {"ngram": number("repetition_n_grams", 3), "unit": "words"}
    if name == "cosine_length":
        wrong = sorted((number("cosine_min_value_wrong", -1.0), number("cosine_max_value_wrong", -0.5)))
        return {
            "max_length": max_completion_length,
            "correct_short": number("cosine_max_value_correct", 1.0),
            "correct_long": number("cosine_min_value_correct", 0.5),
            "wrong_short": wrong[0], "wrong_long": wrong[1], "exceeded": wrong[0],
        }  # fmt: skip
    return {}
