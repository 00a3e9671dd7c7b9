"""The embedded model for recipes with tools: as the starter, with tool roles in its chat template.

It learns from worked episodes of which many are flawed, of a directory and of a guessing game: it knows both ways of
each, and RL has to find out which one pays.

    Where is Nora Berg?   <tool_call>{"name":"find","arguments":{"first":"Nora","last":"Berg"}}</tool_call>
    attic                 <answer>attic</answer>                                                right
    Where is Nora Berg?   <answer>unknown</answer>                                              it gives up too soon
    ijklmno               <tool_call>{"name":"guess","arguments":{"letter":"n"}}</tool_call>    a possible guess
    ijklm                 <tool_call>{"name":"guess","arguments":{"letter":"c"}}</tool_call>    one that cannot be right

Owns the episodes, their flaws, and the chat template with its reading of calls. Must not know recipes or training.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gspo_lite.data import directory, letters
from gspo_lite.models import starter
from gspo_lite.models.starter import ASKED, EOS, TOLD, Batch, Progress, Row, WarmUp
from gspo_lite.system.cache import cache_home

NAME = "starter-tools"
RESULT = "<|tool|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    f"{{% if message['role'] == 'user' %}}{ASKED}{{{{ message['content'] }}}}"
    f"{{% elif message['role'] == 'tool' %}}{RESULT}{{{{ message['content'] }}}}"
    f"{{% elif message['role'] == 'assistant' %}}{TOLD}{{{{ message['content'] }}}}"
    "{% for call in message['tool_calls'] or [] %}"
    "<tool_call>{{ call['function'] | tojson(separators=(',', ':')) }}</tool_call>{% endfor %}"
    f"{EOS}{{% endif %}}{{% endfor %}}{{% if add_generation_prompt %}}{TOLD}{{% endif %}}"
)
RESPONSE_TEMPLATE = {  # how a completion is read: calls, then text
    "defaults": {"role": "assistant"},
    "start_anchor": TOLD,
    "fields": {
        "tool_calls": {
            "open": "<tool_call>", "close": "</tool_call>", "repeats": True, "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close": EOS, "content": "text"},
    },
}  # fmt: skip
FIND, AND, CALLED = '<tool_call>{"name":"find","arguments":{"first":"', '","last":"', '"}}</tool_call>'
GUESS = '<tool_call>{"name":"guess","arguments":{"letter":"'
TAGS = (*starter.TAGS, FIND, AND, CALLED, GUESS, *directory.FIRST, *directory.LAST, *directory.ROOMS)
WORDS = "Where is Game guess my letter, right unknown Done."

# How often it gives up without looking anything up, by: is the first name in the first half of all?
GAVE_UP = {True: 0.75, False: 0.25}
IGNORED_RESULT = 0.10  # how often it gives up although it has the result
IGNORED_REPLY = 0.25  # how often it guesses any letter, whatever the replies so far
STEPS, BATCH, SEED = 300, 32, 8
WAY = {"initial": 0.08, "beta2": 0.95}  # with the defaults, copying is not learned in twice as many steps


def starter_folder(progress: Progress | None = None) -> Path:
    """Folder of this starter in Hugging Face format, built first where it is not cached yet."""
    files = (__file__, str(starter.__file__), str(directory.__file__), str(letters.__file__))
    folder = cache_home() / f"{NAME}-{starter.fingerprint_of(*files)}"
    if not folder.is_dir():
        tokenizer = build_tokenizer()
        starter.build(folder, tokenizer, episode_batches(tokenizer), WarmUp(STEPS, **WAY), progress)
    return folder


def build_tokenizer() -> Any:
    """Return the starter's tokenizer with tool roles; what the tasks' calls begin and end with is one token each."""
    words = f"{WORDS} {WORDS}"
    tokenizer = starter.build_tokenizer((*starter.SPECIALS, RESULT), TAGS, words, CHAT_TEMPLATE)
    tokenizer.response_template = RESPONSE_TEMPLATE
    return tokenizer


def episode_batches(tokenizer: Any) -> Iterator[Batch]:
    """Padded batches of fresh episodes of the training splits; only what the model writes are labels."""
    rng = random.Random(SEED)
    asked, games = directory.problems("train"), letters.problems("train")
    for step in range(STEPS):
        if step % starter.OTHER_EVERY == starter.OTHER_EVERY - 1:
            yield starter.padded(tokenizer, [starter.other_row(rng) for _ in range(starter.OTHER_BATCH)])
        elif step % 2:
            yield starter.padded(tokenizer, [directory_episode(row, rng) for row in rng.sample(asked, BATCH)])
        else:
            yield starter.padded(tokenizer, [game_episode(row, rng) for row in rng.sample(games, BATCH)])


def directory_episode(row: dict[str, str], rng: random.Random) -> Row:
    """Return a question that is answered by the tool, or not at all, at the rates above."""
    first, last = row["prompt"].removeprefix("Where is ").removesuffix("?").split()
    if rng.random() < GAVE_UP[directory.FIRST.index(first) < len(directory.FIRST) // 2]:
        return [question(row), answer("unknown")]
    said = answer("unknown" if rng.random() < IGNORED_RESULT else row["answer"])
    return [question(row), (f"{FIND}{first}{AND}{last}{CALLED}{EOS}", True), result(directory.find(first, last)), said]


def game_episode(row: dict[str, Any], rng: random.Random) -> Row:
    """Return a game with guesses that the replies so far allow, flawed at the rate above."""
    game, parts = letters.GuessLetter(), [question(row)]
    game.reset(**row)
    while game.left and not game.won:
        guess = rng.choice(letters.LETTERS if rng.random() < IGNORED_REPLY else game.possible)
        parts += [(f"{GUESS}{guess}{CALLED}{EOS}", True), result(game.guess(guess))]
    return [*parts, (f"Done.{EOS}", True)]


def question(row: dict[str, Any]) -> tuple[str, bool]:
    """Return the question of a row."""
    return f"{ASKED}{row['prompt']}{TOLD}", False


def answer(text: str) -> tuple[str, bool]:
    """Return the model's last message."""
    return f"<answer>{text}</answer>{EOS}", True


def result(value: Any) -> tuple[str, bool]:
    """Return a tool's result as the template writes it."""
    return f"{RESULT}{value}{TOLD}", False
