"""What to change in a recipe before it is trained, from the figures of a preview and from its completions."""

from __future__ import annotations

from collections.abc import Sequence

from gspo_lite.checked_recipe import CHECKS
from gspo_lite.completion.markers import Named
from gspo_lite.completion.text import find_answer
from gspo_lite.lab.sampling import RewardPreview, Sampling
from gspo_lite.models.generate import Answer
from gspo_lite.recipe.data_settings import STYLE_MARKERS
from gspo_lite.recipe.schema import Recipe
from gspo_lite.rewards.contract.judging import form_of, judge_of
from gspo_lite.system.figures import brief
from gspo_lite.tools.shown import END_WORDS, call_text

MUCH_TRUNCATION = 0.2
MANY_FLAT_GROUPS = 0.5
LITTLE_SHARE = 0.02  # of the variance of the summed reward
EASY = 0.9  # of the best value seen
MOST = 0.5  # of the completions
LONGEST = 300  # characters of a failed call
# Places that a completion may have for its answer, the strictest first: any number is a last number.
PLACES: dict[Named, str] = {
    "tag": "an answer tag", "boxed": "a \\boxed{}", "gsm8k": "a #### line", "fence": "a ```json block",
    "last_number": "a number",
}  # fmt: skip


def without_form(recipe: Recipe, texts: Sequence[str]) -> str | None:
    """Return what to do where no completion has an answer in the place that the recipe looks at; None if one has."""
    form = form_of(recipe)
    if form is None or any(find_answer(text, *form) is not None for text in texts):
        return None
    missing = f"no completion has its answer where the recipe looks for it, as in `{form.form('..', '..').strip()}`"
    if recipe.warmup is not None:
        return f"{missing}; the recipe's `warmup` must teach that"
    seen = form_seen(recipe, texts)
    other = f", or take a form that the model has: {seen}" if seen else ""
    return f"{missing}: RL cannot find a form that is never sampled. Teach it with a `warmup`{other}"


def without_calls(answers: Sequence[Answer]) -> str | None:
    """Return what to do where no conversation called a tool or every call failed; None otherwise."""
    turns = [one for answer in answers for one in answer.turns or ()]
    results = [one for one in turns if one["role"] == "tool"]
    if not turns or any(one["end"] in ("done", "cut") for one in results):
        return None
    if not results:
        return (
            "no conversation called a tool: RL cannot find a call that is never sampled. Ask for it in "
            "data.system_prompt, or take a model that was trained to call tools"
        )
    first = next(one["calls"][0] for one in turns if one.get("calls"))
    told = f"`{call_text(first)}` {END_WORDS[results[0]['end']]}, and the model was told: {results[0]['content']}"
    return f"every call went wrong. {brief(told, LONGEST)}"


def form_seen(recipe: Recipe, texts: Sequence[str]) -> str | None:
    """Return the strictest form that most completions have and the recipe can take, with the setting for it."""
    for marker, name in PLACES.items():
        share = sum(find_answer(text, marker, recipe.data.thinking) is not None for text in texts) / len(texts)
        setting = setting_for(recipe, marker) if share >= MOST else None
        if setting is not None:
            return f"{share:.0%} of the completions have {name}, so set {setting}"
    return None


def setting_for(recipe: Recipe, marker: Named) -> str | None:
    """Return the setting with which a recipe looks for the answer there; None if its rules or rewards refuse that."""
    style = next((style for style, place in STYLE_MARKERS.items() if place == marker), None)
    name, value = ("prompt", style) if style else ("marker", marker)
    data = recipe.data.model_copy(update={"marker": None, name: value})
    changed = recipe.model_copy(update={"data": data})
    refused = any(problem.severity == "error" for check in CHECKS for problem in check(changed))
    read = None if refused else judge_of(changed).layout
    other = " and leave out data.marker" if style and recipe.data.marker is not None else ""
    return None if read is None or read.marker != marker else f"data.{name} to `{value}`{other}"


def advice(
    sampling: Sampling, rewards: Sequence[RewardPreview], longest: int, *, obstacle: str | None = None
) -> list[str]:
    """Return what to change, one line each, the most harmful first.

    Args:
        longest: generation.max_completion_length.
        obstacle: what to do first, as `without_form` says it; before that, rewards say nothing about the problems.
    """
    found = []
    if sampling.flat_share > MANY_FLAT_GROUPS:
        share = f"{sampling.flat_share:.0%} of the groups have no variance"
        found.append(f"{share} and teach nothing: {'first see to their form' if obstacle else flat_remedy(rewards)}")
    if sampling.truncated_share > MUCH_TRUNCATION:
        remedy = f"raise generation.max_completion_length above {longest}"
        share = f"{sampling.truncated_share:.0%} of the completions are cut off"
        found.append(f"{share}; {remedy}, or reward short ones (`soft_overlong`)")
    for one in rewards:
        if one.none_share > 0:
            found.append(f"`{one.name}` could not judge {one.none_share:.0%} of the completions: check the golds")
        if one.weight and one.flat_share == 1:
            found.append(f"`{one.name}` gives every completion of a group the same score: it teaches nothing yet")
    found += [f"`{name}` contributes {share:.1%} of the variance; raise its weight" for name, share in drowned(rewards)]
    slowest = max(rewards, key=lambda one: one.seconds)
    if slowest.seconds > sampling.generation_seconds:
        found.append(f"`{slowest.name}` takes longer than sampling, {slowest.seconds:.1f} s")
    return found


def flat_remedy(rewards: Sequence[RewardPreview]) -> str:
    """Return a remedy for groups without variance; the reward of largest weight says how hard the problems are."""
    main = max(rewards, key=lambda one: one.weight)
    if main.mean is not None and main.high is not None and main.mean > EASY * main.high > 0:
        return "the problems are too easy; use harder ones"
    return "raise num_generations, use easier problems, or add a reward with partial credit such as `tag_count`"


def drowned(rewards: Sequence[RewardPreview]) -> list[tuple[str, float]]:
    """Return the rewards whose share of the variance inside a group is negligible, with that share."""
    spreads = {one.name: abs(one.weight) * one.within for one in rewards if one.weight and one.within > 0}
    whole = sum(spread**2 for spread in spreads.values())
    return [(name, spread**2 / whole) for name, spread in spreads.items() if spread**2 / whole < LITTLE_SHARE]
