"""Does a recipe fit a card, and if not, which settings to change first; if it does, which make it faster.

Predicted from the model's configuration alone. Changes are tried in the order of least harm, each on top of those
before it, and every new figure comes from the same formulas as the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from importlib.util import find_spec
from typing import Any

from gspo_lite.errors import GspoLiteError
from gspo_lite.models.engines import FP8_CAPABILITY, Place, backend_for, choose_engine, unheeded
from gspo_lite.recipe.schema import Recipe
from gspo_lite.sizing.families import find_shape
from gspo_lite.sizing.knobs import FASTER, KNOBS, Change, Knob, changed
from gspo_lite.sizing.memory import GIB, OPTIMIZER_BYTES, Phase, Room, predict
from gspo_lite.sizing.shape import Shape
from gspo_lite.system.quiet import quietly

USABLE = 0.92  # a T4 sold as 16 GB has 14.7 GiB; on other cards the rest is for the display and for fragmentation

NEW_CARD = 8.0  # compute capability of a card whose memory is all that is known


@dataclass(frozen=True)
class Suggestion:
    """A change, its price or gain, and the phases with it and with all suggestions before it."""

    change: Change
    price: str
    phases: list[Phase]


@dataclass(frozen=True)
class Plan:
    """A recipe on a card: what was assumed, the phases, what to change where it does not fit, and what is faster."""

    recipe: Recipe
    shape: Shape
    room: Room
    phases: list[Phase]
    suggestions: list[Suggestion]
    faster: list[Suggestion]

    @property
    def fits(self) -> bool:
        """Whether every phase fits as the recipe stands."""
        return fit(self.phases)

    @property
    def fits_changed(self) -> bool:
        """Whether every phase fits with all suggestions."""
        return fit(self.suggestions[-1].phases if self.suggestions else self.phases)


@quietly
def plan(recipe: Recipe, room: Room) -> Plan:
    """Predict a recipe's peak memory and look for changes that make it fit.

    Raises:
        UsageError or MachineError: the model's configuration cannot be found or counted.
    """
    shape = find_shape(recipe.model.name)
    phases = predict(recipe, shape, room)
    suggestions, faster = list(suggest(recipe, shape, room)), list(speed_up(recipe, shape, room))
    return Plan(recipe, shape, room, phases, suggestions, faster)


def room_for(recipe: Recipe, vram: float) -> Room:
    """Return a card sold with `vram` GB, with the backend and engine that a run would use there.

    `auto` is what is installed here; what the recipe asks for by name is taken to be installed there.

    Raises:
        MachineError: the engine that the recipe asks for could not run on any card.
    """
    backend = backend_for(recipe.model, unsloth=find_spec("unsloth") is not None, gpu=True)
    room = Room(int(vram * GIB), int(vram * USABLE * GIB), backend, images=has_images(recipe))
    return with_engine(recipe, room)


def with_engine(recipe: Recipe, room: Room) -> Room:
    """Return a card with the engine that a run of this recipe would choose there."""
    wanted = recipe.generation.engine
    vllm = "vllm" in (wanted, room.engine) or find_spec("vllm") is not None
    there = Place(gpu=True, capability=NEW_CARD, vllm=vllm)
    return replace(room, engine=choose_engine(wanted, recipe.model, room.backend, images=room.images, place=there).name)


def through_vllm(one: Plan) -> list[Phase] | None:
    """Return the phases with vLLM if the recipe leaves the engine open, vLLM could run, and every phase then fits."""
    recipe, room = one.recipe, one.room
    if recipe.generation.engine != "auto" or room.engine == "vllm" or not room.gpu:
        return None
    there = Place(gpu=True, capability=NEW_CARD, vllm=True)
    chosen = choose_engine("auto", recipe.model, room.backend, images=room.images, place=there)
    phases = predict(recipe, one.shape, replace(room, engine=chosen.name))
    return phases if chosen.name == "vllm" and fit(phases) else None


def has_images(recipe: Recipe) -> bool:
    """Return whether the recipe names an image column for a known vision-language model.

    A column that is only there in the data is found by a run.
    """
    if "images" not in recipe.data.columns.model_fields_set:
        return False
    try:
        return find_shape(recipe.model.name).tower is not None
    except GspoLiteError:
        return False


def suggest(recipe: Recipe, shape: Shape, room: Room) -> Iterator[Suggestion]:
    """Changes in the order of least harm until every phase fits, without those that turn out not to be needed."""
    steps = needed(find_changes(recipe, shape, room), recipe, shape, room)
    for knob, change in steps:
        recipe = changed(recipe, change)
        yield Suggestion(change, knob.price, predict(recipe, shape, room))


def find_changes(recipe: Recipe, shape: Shape, room: Room) -> list[tuple[Knob, Change]]:
    """Return the changes of each knob in turn, as far as they help a phase that is too large."""
    found, phases = [], predict(recipe, shape, room)
    for knob in KNOBS:
        best = None
        for change in knob.changes(recipe, room):
            tried = predict(changed(recipe, change), shape, room)
            if fit(phases) or not helps(phases, tried):
                break
            best, phases = change, tried
        if best:
            recipe = changed(recipe, best)
            found.append((knob, best))
    return found


def speed_up(recipe: Recipe, shape: Shape, room: Room) -> Iterator[Suggestion]:
    """Changes that spend memory on speed, each on top of those before, as far as every phase still fits."""
    for knob in FASTER:
        best = None
        for change in knob.changes(recipe, room):
            tried = changed(recipe, change)
            phases = predict(tried, shape, with_engine(tried, room))
            if not fit(phases):
                break
            best = Suggestion(change, knob.price, phases)
        if best:
            recipe = changed(recipe, best.change)
            room = with_engine(recipe, room)
            yield best


def needed(steps: list[tuple[Knob, Change]], recipe: Recipe, shape: Shape, room: Room) -> list[tuple[Knob, Change]]:
    """Return the steps without those that the others make unnecessary; drop the most harmful first."""
    for step in reversed(steps):
        others = [other for other in steps if other is not step]
        shared = any(place in other[1] for other in others for place in step[1])
        if not shared and fit(predict(reduce(changed, (change for _, change in others), recipe), shape, room)):
            steps = others
    return steps


def helps(before: list[Phase], after: list[Phase]) -> bool:
    """Return whether a change cuts the excess of a phase by over one percent and raises that of none."""
    pairs = list(zip(before, after, strict=True))
    smaller = any(new.over < 0.99 * old.over for old, new in pairs if old.over)
    return smaller and not any(new.over > old.over for old, new in pairs)


def fit(phases: list[Phase]) -> bool:
    """Return whether no phase is above its limit."""
    return not any(phase.over for phase in phases)


def peak_of(phases: list[Phase]) -> int:
    """Return the bytes of the largest phase of the card itself."""
    return max(phase.total for phase in phases if not phase.name.startswith("inside"))


def gib(count: float) -> str:
    """Return bytes as GiB for a table; small parts keep two digits."""
    return f"{count / GIB:.1f}" if count >= GIB / 2 else f"{count / GIB:.2f}"


def notes_of(one: Plan) -> list[str]:
    """Return the assumptions behind the figures, one line each."""
    recipe, shape, room = one.recipe, one.shape, one.room
    training, generation = recipe.training, recipe.generation
    names = {"load_in_4bit": "4-bit NF4", "load_in_8bit": "8-bit", "load_in_fp8": "FP8",
             "full_finetuning": "float32, all trained"}  # fmt: skip
    bits = next((words for name, words in names.items() if getattr(recipe.model, name)), "unquantized")
    notes = [
        f"model      {recipe.model.name}: {shape.parameters / 1e6:,.0f}M parameters, {bits}; from {shape.source}",
        f"assumed    {'Unsloth' if room.backend == 'unsloth' else 'transformers with PEFT'}; completions by "
        f"{'vLLM' if room.engine == 'vllm' else 'transformers, the whole rollout at once'}; every prompt and "
        "completion at its limit",
        f"tokens     {training.per_device_train_batch_size} x ({generation.max_prompt_length} + "
        f"{generation.max_completion_length}) a training pass, {training.rollout_size} completions a rollout",
    ]
    if room.images:
        notes.append("images     every prompt is counted as one image all over; smaller images take less")
    if shape.experts and recipe.model.narrow:
        notes.append(f"note       {shape.experts / 1e6:,.0f}M parameters of experts stay in 16 bits: only linear "
                     "layers are quantized")  # fmt: skip
    needs = {name: FP8_CAPABILITY[name] for name in FP8_CAPABILITY if getattr(recipe.model, name)}
    notes += [f"note       model.{name} takes a card of compute capability {least}" for name, least in needs.items()]
    idle = unheeded(recipe.model, (room.backend, room.engine) == ("unsloth", "vllm"))
    notes += [f"note       model.{name} has no effect without vLLM inside Unsloth" for name in idle]
    if shape.measured:
        notes.append("note       counted by building it on torch's meta device; its activations are approximate")
    if training.optim not in OPTIMIZER_BYTES:
        notes.append(f"note       the optimizer `{training.optim}` is counted like AdamW")
    return notes


def lines_of(one: Plan) -> Iterator[str]:
    """Yield the lines of a plan for people."""
    verdict = "fits" if one.fits else "does not fit"
    yield (f"{verdict}: the peak is {gib(peak_of(one.phases))} GiB, and {gib(one.room.usable)} of "
           f"{gib(one.room.total)} GiB can be used")  # fmt: skip
    yield from notes_of(one)
    for phase in one.phases:
        yield ""
        yield f"{phase.name:40} {gib(phase.total):>6} GiB" + (f"   {gib(phase.over)} too much" if phase.over else "")
        yield from (f"    {part:36} {gib(count):>6}" for part, count in phase.parts.items())
    if one.fits:
        if one.faster:
            yield "\nfaster, and it still fits, each on top of those before:"
            yield from told(one.faster)
        return
    faster = through_vllm(one)
    if faster:
        yield (f"\nwith vLLM (`pip install 'gspo-lite[vllm]'`) it fits as it stands: the peak is "
               f"{gib(peak_of(faster))} GiB, as vLLM keeps its cache in a share of its own")  # fmt: skip
    yield ("\nwithout vLLM: " if faster else "\n") + "what to change, least harm first, each on top of those before:"
    yield from told(one.suggestions)
    if one.fits_changed:
        yield "then it fits"
    else:
        other = " generation.engine=transformers," if one.room.engine == "vllm" else ""
        yield f"that is still too much: take{other} a smaller model, or a larger card"


def told(suggestions: list[Suggestion]) -> Iterator[str]:
    """Yield two lines for each suggestion: the settings, then their peak and price."""
    for suggestion in suggestions:
        settings = " ".join(f"--set {setting}" for setting in settings_of(suggestion.change))
        yield f"    {settings}\n        then the peak is {gib(peak_of(suggestion.phases))} GiB; {suggestion.price}"


def settings_of(change: Change) -> list[str]:
    """Return a change in the form of --set."""
    words = {True: "true", False: "false"}
    return [f"{place}={words[value] if isinstance(value, bool) else value}" for place, value in change.items()]


def as_dict(one: Plan) -> dict[str, Any]:
    """Return a plan as JSON, in bytes."""

    def phases(found: list[Phase]) -> dict[str, Any]:
        return {phase.name: {"bytes": phase.total, "limit": phase.limit, "parts": phase.parts} for phase in found}

    def suggestions(found: list[Suggestion]) -> list[dict[str, Any]]:
        return [
            {"set": s.change, "price": s.price, "peak_bytes": peak_of(s.phases), "phases": phases(s.phases)}
            for s in found
        ]

    return {
        "fits": one.fits, "fits_with_suggestions": one.fits_changed, "peak_bytes": peak_of(one.phases),
        "usable_bytes": one.room.usable, "backend": one.room.backend, "engine": one.room.engine,
        "parameters": one.shape.parameters, "config": one.shape.source, "notes": notes_of(one),
        "phases": phases(one.phases),
        "suggestions": suggestions(one.suggestions), "faster": suggestions(one.faster),
    }  # fmt: skip
