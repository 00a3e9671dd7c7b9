"""Conversations with tools through TRL's own loop: completions are scripted, everything else is real."""

from gspo_lite import GSPOTrainer
from gspo_lite.models.load import load_model
from gspo_lite.recipe.schema import ModelSettings
from tests.training.test_trainer import config

TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|>{{ message['content'] }}"
    "{% elif message['role'] == 'tool' %}<|user|>={{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}<|assistant|>{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}[{{ call['function'] | tojson }}]{% endfor %}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
RESPONSE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "tool_calls": {
            "open": "[", "close_pattern": r"\]", "repeats": True, "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"<\|end\|>", "content": "text"},
    },
}  # fmt: skip
PROMPTS = [[{"role": "user", "content": f"{a}+7"}] for a in range(8)]


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: a number
        b: another
    """
    return a + b


def calling(name, **arguments):
    import json

    return f"[{json.dumps({'name': name, 'arguments': arguments})}]"


class Script:
    """Completions by place in the group and turn."""

    def __init__(self, *turns):
        self.turns, self.at = turns, {}

    def __call__(self, trainer):
        def turn(prompt_ids, *_, **__):
            found = []
            for ids in prompt_ids:
                text = trainer.processing_class.decode(ids)
                done = text.count("<|assistant|>") - 1
                reply = self.turns[done] + "<|end|>"
                found.append(trainer.processing_class.encode(reply, add_special_tokens=False))
            return found, None

        return turn


def parts(four_bit=False):
    settings = ModelSettings(name="starter", backend="transformers", load_in_4bit=False, dtype="float32")
    loaded = load_model(settings, "transformers", seed=0)
    loaded.processing_class.chat_template = TEMPLATE
    loaded.processing_class.response_template = RESPONSE
    return loaded


def trainer_of(tmp_path, rewards, script, level="sequence", options=None, **more):
    loaded = parts()
    settings = {"max_completion_length": 160, "importance_sampling_level": level, "max_steps": 1} | (options or {})
    args = config(tmp_path, **settings)
    made = GSPOTrainer(
        loaded.model,
        rewards,
        args,
        [{"prompt": one} for one in PROMPTS],
        processing_class=loaded.processing_class,
        **more,
    )
    made._generate_single_turn = script(made)
    return made


def test_a_tool_is_called_and_its_result_is_part_of_the_episode(tmp_path, starter):
    seen = []

    def reward(completions, **_):
        seen.extend(completions)
        return [float(i % 2) for i in range(len(completions))]

    made = trainer_of(tmp_path, reward, Script(calling("add", a=2, b=3), "5"), tools=[add])
    made.train()
    assert [message["role"] for message in seen[0]] == ["assistant", "tool", "assistant"]
    assert seen[0][1]["content"] == "5"
    assert made.state.log_history[0]["tools/calls_per_episode"] == 1
