"""A starter whose template has tool roles, tools and environments in files, and completions by a script."""

import json
import re
import shutil

TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|>{{ message['content'] }}"
    "{% elif message['role'] == 'tool' %}<|user|>={{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}<|assistant|>{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}[{{ call['function'] | tojson }}]{% endfor %}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def read_between(begin, end):
    """Return how a message between two tokens is read: calls as JSON in brackets, all else as text."""
    return {
        "defaults": {"role": "assistant"},
        "start_anchor": begin,
        "fields": {
            "tool_calls": {
                "open": "[", "close_pattern": r"\]", "repeats": True, "content": "json",
                "transform": {"type": "function", "function": "{content}"},
            },
            "content": {"close_pattern": re.escape(end), "content": "text"},
        },
    }  # fmt: skip


RESPONSE = read_between("<|assistant|>", "<|end|>")
TOOL = '''
def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: one
        b: another
    """
    return a + b
'''
ENVIRONMENT = '''
class Sum:
    """Pays for the right sum."""

    def reset(self, left=0, right=0, **row):
        self.wanted, self.said = left + right, []
        return f" Say {left}+{right}."

    def say(self, number: int) -> str:
        """Say a number.

        Args:
            number: it
        """
        self.said.append(number)
        return "yes" if number == self.wanted else "no"

    def get_reward(self):
        return float(self.wanted in self.said)
'''
SHORT = [
    "training.max_steps=4", "training.per_device_train_batch_size=8", "data.limit=64", "data.eval.limit=8",
    "data.eval.batch_size=4", "generation.max_completion_length=160", "generation.max_prompt_length=200",
    "model.max_seq_length=400",
]  # fmt: skip


def with_roles(starter, folder):
    """Write a copy of the starter with tool roles, and return its folder."""
    from transformers import AutoTokenizer

    shutil.copytree(starter, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template, tokenizer.response_template = TEMPLATE, RESPONSE
    tokenizer.save_pretrained(folder)
    return folder


def calling(name, **arguments):
    return f"[{json.dumps({'name': name, 'arguments': arguments})}]"


def play_by(script, monkeypatch):
    """Let `script(a, b, results)` write every turn, from the numbers of the prompt and the results so far."""
    from gspo_lite import GSPOTrainer  # not before Unsloth, which a script beside the tests imports

    def turn(self, prompt_ids, *_, **__):
        written = []
        for ids in prompt_ids:
            text = self.processing_class.decode(ids)
            a, b = map(int, re.search(r"(\d+) ?\+ ?(\d+)", text).groups())
            results = [part.split("<", 1)[0] for part in text.split("<|user|>=")[1:]]
            reply = script(a, b, results) + "<|end|>"
            written.append(self.processing_class.encode(reply, add_special_tokens=False))
        return written, None

    monkeypatch.setattr(GSPOTrainer, "_generate_single_turn", turn)
