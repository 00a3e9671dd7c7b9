"""Chat with the result of a run, an adapter or an export, prompted as in training.

Owns how a folder becomes a chat model, and one turn. Must not know terminals.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gspo_lite.checked_recipe import load_recipe
from gspo_lite.data.inputs import prompt_length
from gspo_lite.data.prompts import Messages, as_text, messages
from gspo_lite.data.sources import load_problems
from gspo_lite.errors import UsageError
from gspo_lite.export import forms, round_trip
from gspo_lite.lab.system_message import in_short, trained_system
from gspo_lite.load_parts import offline_if_local, player_outside
from gspo_lite.load_trained import find_trained, is_checkpoint, recipe_in, run_of
from gspo_lite.models.adapters import ADAPTER_CONFIG
from gspo_lite.models.generate import generate, judged_text, ready_to_generate
from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.models.load import LoadedModel
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system import run_folder, stopping
from gspo_lite.system.say import say
from gspo_lite.tools.shown import lines_of

if TYPE_CHECKING:
    from gspo_lite.training.play import Player

QUIT = ("/quit", "/exit", "/bye")
RESET = "/reset"
RESULT = 2000  # characters of a tool's result that are shown
Show = Callable[[str], None]


@dataclass
class Chat:
    """A model to chat with, in a recipe's prompt style and generation settings.

    Attributes:
        system: the system message; none if None.
        temperature: sampling temperature; None is greedy, as in the evaluation.
        remember: keep the turns; a model that was trained on single questions does best without.
        turns: the conversation so far, if it is kept.
        play: plays conversations with the recipe's tools; None without any.
        problems: held-out ones, of which an environment needs the columns; empty without one.
    """

    loaded: LoadedModel
    recipe: Recipe
    system: str | None = None
    temperature: float | None = None
    remember: bool = False
    turns: Messages = field(default_factory=list)
    play: Player | None = None
    problems: Sequence[dict[str, Any]] = ()

    def reply(self, text: str, show: Show) -> str:
        """Answer one question, showing the text as it is generated; Ctrl-C cuts it short and forgets the turn."""
        if self.problems:
            return self.held_out(text, show)
        chat = messages([*self.turns, {"role": "user", "content": text}], self.system)
        problem = {"prompt": chat}
        return self.played(problem, show) if self.play else self.written(problem, show)

    def held_out(self, number: str, show: Show) -> str:
        """Play the held-out problem of this number, whose columns an environment begins with."""
        if number.isdecimal() and int(number) < len(self.problems):
            return self.played(self.problems[int(number)], show)
        show(f"type the number of a held-out problem, 0 to {len(self.problems) - 1}: an environment begins with it")
        return ""

    def written(self, problem: dict[str, Any], show: Show) -> str:
        """Answer one prompt, showing the text as it is generated."""
        import torch

        chat, model, processing = problem["prompt"], self.loaded.model, self.loaded.processing_class
        kwargs = self.recipe.model.chat_template_kwargs
        self.warn_of_length(prompt_length(processing, problem, kwargs))
        streamer: Any = streaming(tokenizer_of(processing), show)
        with ready_to_generate(model), torch.no_grad():
            ids = generate(model, processing, [problem], self.recipe, self.temperature, streamer=streamer)[0]
        answer = judged_text(processing, self.recipe.data.layout, kwargs)(ids)
        if self.remember:
            self.turns = [*chat, {"role": "assistant", "content": answer}]
        return answer

    def played(self, problem: dict[str, Any], show: Show) -> str:
        """Play the conversation that begins with a prompt, calling the tools; show calls and results at its end."""
        assert self.play is not None
        kwargs = self.recipe.model.chat_template_kwargs | {"tools": self.play.tools_of(problem)}
        self.warn_of_length(prompt_length(self.loaded.processing_class, problem, kwargs))
        if self.problems:
            show(as_text(problem["prompt"][-1:]))
        anew = random.randrange(2**31)  # the same question may be answered in another way, as without tools
        answer = self.play([problem], self.temperature, judge=False, sampling_seed=anew).answers[0]
        turns = answer.turns or []
        show("\n".join(lines_of(turns, RESULT)))
        if self.remember and not self.problems:
            self.turns = [*problem["prompt"], *map(as_message, turns)]
        return answer.text

    def warn_of_length(self, length: int) -> None:
        """Warn if a prompt is longer than any that the model was trained on."""
        longest = self.recipe.generation.max_prompt_length
        if length > longest:
            say(f"note     the prompt has {length} tokens; training had at most {longest}")


def streaming(tokenizer: Any, show: Show) -> Any:
    """Return a streamer that passes each piece of text to `show` while it is generated."""
    from transformers import TextStreamer

    streamer: Any = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    streamer.on_finalized_text = lambda text, stream_end=False: show(text)
    return streamer


def open_chat(
    path: Path, recipe: str | None = None, system: str | None = None, overrides: Sequence[str] = (), *,
    allow_outside: bool = False, **options: Any,
) -> Chat:  # fmt: skip
    """Load a run, finished or not, one of its checkpoints, an adapter or an export.

    Args:
        recipe: name or path of the recipe to use; not needed for a run, or for a folder that came from one.
        system: system message; that of the training if left out, none if empty.
        overrides: of the recipe, as after `--set`.
        allow_outside: allow a recipe paths outside its own folder and the current one.
        options: of `Chat`.

    Raises:
        UsageError: `path` is none of these, or its recipe is not known.
    """
    if not path.is_dir():
        wrong = f"`{path}` is a file" if path.is_file() else f"there is no folder `{path}`"
        raise UsageError(wrong, "name the folder of a run, a checkpoint, an adapter or an export")
    run: Path | None = None
    if recipe is None:
        run = source_run(path)
        chosen = recipe_in(run, overrides, allow_outside=allow_outside)
    else:
        chosen = load_recipe(recipe, overrides, with_data=False, allow_outside=allow_outside).recipe
    offline_if_local(chosen)
    loaded = load(path, chosen)
    used = trained_system(chosen, run) if system is None else system or None
    say(f"system   {in_short(used)}")
    play = player_outside(chosen, loaded, judged=False)
    if play is not None:
        say(f"tools    {', '.join(one.__name__ for one in play.stage.tools)}: calls run on this machine")
    problems = () if chosen.environment is None else list(load_problems(chosen.data, whole_rows=True).held_out)
    return Chat(loaded, chosen, used, play=play, problems=problems, **options)


def as_message(turn: dict[str, Any]) -> dict[str, Any]:
    """Return one turn of a conversation as a message of the chat template."""
    if turn["role"] == "tool":
        return {name: turn[name] for name in ("role", "name", "content")}
    calls = [{"type": "function", "function": call} for call in turn["calls"]]
    return {"role": "assistant", "content": turn["content"], **({"tool_calls": calls} if calls else {})}


def source_run(path: Path) -> Path:
    """Return the run which is, contains or was exported to this folder; raise UsageError if it is not known."""
    exported = path / round_trip.RESULT
    run = run_of(path) or (run_of(Path(run_folder.read_json(exported)["run"])) if exported.is_file() else None)
    if run is None:
        raise UsageError(f"`{path}` does not say which recipe it was trained with", "add --recipe NAME")
    return run


def load(path: Path, recipe: Recipe) -> LoadedModel:
    """Return the model in a folder, ready to generate."""
    if run_folder.is_run(path) or is_checkpoint(path):
        recipe, weights = find_trained(str(path), recipe)
        return forms.read_adapter(recipe, weights or path, forms.Options(), False)
    if (path / forms.GGUF_FILE).is_file():
        return forms.read_gguf(recipe, path, forms.Options(), False)
    if (path / ADAPTER_CONFIG).is_file() or recipe.model.full_finetuning:
        return forms.read_adapter(recipe, path, forms.Options(), False)
    if (path / "config.json").is_file():
        return forms.read_merged(recipe, path, forms.Options(), False)
    raise UsageError(f"`{path}` has no model: no adapter, no `config.json`, no `{forms.GGUF_FILE}`")


def talk(chat: Chat, questions: Iterable[str], show: Show) -> None:
    """Answer questions until they end or one is /quit; Ctrl-C ends an answer, not the chat."""
    for question in questions:
        text = question.strip()
        if text in QUIT:
            return
        if text == RESET:
            chat.turns = []
        elif text:
            try:
                chat.reply(text, show)
            except KeyboardInterrupt:
                stopping.forget()
                show(" [stopped]")
            show("\n")
