"""Writes an Ollama Modelfile: the model's chat template in Ollama's language, its end tokens, the recipe's settings.

Ollama does not run the Jinja template in a GGUF file: it looks for a known one that is similar, and asks in plain text
if it finds none. So the template is taken from what the Jinja template renders, and compared with it on other chats.
Must not know how the GGUF file was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.models.templates import begins_with_bos, rendered
from gspo_lite.recipe.schema import Recipe

QUOTES = '"""'
SYSTEM, FIRST, REPLY, SECOND, LATER, THIRD = (
    f"{word} of this chat" for word in ("rules", "question", "answer", "second question", "later answer", "third one")
)
Render = Callable[[list[dict[str, Any]]], str | None]


@dataclass(frozen=True)
class Frame:
    """What a chat template writes around the texts of a chat.

    Attributes:
        plain: before the first question, without a system message; a default one may stand in it.
        before_system, after_system: around a system message, up to the first question.
        between: from a question to its answer, of an earlier turn.
        next: from an answer to the next question.
        prompt: after the last question, where the model begins.
    """

    plain: str
    before_system: str
    after_system: str
    between: str
    next: str
    prompt: str

    def written(self, system: str | None, texts: list[str]) -> str:
        """Return a chat in this frame: questions and answers in turn, the last a question."""
        head = self.plain if system is None else self.before_system + system + self.after_system
        glue = [(self.between, self.next)[i % 2] for i in range(len(texts) - 1)]
        return head + "".join(text + part for text, part in zip(texts, [*glue, self.prompt], strict=True))


def frame_of(render: Render) -> Frame | None:
    """Return the frame of a chat template; None if it cannot be told in one, or writes other chats otherwise.

    Args:
        render: writes a chat with the template, up to where the model begins; None if the template refuses it.
    """
    texts = [FIRST, REPLY, SECOND]
    with_system, without = pieces(render, SYSTEM, texts), pieces(render, None, texts)
    if with_system is None or without is None:
        return None
    frame = Frame(without[0], *with_system)
    known = [(system, part) for system in (None, SYSTEM) for part in (texts[:1], texts, [*texts, LATER, THIRD])]
    faithful = all(render(chat_of(system, part)) == frame.written(system, part) for system, part in known)
    return frame if faithful else None


def pieces(render: Render, system: str | None, texts: list[str]) -> list[str] | None:
    """Return what a template writes before, between and after the texts of a chat; None if one of them is not there."""
    rest, found = render(chat_of(system, texts)), []
    for text in texts if system is None else [system, *texts]:
        before, there, rest = (rest or "").partition(text)
        if not there:
            return None
        found.append(before)
    return [*found, rest or ""]


def chat_of(system: str | None, texts: list[str]) -> list[dict[str, Any]]:
    """Return a chat of questions and answers in turn."""
    head = [] if system is None else [{"role": "system", "content": system}]
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return [*head, *turns]


def go_template(frame: Frame) -> str:
    """Return the frame in the language of Go templates, with the names that Ollama gives to a chat."""
    before, after, plain = (literal(text) for text in (frame.before_system, frame.after_system, frame.plain))
    between, following, prompt = (literal(text) for text in (frame.between, frame.next, frame.prompt))
    return (
        f"{{{{ if .System }}}}{before}{{{{ .System }}}}{after}{{{{ else }}}}{plain}{{{{ end }}}}"
        "{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}"
        f'{{{{ if eq .Role "user" }}}}{{{{ .Content }}}}{{{{ if $last }}}}{prompt}{{{{ else }}}}{between}{{{{ end }}}}'
        f'{{{{ else if eq .Role "assistant" }}}}{{{{ .Content }}}}{{{{ if not $last }}}}{following}{{{{ end }}}}'
        "{{ end }}{{ end }}"
    )


def literal(text: str) -> str:
    """Return text as a Go template writes it."""
    return text.replace("{{", '{{ "{{" }}')


def modelfile(processing: Any, ends: Iterable[int], system: str | None, recipe: Recipe, files: list[str]) -> str | None:
    """Return a Modelfile that asks a model as it was trained; None if its template or a text cannot be put into one.

    Args:
        ends: tokens that end a completion.
        system: message that the model was trained with.
        files: the lines `FROM` and `ADAPTER`.
    """
    tokenizer = tokenizer_of(processing)
    bos = tokenizer.bos_token if begins_with_bos(tokenizer) else ""  # llama.cpp puts it in front by itself

    def render(chat: list[dict[str, Any]]) -> str | None:
        text = rendered(processing, chat, recipe.model.chat_template_kwargs, add_generation_prompt=True)
        return text if text is None else text.removeprefix(bos)

    frame = frame_of(render)
    template = go_template(frame) if frame else ""
    stops = tokenizer.convert_ids_to_tokens(sorted(ends))
    if frame is None or any(QUOTES in text for text in (system or "", template, *stops)):
        return None
    parameters = {
        "temperature": 0,
        "repeat_penalty": recipe.generation.repetition_penalty,
        "num_ctx": recipe.model.max_seq_length,
        "num_predict": recipe.generation.max_completion_length,
    }
    lines = [
        *files,
        f"TEMPLATE {QUOTES}{template}{QUOTES}",
        *([f"SYSTEM {QUOTES}{system}{QUOTES}"] if system else []),
        *(f"PARAMETER stop {QUOTES}{end}{QUOTES}" for end in stops),
        "# As the held-out problems were answered: greedy, and without the penalty that is Ollama's default.",
        *(f"PARAMETER {name} {value:g}" for name, value in parameters.items()),
    ]
    return "\n".join(lines) + "\n"
