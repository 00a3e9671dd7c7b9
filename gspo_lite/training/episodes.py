"""Runs TRL's tool loop with every episode's tools under limits, and keeps what was called.

TRL builds the tools of each row anew or once, by version, and calls them from `_tool_call_loop`. They are replaced just
for `_generate`, so that tools and environments reach TRL as their user wrote them. Must not know how a tool is found.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from gspo_lite.completion.marks import Turns
from gspo_lite.data.inputs import takes_images
from gspo_lite.errors import RewardError, UsageError
from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.rewards.contract.calling import call_each
from gspo_lite.rewards.contract.guarded import TIMEOUT, GuardedReward
from gspo_lite.rewards.contract.returned import as_values, described
from gspo_lite.system.say import say
from gspo_lite.tools.calls import held_parser
from gspo_lite.tools.definition import REWARD, TURN_REWARDS
from gspo_lite.tools.environments import count_earned, held_factories, results_of, values_by_turn
from gspo_lite.tools.guarded import Episode, Limits, figures_of
from gspo_lite.tools.turns import figures_of_tokens

PARSE = "parse_response"
SWAPPED = (
    "note     the model's chat template renders messages otherwise once others follow, so TRL's training template "
    "takes its place"
)
TOOL_MASK = 2  # place in what `_generate` returns


class Episodes:
    """Mixin in front of the trainer; `episodes` are those of the last rollout, one for each of its rows."""

    # of the trainer
    tools: list[Any]
    environments: list[Any] | None
    model: Any
    processing_class: Any
    reward_funcs: list[Any]
    reward_func_names: list[str]
    chat_template: str | None  # in place of the tokenizer's
    _sync_tool_dicts: list[Any]
    _async_tool_dicts: list[dict[str, Any]]
    _metrics: dict[str, Any]

    tool_limits: Limits = Limits()
    tells_template: bool = True  # which template is at work
    own_rewards: int = 0  # the user's, in front of those that environments pay
    episodes: list[Episode] = []  # noqa: RUF012, replaced and never changed

    def _turn_rewards(
        self, args: Any, options: dict[str, Any], limits: Limits | None, columns: Sequence[str] | None
    ) -> list[GuardedReward]:
        """Put the environments of TRL's options under limits; return a reward for each kind that values turns."""
        self.tool_limits = limits or Limits()
        factories = held_factories(options.get("environment_factory"), self.tool_limits)
        if factories:
            options["environment_factory"] = factories.get(None, factories)
        for one in factories.values():
            one.refuse_missing(columns)
        refuse_processes(args, options)
        kinds = {one.kind: None for one in factories.values() if one.values_turns}
        return [self._paid(partial(self._turns, kind), f"{kind.__name__}_turns", TURN_REWARDS) for kind in kinds]

    def _paid(self, reward: Callable[..., Any], name: str, method: str) -> GuardedReward:
        """Return a reward that environments pay by a method, under contract and the timeout of the method, if any."""
        return GuardedReward(reward, name, 1.0, [], timeout=self.tool_limits.timeouts.get(method, TIMEOUT))

    def _turns(self, kind: type, environments: Sequence[Any], completions: Sequence[Any]) -> list[Turns | None]:
        """Return what environments of a kind say of the turns of their episodes; None for other kinds."""
        episodes = dict(zip(map(id, self.environments or ()), self.episodes, strict=False))
        rows = zip(environments, completions, strict=True)
        return [turns_of(one, said, episodes.get(id(one))) if type(one) is kind else None for one, said in rows]

    def _begin_episodes(self, own: int, paid: int) -> None:
        """Put the rewards that TRL made of environments under contract, and say where it takes another template.

        Args:
            own: number of the user's rewards, the first ones.
            paid: number of rewards for turns, after them.
        """
        self.own_rewards = own
        for place, name in enumerate(self.reward_func_names[own + paid :], own + paid):
            self.reward_funcs[place] = self._paid(of_environments(self.reward_funcs[place]), name, REWARD)
        if self.tells_template and self.tools and self.chat_template is not None:
            say(SWAPPED)

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        self.episodes = []
        if not self.tools:
            return super()._generate(*args, **kwargs)  # type: ignore[misc]
        unread: list[str] = []
        with self._held_parser(unread), self._held_tools() as self.episodes:
            output = super()._generate(*args, **kwargs)  # type: ignore[misc]
        figures = {**figures_of(self.episodes), **figures_of_tokens(output[TOOL_MASK])}
        figures["tools/unread"] = len(unread) / max(len(self.episodes), 1)
        for name, value in figures.items():
            self._metrics["train" if self.model.training else "eval"][name].append(value)
        self._drop_late_environments()
        return output

    @contextmanager
    def _held_parser(self, unread: list[str]) -> Iterator[None]:
        """Let the tokenizer read whatever a model wrote; `unread` gets the reason where it cannot."""
        attributes = vars(tokenizer := tokenizer_of(self.processing_class))
        own = {name: attributes[name] for name in (PARSE,) if name in attributes}  # else it is its class's
        attributes[PARSE] = held_parser(getattr(tokenizer, PARSE), unread)
        try:
            yield
        finally:
            del attributes[PARSE]
            attributes.update(own)

    @contextmanager
    def _held_tools(self) -> Iterator[list[Episode]]:
        """Replace the tools of each row by held ones; async ones become sync, so that no call can block the loop."""
        free = self._sync_tool_dicts, self._async_tool_dicts
        environments = self.environments or [None] * len(free[0])
        episodes = [self._episode(one) for one in environments]
        pairs = zip(*free, strict=True)
        self._sync_tool_dicts = [one.held({**a, **b}) for one, (a, b) in zip(episodes, pairs, strict=True)]
        self._async_tool_dicts = [{} for _ in episodes]
        try:
            yield episodes
        finally:
            self._sync_tool_dicts, self._async_tool_dicts = free

    def _episode(self, environment: Any) -> Episode:
        """Return an episode without calls."""
        limits, sees_images = self.tool_limits, takes_images(self.processing_class)
        if not hasattr(environment, TURN_REWARDS):
            return Episode(limits, sees_images=sees_images)
        earned = partial(count_earned, environment, limits.seconds_for(TURN_REWARDS))
        return Episode(limits, sees_images=sees_images, earned=earned, earned_before=earned())

    def _drop_late_environments(self) -> None:
        """Use no environment again in which a call may still be running; TRL makes new ones where its pool has none."""
        late = {
            id(one) for one, episode in zip(self.environments or [], self.episodes, strict=False) if episode.is_late
        }
        for pool in getattr(self, "_environment_pool", {}).values():
            pool[:] = [one for one in pool if id(one) not in late]


def of_environments(reward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reward that TRL made of `get_reward`, which takes environments only."""

    def paid(environments: Sequence[Any]) -> Any:
        return reward(environments=environments)

    return paid


def with_weights(args: Any, more: int) -> Any:
    """Return the arguments with the weight 1 for so many more rewards, as TRL weighs what an environment pays."""
    if not more or args.reward_weights is None:
        return args
    args = copy.copy(args)
    args.reward_weights = [*args.reward_weights, *[1.0] * more]
    return args


def turns_of(environment: Any, completion: Any, episode: Episode | None) -> Turns:
    """Return what an environment says of the turns of its episode.

    Raises:
        RewardError: these are no values, or their number is not that of the turns.
    """
    name = f"`{TURN_REWARDS}` of the environment `{type(environment).__name__}`"
    hint = "return a list with a number or None for each of the model's messages so far"
    outcome = call_each(getattr(environment, TURN_REWARDS), [{}], None)[0]  # its reward has the time limit
    if outcome.error is not None:
        raise outcome.error
    values = as_values(outcome.value)
    if values is None:
        raise RewardError(f"{name} returned {described(outcome.value)}", hint)
    earned, before = ([call.earned for call in episode.calls], episode.earned_before) if episode else ([], 0)
    try:
        return Turns(values_by_turn(values, results_of(completion), earned, before))
    except (TypeError, ValueError) as error:
        raise RewardError(f"{name} returned {error}", hint) from error


def refuse_processes(args: Any, options: Mapping[str, Any]) -> None:
    """Refuse tools where processes must call the model equally often: episodes differ in their number of turns."""
    together = {"vLLM": args.use_vllm, "DeepSpeed": args.deepspeed, "FSDP": args.fsdp}
    found = next((name for name, value in together.items() if value), None)
    episodes = options.get("tools") or options.get("environment_factory")
    if episodes and args.world_size > 1 and found is not None:
        raise UsageError(
            f"tools under {found} need one process, but there are {args.world_size}: episodes end after different "
            "numbers of turns, and the other processes would wait for ever",
            "start one process, or use plain data parallel training with generation by transformers",
        )
