"""Prepares the chat template of a tokenizer or processor right after it is loaded, so that everything renders alike.

Training (by TRL), evaluation, preview, chat, the warm-up and export all call `apply_chat_template` of what was prepared
here, and a saved tokenizer carries the template that was used. Must not know data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gspo_lite.completion.decoding import special_tokens
from gspo_lite.models.kinds import tokenizer_of
from gspo_lite.system.say import warn

BOS = "{{ bos_token }}"
# The text of `data.prompts.as_text`, for models that have no template.
PLAIN = (
    "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for block in message['content'] %}{{ block['text'] }}{% endfor %}{% endif %}"
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}{{ '\\n' }}"
)
# In front of a template that refuses system messages: the message becomes the beginning of the first user message.
MERGED_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{% if messages[1:] and messages[1]['role'] == 'user' %}"
    "{% set gap = '\\n\\n' if messages[1]['content'] is string else [{'type': 'text', 'text': '\\n\\n'}] %}"
    "{% set messages = [{'role': 'user', 'content': messages[0]['content'] + gap + messages[1]['content']}]"
    " + messages[2:] %}{% else %}"
    "{% set messages = [{'role': 'user', 'content': messages[0]['content']}] + messages[1:] %}{% endif %}{% endif %}"
)
TODAY = "strftime_now"  # what templates call for the date of today
SYSTEM, QUESTION, ANSWER = ({"role": role, "content": f"{role} said"} for role in ("system", "user", "assistant"))


def prepare_template(processing: Any, kwargs: Mapping[str, Any]) -> list[str]:
    """Give a tokenizer or processor a template that renders every chat; return notes on what had to be changed.

    Args:
        kwargs: `model.chat_template_kwargs`; a warning names those that the template does not read.
    """
    notes = []
    if processing.chat_template is None:
        begins = begins_with_bos(tokenizer_of(processing))
        processing.chat_template = BOS + PLAIN if begins else PLAIN
        after = f" after `{tokenizer_of(processing).bos_token}`" if begins else ""
        notes.append(f"it has no chat template: prompts are plain text{after}")
    elif refuses_system(processing, kwargs):
        processing.chat_template = with_prefix(processing.chat_template, MERGED_SYSTEM)
        notes.append("its chat template takes no system message: it is put before the first user message")
    elif SYSTEM["content"] not in (rendered(processing, [SYSTEM, QUESTION], kwargs) or ""):
        notes.append("its chat template leaves system messages out")
    text = template_text(processing.chat_template)
    for name in kwargs:
        if not reads(text, name):
            warn(f"model.chat_template_kwargs.{name} has no effect: the model's chat template does not read it")
    if TODAY in text and reads(text, "date_string") and "date_string" not in kwargs:
        notes.append("its chat template writes the date of today; model.chat_template_kwargs.date_string fixes one")
    return notes


def begins_with_bos(tokenizer: Any) -> bool:
    """Return whether the model wants its first token: a tokenizer with special tokens writes it before any text."""
    return tokenizer.bos_token_id is not None and tokenizer("x").input_ids[0] == tokenizer.bos_token_id


def refuses_system(processing: Any, kwargs: Mapping[str, Any]) -> bool:
    """Return whether a template raises at a system message, and at nothing else in the same chat."""
    return rendered(processing, [SYSTEM, QUESTION], kwargs) is None and (
        rendered(processing, [QUESTION], kwargs) is not None
    )


def rendered(processing: Any, chat: list[dict[str, Any]], kwargs: Mapping[str, Any], **options: Any) -> str | None:
    """Return a chat as the template writes it; None if the template raises."""
    from jinja2 import TemplateError

    if tokenizer_of(processing) is not processing:
        chat = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in chat]
    try:
        return str(processing.apply_chat_template(chat, tokenize=False, **options, **kwargs))
    except (TemplateError, TypeError):  # jinja lets the latter through, as from a text added to None
        return None


def with_prefix(template: Any, prefix: str) -> Any:
    """Return a template, or each of several named ones, behind a prefix."""
    return {name: prefix + one for name, one in template.items()} if isinstance(template, dict) else prefix + template


def template_text(template: Any) -> str:
    """Return the text of a template, or of all of several named ones."""
    return "\n".join(template.values()) if isinstance(template, dict) else str(template)


def reads(template: str, name: str) -> bool:
    """Return whether a template speaks of a variable."""
    return re.search(rf"\b{re.escape(name)}\b", template) is not None


def turn_end(processing: Any, kwargs: Mapping[str, Any]) -> int | None:
    """Return the special token that the template writes after an assistant's message; None without one."""
    text, tokenizer = rendered(processing, [QUESTION, ANSWER], kwargs), tokenizer_of(processing)
    _, said, rest = (text or "").rpartition(ANSWER["content"])
    ids = tokenizer(rest, add_special_tokens=False).input_ids if said else []
    return ids[0] if ids and ids[0] in special_tokens(tokenizer) else None
