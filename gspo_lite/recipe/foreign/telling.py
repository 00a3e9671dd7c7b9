"""Words about a file of another trainer: where each of its keys is in a recipe, and what a translation made of it."""

from __future__ import annotations

from pathlib import Path

from gspo_lite.errors import RecipeError
from gspo_lite.recipe.dump import with_comments
from gspo_lite.recipe.explain import shown
from gspo_lite.recipe.foreign.carry import REWARD_KEYS, UNKNOWN
from gspo_lite.recipe.foreign.draft import Draft
from gspo_lite.recipe.foreign.keys import is_foreign
from gspo_lite.recipe.foreign.rewards import form_of
from gspo_lite.recipe.foreign.settings import Setting, answer_to, read_settings, settings_of
from gspo_lite.recipe.foreign.translate import Translation
from gspo_lite.recipe.source import Source, read_source
from gspo_lite.system.redaction import note_values


def own_source(path: Path) -> Source:
    """Return the text of a recipe.

    Raises:
        RecipeError: the file is another trainer's; the message shows where each of its keys is in a recipe.
    """
    source = None if path.suffix == ".py" else read_source(path)
    if source is not None and not is_foreign(source.values):
        return source
    settings = read_settings(path) if source is None else settings_of(source)
    heading = f"{path}: is the configuration of another trainer. Its keys, and where they are in a recipe:"
    hint = f"`gspo-lite recipes --from {path} > mine.yaml` translates what carries over, and lists the rest"
    raise RecipeError([heading, *table(settings)], hint)


def table(settings: list[Setting]) -> list[str]:
    """Return a line for each key that a recipe has, and one for each reason why it does not have others."""
    lines, without = [], dict[str, list[str]]()
    width = max((len(f"{one.where}: {one.key}") for one in settings), default=0)
    for setting in settings:
        found = answer_to(setting)
        if found is not None and found.place is not None:
            lines.append(f"  {f'{setting.where}: {setting.key}':{width}} -> {found.place}{form_in(setting)}")
        else:
            line = setting.where.rpartition(":")[2]
            without.setdefault(found.reason if found else UNKNOWN, []).append(f"{setting.key} (line {line})")
    return lines + [f"  not in a recipe: {', '.join(keys)}: {reason}" for reason, keys in without.items()]


def form_in(setting: Setting) -> str:
    """Return how reward functions and the objective are written in a recipe, for a line of the table."""
    if setting.key in REWARD_KEYS:
        names = setting.value if isinstance(setting.value, list) else [setting.value]
        return f": {', '.join(form_of(name) for name in names if isinstance(name, str))}"
    return f": {setting.value}" if setting.key == "loss_type" else ""


def as_recipe(translation: Translation) -> str:
    """Return the recipe as YAML, with a comment above each key that is left to the user."""
    draft = translation.draft
    note_values(draft.nested())
    comments = {place: f"decide: {question}" for place, question in draft.decide.items()}
    return with_comments(draft.nested(), f"From {translation.path}, by `gspo-lite recipes --from`.", comments)


def report(translation: Translation) -> list[str]:
    """Return what carried over, what did not, what was chosen and what is left to the user, with the reasons."""
    draft = translation.draft
    carried = [line for setting in translation.settings for line in carried_lines(setting, draft)]
    left = [
        f"{setting.where}: `{setting.key}`: {reason}"
        for setting in translation.settings
        for one, reason in draft.left
        if one is setting
    ]
    free = {place: choice for place, choice in draft.chosen.items() if place not in draft.decide}
    chosen = [f"{place}: {shown(value)}: {reason}" for place, (value, reason) in free.items()]
    decide = [f"{place}: {question}" for place, question in draft.decide.items()]
    parts = (("carried over", carried), ("not carried over", left), ("chosen", chosen), ("yours to decide", decide))
    return [line for name, lines in parts if lines for line in (f"{name}:", *(f"  {one}" for one in lines))]


def carried_lines(setting: Setting, draft: Draft) -> list[str]:
    """Return a line for each place that a setting carried over to, or the one for what was read beside others."""
    places = [place for place, origin in draft.origins.items() if origin is setting]
    found, left = answer_to(setting), any(one is setting for one, _ in draft.left)
    if not places and not left and found is not None and setting.value not in (None, ""):
        return [f"{setting.where}: `{setting.key}` -> {found.place}"]
    lines = []
    for place in places:
        remark = f"; {draft.remarks[place]}" if place in draft.remarks else ""
        value = f": {shown(draft.values[place])}" if place in draft.values else ""
        shown_place = place.replace("rewards.", "rewards: - name: ", 1) if place.startswith("rewards.") else place
        lines.append(f"{setting.where}: `{setting.key}` -> {shown_place}{value}{remark}")
    return lines
