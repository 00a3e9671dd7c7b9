"""Refuses rewards that look for the answer, or for the thoughts, in another place than the recipe asks for."""

from __future__ import annotations

from typing import Any, get_args

from gspo_lite.completion.markers import ASKED, Named, OwnMarker
from gspo_lite.errors import Place
from gspo_lite.recipe.data_settings import STYLE_MARKERS, DataSettings
from gspo_lite.recipe.problem import Problem


def disagreements(data: DataSettings, made: Any, place: Place) -> list[Problem]:
    """Return the problems of a `Reward` with its options, which are at `place` of a recipe with this `data`."""
    thinking, asked = made.values.get("thinking"), data.thinking
    found = []
    if made.layout is not None and made.layout.marker in ASKED and made.layout.marker != data.layout.marker:
        found.append(Problem((*place, "marker"), elsewhere(data, made)))
    if thinking not in (None, asked):
        message = f"`{shown(thinking)}` contradicts data.thinking `{shown(asked)}`. Remove one of them"
        found.append(Problem((*place, "thinking"), message))
    return found


def elsewhere(data: DataSettings, made: Any) -> str:
    """Return the message on a reward whose marker is not the recipe's."""
    marker = made.layout.marker
    agreeing = [shown(data.layout.marker)]
    if made.refuses("marker", data.layout.marker):
        agreeing = [one for one in get_args(Named) if one not in ASKED and not made.refuses("marker", one)]
    if data.marker is None:
        style = next(style for style, place in STYLE_MARKERS.items() if place == marker)
        asks, remedy = f"data.prompt `{data.prompt}`, which puts the answer at", f"data.prompt to `{style}`"
    else:
        asks, remedy = "data.marker", f"data.marker to `{marker}`"
    return (
        f"`{marker}` contradicts {asks} `{shown(data.layout.marker)}`: no right answer would be rewarded. "
        f"Set it to {' or '.join(f'`{one}`' for one in agreeing)}, or {remedy}"
    )


def shown(setting: Any) -> str:
    """Return a marker or thinking as a recipe spells it."""
    if isinstance(setting, OwnMarker):
        return str(setting.model_dump(mode="json", exclude_none=True))
    return setting if isinstance(setting, str) else str(list(setting))
