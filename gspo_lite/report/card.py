"""What a model card says to programs: its front matter, which the hub shows and searches, and the code that loads it.

Owns which facts of a run become which key. Must not know the card's text.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gspo_lite.data.local import HUB_ID, is_local
from gspo_lite.data.rows import EMBEDDED
from gspo_lite.recipe.methods import METHODS
from gspo_lite.report.facts import ROWS, Publication, RunFacts
from gspo_lite.system import run_folder
from gspo_lite.system.figures import interval

if TYPE_CHECKING:
    from huggingface_hub import EvalResult


def for_programs(run: RunFacts) -> dict[str, str]:
    """Return what the template of a card takes from here."""
    return {"front_matter": front_matter(run), "loading": loading(run)}


def front_matter(run: RunFacts) -> str:
    """Return the front matter of a run's model card as YAML; what is not known is left out."""
    from huggingface_hub import ModelCardData

    published = run.published or Publication(run.name)
    card = ModelCardData(
        base_model=run.base,
        datasets=hub_datasets(run.recipe) or None,
        language=languages(run.recipe, published),
        library_name="transformers" if run.whole else "peft",
        pipeline_tag=task(run),
        tags=tags(run),
        model_name=run.name,
        eval_results=results(run) or None,
        **published.license,
    )
    return str(card.to_yaml())


def loading(run: RunFacts) -> str:
    """Return the Python that loads the trained model, with its base if it is an adapter."""
    weights = run.published.repository if run.published else run_folder.ADAPTER
    library, auto = "transformers", "AutoModelForImageTextToText" if run.images else "AutoModelForCausalLM"
    if not run.images and not run.whole:
        library, auto = "peft", "AutoPeftModelForCausalLM"
    reader = "processor" if run.images else "tokenizer"
    return "\n".join(
        [
            f"from {library} import {auto}",
            f"from transformers import Auto{reader.capitalize()}",
            "",
            f'model = {auto}.from_pretrained("{weights}")',
            f'{reader} = Auto{reader.capitalize()}.from_pretrained("{weights}")',
        ]
    )


def task(run: RunFacts) -> str:
    """Return the hub's name of what the model does."""
    return "image-text-to-text" if run.images else "text-generation"


def tags(run: RunFacts) -> list[str]:
    """Return the words by which the model can be found."""
    method = METHODS[run.recipe["objective"]["algorithm"]].tag
    unsloth = run.environment.get("backend") == "unsloth"
    return [method, *([] if run.whole else ["lora"]), "trl", *(["unsloth"] if unsloth else [])]


def hub_datasets(recipe: dict[str, Any]) -> list[str]:
    """Return the ids of the hub data sets that a recipe trains on."""
    sources = [recipe["data"]["source"], (recipe.get("warmup") or {}).get("source")]
    return [source for source in dict.fromkeys(sources) if source and is_hub_dataset(source)]


def is_hub_dataset(source: str) -> bool:
    """Return whether a source is the id of a hub data set."""
    return source not in EMBEDDED and not is_local(source) and HUB_ID.fullmatch(source) is not None


def languages(recipe: dict[str, Any], published: Publication) -> list[str] | None:
    """Return the languages of the problems; None if they are not known."""
    embedded = ["en"] if recipe["data"]["source"] in EMBEDDED else None
    return list(published.languages) or embedded


def results(run: RunFacts) -> list[EvalResult]:
    """Return the held-out accuracies after training with their intervals; none if accuracy was not measured."""
    from huggingface_hub import EvalResult

    after, data = run.evaluation.get("after", {}), run.recipe["data"]
    held_out = data.get("eval", {})
    if after.get("accuracy") is None:
        return []
    source = held_out.get("source") or data["source"]
    named = source in EMBEDDED or is_hub_dataset(source)  # a file has no configuration and no split
    return [
        EvalResult(
            task_type=task(run),
            dataset_type=source if named else Path(source).name,
            dataset_name=f"{source}, a task of gspo-lite" if source in EMBEDDED else Path(source).name,
            dataset_config=data.get("subset") if named else None,
            dataset_split=held_out.get("split") if named else None,
            metric_type="accuracy",
            metric_name=f"{label}, 95% interval {interval(after[ends])}, {after['n']} held-out problems",
            metric_value=round(after[key], 4),
            metric_args={"ci95": [round(end, 4) for end in after[ends]], "n": after["n"]},
        )
        for label, key, ends in ROWS
        if ends and after[ends]
    ]
