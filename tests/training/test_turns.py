"""Conversations with tools through TRL's own loop: completions are scripted, everything else is real."""

import re
import time
from types import SimpleNamespace

import pytest

from gspo_lite import GSPOTrainer
from gspo_lite.errors import RewardError, UsageError
from gspo_lite.models.load import load_model
from gspo_lite.recipe.schema import ModelSettings
from gspo_lite.tools.guarded import Limits, figures_of
from gspo_lite.training.episodes import Episodes
from tests.training.playing import RESPONSE, TEMPLATE, calling
from tests.training.test_trainer import config

PROMPTS = [[{"role": "user", "content": f"{a}+7"}] for a in range(8)]


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: a number
        b: another
    """
    return a + b


class Guessing:
    """Guess a number: each guess is told and earns its nearness; the episode the last one's."""

    def __init__(self):
        self.made, self.number, self.near = True, 5, []

    def reset(self, number=5, **row):
        self.number, self.near = number, []
        return f" It has {len(str(number))} digit."

    def guess(self, value: int) -> str:
        """Guess the number.

        Args:
            value: the guess
        """
        self.near.append(1 / (1 + abs(value - self.number)))
        return "higher" if value < self.number else "lower" if value > self.number else "right"

    def get_reward(self):
        return self.near[-1] if self.near else 0.0

    def get_turn_rewards(self):
        return self.near


def guess(value):
    return calling("guess", value=value)


class Script:
    """A model that plays one episode after another, message by message; the first one says which it plays."""

    def __init__(self, *episodes):
        self.episodes, self.rounds = episodes, 0

    def __call__(self, trainer):
        tokenizer = trainer.processing_class

        def turn(prompt_ids, *_, **__):
            self.rounds += 1
            replies = [self.reply(tokenizer.decode(ids), place) for place, ids in enumerate(prompt_ids)]
            return [tokenizer.encode(reply, add_special_tokens=False) for reply in replies], None

        return turn

    def reply(self, text, place):
        said = text.split("<|assistant|>")[1:-1]
        played = int(said[0][1]) if said else place % len(self.episodes)
        return f"#{played}{(self.episodes[played][len(said) :] or [''])[0]}<|end|>"


def parts():
    settings = ModelSettings(name="starter", backend="transformers", load_in_4bit=False, dtype="float32")
    loaded = load_model(settings, "transformers", seed=0)
    loaded.processing_class.chat_template = TEMPLATE
    loaded.processing_class.response_template = RESPONSE
    return loaded


def trainer_of(tmp_path, rewards, script, rows=PROMPTS, credits=None, **options):
    """A trainer whose model says what is scripted; options of TRL's trainer beside settings of its configuration."""
    ours = ("tools", "environment_factory", "rollout_func", "tool_limits", "gamma")
    given = {name: options.pop(name) for name in ours if name in options}
    args = config(tmp_path, **{"max_completion_length": 160, "max_steps": 1, **options})
    loaded = parts()
    rows = [row if isinstance(row, dict) else {"prompt": row} for row in rows]
    made = GSPOTrainer(
        loaded.model, rewards, args, rows, processing_class=loaded.processing_class, credits=credits, **given
    )
    made._generate_single_turn = script(made)
    return made


def paid(values):
    def reward(completions, **_):
        return [values[place % len(values)] for place in range(len(completions))]

    return reward


def test_a_tool_is_called_and_its_result_is_part_of_the_episode(tmp_path, starter):
    seen = []

    def reward(completions, **_):
        seen.extend(completions)
        return [float(i % 2) for i in range(len(completions))]

    made = trainer_of(tmp_path, reward, Script([calling("add", a=2, b=3), "5"]), tools=[add])
    made.train()
    assert [message["role"] for message in seen[0]] == ["assistant", "tool", "assistant"]
    assert seen[0][1]["content"] == "5"
    assert made.state.log_history[0]["tools/calls_per_episode"] == 1


def test_an_environment_pays_its_episodes_and_their_turns(tmp_path, starter):
    made = trainer_of(
        tmp_path, None, Script([guess(1), guess(5)], [guess(9), "no"], ["no"], [guess(5) + guess(1), guess(4)]),
        environment_factory=Guessing, importance_sampling_level="sequence_token", scale_rewards="none",
        max_completion_length=300,
    )  # fmt: skip
    made.train()
    assert made.reward_func_names == ["Guessing_turns", "Guessing"]
    by_turn, whole = made.calls
    assert [one.values for one in by_turn.marks[:4]] == [[0.2, 1.0, None], [0.2, None], [None], [1.2, 0.5, None]]
    assert whole.values[:4] == [1.0, 0.2, 0.0, 0.5]
    assert "completion_ids" not in made.rollout[0]  # no reward reads them
    first = turn_advantages_of(made, 0)
    mean, outcome = (0.2 + 1.0 + 0.2 + 1.2 + 0.5) / 5, 1.0 - (1.0 + 0.2 + 0.0 + 0.5) / 4
    assert first == pytest.approx([outcome + 0.2 - mean, outcome + 1.0 - mean, outcome], abs=1e-5)
    assert turn_advantages_of(made, 2) == pytest.approx([0.0 - (1.0 + 0.2 + 0.0 + 0.5) / 4], abs=1e-5)


def turn_advantages_of(made, row):
    """The advantage of each turn of a row, taken at its `#`."""
    ids, advantages = made.per_token[row]
    mark = made.processing_class.encode("#", add_special_tokens=False)[0]
    return [value for token, value in zip(ids, advantages, strict=True) if token == mark]


def paying(reward=lambda: 1.0, turns=list):
    """A kind of environment that pays what these return."""
    return type("Paying", (Guessing,), {"get_reward": lambda _: reward(), "get_turn_rewards": lambda _: turns()})


def leave():
    raise SystemExit(3)


FAULTS = {
    "a reward that leaves": ({"reward": leave}, "reward `Paying` failed at row 0: SystemExit: 3"),
    "turns that leave": ({"turns": leave}, "reward `Paying_turns` failed at row 0: SystemExit: 3"),
    "a dict": ({"reward": dict}, "reward `Paying` returned a dict for row 0; expected 8 numbers or None"),
    "no number": ({"reward": lambda: "1"}, "reward `Paying` returned a str for row 0"),
    "infinite": ({"reward": lambda: float("inf")}, "reward `Paying` returned inf for row 0, which would swamp"),
    "no list": ({"turns": lambda: {"a": 1}}, "`get_turn_rewards` of the environment `Paying` returned a dict"),
    "no turns": ({"turns": lambda: None}, "`get_turn_rewards` of the environment `Paying` returned None"),
    "turns of text": ({"turns": lambda: ["1"]}, "`get_turn_rewards` of the environment `Paying` returned must be real"),
    "infinite turns": ({"turns": lambda: [float("inf")]}, "returned turns `[inf]`; expected a finite value or None"),
    "turns that swamp": ({"turns": lambda: [1e38]}, "reward `Paying_turns` returned 1e+38 for row 0"),
    "too many turns": ({"turns": lambda: [1.0, 2.0]}, "returned 2 values for 1 of the model's messages"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_an_environment_must_not_pay_is_named(tmp_path, starter, case):
    options, message = FAULTS[case]
    made = trainer_of(
        tmp_path, None, Script(["no"]), environment_factory=paying(**options), per_device_train_batch_size=8,
        num_generations=8, steps_per_generation=1, max_steps=1,
    )  # fmt: skip
    with pytest.raises(RewardError, match=re.escape(message)):
        made.train()


def test_a_reward_of_an_environment_that_hangs_or_says_nothing_is_counted(tmp_path, starter):
    for number, (reward, limits) in enumerate([(lambda: None, {}), (lambda: time.sleep(60), {"get_reward": 0.2})]):
        made = trainer_of(
            tmp_path / str(number), None, Script([guess(5)], ["no"]), environment_factory=paying(reward),
            tool_limits=Limits(timeouts=limits), max_unscored_rollouts=None,
        )  # fmt: skip
        made.train()
        assert made.state.log_history[0]["rewards/Paying/none_count"] == 32


class Later(Guessing):
    async def get_reward(self):
        return 1.0

    async def get_turn_rewards(self):
        return self.near


def test_an_environment_may_pay_later_and_beside_a_users_rewards(tmp_path, starter):
    made = trainer_of(
        tmp_path, paid([0.0, 1.0]), Script([guess(1)], ["no"]), environment_factory=Later,
        reward_weights=[0.5], importance_sampling_level="sequence_token", credits=["all"],
    )  # fmt: skip
    made.train()
    assert made.reward_func_names == ["reward", "Later_turns", "Later"]
    assert made.reward_weights.tolist() == [0.5, 1.0, 1.0]
    assert list(made.rollout[0]["rewards"].values()) == pytest.approx([0.0, 0.2, 1.0])


HOSTILE = {
    "unknown tool": calling("\u001b[2Jrm", a=1),
    "arguments that are no object": '[{"name": "add", "arguments": "1, 2"}]',
    "no arguments": '[{"name": "add"}]',
    "wrong arguments": calling("add", a=1, c=2),
    "arguments of another type": calling("add", a={}, b=None),
    "malformed": '[{"name": "add", "arg]',
    "no name": '[{"arguments": {}}]',
    "a number": "[7]",
    "a name that is no text": '[{"name": {}, "arguments": {}}]',
    "half a surrogate pair": '[{"name": "\\ud800", "arguments": {"a": "\\udfff"}}]',
    "nested": '[{"name": "add", "arguments": ' + '{"a":' * 60 + "1" + "}" * 61 + "]",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_whatever_a_model_calls_the_run_goes_on(tmp_path, starter, case):
    made = trainer_of(
        tmp_path, paid([0.0, 1.0]), Script([HOSTILE[case], "so"], [calling("add", a=1, b=2), "3"]),
        max_completion_length=400, tools=[add],
    )  # fmt: skip
    assert made.train().global_step == 1
    figures = made.state.log_history[0]
    unread = case in ("malformed", "no name", "a number", "a name that is no text", "half a surrogate pair", "nested")
    assert (figures["tools/unread"], figures["tools/error"]) == ((0.5, 0.0) if unread else (0.0, 0.5))
    assert figures["tools/calls_per_episode"] == (0.5 if unread else 1.0)
    told = [turn["content"] for turn in made.rollout[0]["turns"] if turn["role"] == "tool"]
    assert len(told) == (not unread)
    assert all(text.isprintable() and "error" in text for text in told)


def test_calls_beyond_the_limit_are_refused_and_the_run_goes_on(tmp_path, starter):
    many = calling("add", a=1, b=2) * 4
    made = trainer_of(
        tmp_path, paid([0.0, 1.0]), Script([many, "so"], ["no"]), max_completion_length=900,
        tools=[add], tool_limits=Limits(calls=3),
    )  # fmt: skip
    made.train()
    figures = made.state.log_history[0]
    assert (figures["tools/calls_per_episode"], figures["tools/refused"]) == (2.0, 0.25)


def test_ten_thousand_calls_in_one_message_end_soon(tmp_path, starter):
    made = trainer_of(tmp_path, paid([0.0, 1.0]), Script([calling("add", a=1, b=2) * 10_000]), tools=[add])
    made._sync_tool_dicts, made._async_tool_dicts = [{"add": add}], [{}]
    began = time.perf_counter()
    *_, completions, _, _, _, _ = made._generate([PROMPTS[0]])
    assert time.perf_counter() - began < 30
    assert [message["role"] for message in completions[0]] == ["assistant"]  # the results do not fit
    assert [len(made.episodes[0].calls), figures_of(made.episodes)["tools/refused"]] == [10_000, 0.9968]


@pytest.mark.parametrize("together", ["use_vllm", "deepspeed", "fsdp"])
def test_processes_that_must_call_the_model_equally_often_are_refused(together):
    args = SimpleNamespace(**{"use_vllm": False, "deepspeed": None, "fsdp": [], "world_size": 2, together: "yes"})
    alone, apart = (SimpleNamespace(**{**vars(args), name: None}) for name in ("world_size", together))
    alone.world_size = 1
    for options in ({"tools": [add]}, {"environment_factory": Guessing}):
        with pytest.raises(UsageError, match="need one process, but there are 2"):
            Episodes()._turn_rewards(args, {**options}, None, None)
        for other in (alone, apart):
            Episodes()._turn_rewards(other, {**options}, None, None)
    Episodes()._turn_rewards(args, {"tools": None}, None, None)


def test_an_environment_in_which_a_call_still_runs_is_not_used_again(tmp_path, starter):
    class Slow(Guessing):
        def guess(self, value: int) -> str:
            """Guess.

            Args:
                value: the guess
            """
            time.sleep(3 if value == 1 else 0)
            return "right"

    made = trainer_of(
        tmp_path, None, Script([guess(1)], [guess(5)]), environment_factory=Slow, tool_limits=Limits(timeout=0.2),
        per_device_train_batch_size=2, num_generations=2, steps_per_generation=1,
    )  # fmt: skip
    made.train()
    late, other = made.environments
    assert made.state.log_history[0]["tools/late"] == 0.5
    assert late not in made._environment_pool[None]
    assert other in made._environment_pool[None]
