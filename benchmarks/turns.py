"""What tools cost in a rollout: episodes of several turns against one generation of as many tokens.

    python benchmarks/turns.py [--turns 1 2 4 8] [--rows 16] [--tokens 24] [--rounds 3] [--json FILE]

The model samples for real, but what it says is replaced by scripted messages of the same length, so that every episode
has as many turns. `without` is one generation of the same number of own tokens. The rest is TRL's loop:
`template` renders and tokenizes tool results and reads calls; `tools` is a function that adds two numbers.
A CPU takes half a minute, once `starter-tools` is built.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALL = '<tool_call>{"name":"add","arguments":{"a":17,"b":25}}</tool_call>'
PARTS = ("generation", "template", "tools")


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: a number
        b: another
    """
    return a + b


def trainer(folder: str, *, tools: bool) -> Any:
    """A trainer of the starter with tools."""
    from gspo_lite import GSPOConfig, GSPOTrainer
    from gspo_lite.models.load import load_model
    from gspo_lite.recipe.schema import ModelSettings

    settings = ModelSettings(name="starter-tools", backend="transformers", load_in_4bit=False, dtype="float32")
    loaded = load_model(settings, "transformers", seed=0)
    args = GSPOConfig(
        output_dir=folder, use_cpu=True, bf16=False, report_to="none", max_completion_length=4096,
        per_device_train_batch_size=8,
    )  # fmt: skip
    prompts = [[{"role": "user", "content": f"17+25, {number}"}] for number in range(8)]
    options = {"tools": [add]} if tools else {}
    made = GSPOTrainer(
        loaded.model, lambda completions, **_: [0.0] * len(completions), args, prompts,
        processing_class=loaded.processing_class, **options,
    )  # fmt: skip
    made.model.eval()
    return made


class Rollout:
    """Rollouts of one trainer with the seconds of their parts."""

    def __init__(self, made: Any, rows: int):
        self.made, self.prompts, self.seconds = made, [made.train_dataset[0]["prompt"]] * rows, Counter[str]()
        self.sample, self.messages, self.turn = made._generate_single_turn, list[list[int]](), 0
        made._generate_single_turn = self.timed("generation", self.say)
        for name in ("_get_tool_suffix_ids", "_tokenize_prompts"):
            setattr(made, name, self.timed("template", getattr(made, name)))
        made.processing_class.parse_response = self.timed("template", made.processing_class.parse_response)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds[part] += time.perf_counter() - began

        return call

    def say(self, prompt_ids: Any, *args: Any, **options: Any) -> Any:
        """Sample as many tokens as the next message has, and say the message."""
        message = self.messages[self.turn]
        self.turn += 1
        self.made.generation_config.max_new_tokens = self.made.generation_config.min_new_tokens = len(message)
        self.sample(prompt_ids, *args, **options)
        return [list(message) for _ in prompt_ids], None

    def play(self, messages: list[list[int]]) -> tuple[dict[str, float], int]:
        """Seconds of one rollout as a whole and by part, and the tokens that tools wrote in each episode."""
        self.messages, self.turn = messages, 0
        self.made._sync_tool_dicts = [{"add": add} for _ in self.prompts]  # as TRL does before it generates
        self.made._async_tool_dicts = [{} for _ in self.prompts]
        self.seconds.clear()
        began = time.perf_counter()
        output = self.made._generate(self.prompts)
        whole, masks = time.perf_counter() - began, output[2] or [[1]]
        self.seconds["tools"] = sum(call.seconds for one in self.made.episodes for call in one.calls)
        return {"whole": whole, **{part: self.seconds[part] for part in PARTS}}, masks[0].count(0)


def message_of(tokenizer: Any, text: str, count: int) -> list[int]:
    """A message of so many tokens: filling, the text, and the end."""
    ids = tokenizer.encode(f"{text}<|end|>", add_special_tokens=False)
    return tokenizer.encode("1" * (count - len(ids)), add_special_tokens=False) + ids


def measured(turns: int, tokens: int, rounds: int, tooled: Rollout, plain: Rollout) -> dict[str, Any]:
    """Medians over rounds in which both take turns."""
    tokenizer = tooled.made.processing_class
    shortest = len(tokenizer.encode(f"{CALL}<|end|>", add_special_tokens=False))
    tokens = max(tokens, shortest)
    called, last = message_of(tokenizer, CALL, tokens), message_of(tokenizer, "42", tokens)
    messages = [*[called] * (turns - 1), last]
    pairs = [(tooled.play(messages), plain.play([message_of(tokenizer, "42", tokens * turns)])) for _ in range(rounds)]
    median = {part: statistics.median(one[part] for (one, _), _ in pairs) for part in ("whole", *PARTS)}
    without = statistics.median(one["whole"] for _, (one, _) in pairs)
    return {
        "turns": turns, "own_tokens": tokens * turns, "tool_tokens": pairs[0][0][1], "seconds": median["whole"],
        "without": without, "times": median["whole"] / without,
        **{part: median[part] / median["whole"] for part in PARTS},
    }  # fmt: skip


def table(found: list[dict[str, Any]]) -> str:
    head = "turns  own tokens  tool tokens  seconds  without  times  generation  template  tools  rest"
    lines = [
        f"{one['turns']:5}{one['own_tokens']:12}{one['tool_tokens']:13}{one['seconds']:9.2f}{one['without']:9.2f}"
        f"{one['times']:7.2f}{one['generation']:12.1%}{one['template']:10.1%}{one['tools']:7.1%}"
        f"{1 - sum(one[part] for part in PARTS):6.1%}"
        for one in found
    ]
    return "\n".join([head, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=24, help="of each of the model's messages, at least of a call")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tooled, plain = (Rollout(trainer(folder, tools=tools), words.rows) for tools in (True, False))
        plain.play([message_of(plain.made.processing_class, "42", 24)])  # the first call prepares much
        found = [measured(turns, words.tokens, words.rounds, tooled, plain) for turns in words.turns]
    print(table(found))
    text = json.dumps(found)
    print(text)
    if words.json:
        words.json.write_text(text)


if __name__ == "__main__":
    main()
