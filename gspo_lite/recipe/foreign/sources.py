"""Carries data sets over to a draft, from each form that other trainers have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gspo_lite.recipe.foreign.draft import Draft
from gspo_lite.recipe.foreign.keys import PLACES
from gspo_lite.recipe.foreign.python_text import Code
from gspo_lite.recipe.foreign.settings import Setting

SOURCES = [*PLACES["data.source"].split(), *PLACES["data.eval.source"].split()]
ONE_SOURCE = "a recipe has one source; put several into one .jsonl file"
TRANSFORM = (
    "axolotl's transforms take a whole configuration: write a function of one row, and name it in data.adapter as "
    "`file.py:function`"
)
FILE_TYPES = ("json", "jsonl", "csv", "parquet")
FILE_SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".gz")
# Well-known data sets, with the adapter that reads them and the split that holds problems to evaluate on.
KNOWN_DATA = {
    "openai/gsm8k": ("gsm8k", "test"), "gsm8k": ("gsm8k", "test"), "ai-mo/numinamath-tir": ("math", "test"),
    "digitallearninggmbh/math-lighteval": ("math", "test"), "eleutherai/hendrycks_math": ("math", "test"),
    "open-r1/openr1-math-220k": ("math", None), "jiayi-pan/countdown-tasks-3to4": ("countdown", None),
}  # fmt: skip


def is_file(source: str) -> bool:
    """Return whether a source is a file by its name, not a hub id."""
    return Path(source).suffix.lower() in FILE_SUFFIXES


def carry_source(draft: Draft, setting: Setting) -> None:
    """Carry over a data set: its name, or the first of a list of data sets with `path`, `name`, `split` and `type`."""
    held_out = setting.key == "test_datasets"
    prefix = "data.eval." if held_out else "data."
    value = setting.value
    rows = value.get("datasets", value.get("train")) if isinstance(value, dict) else value
    rows = rows if isinstance(rows, list) else [rows]
    first: Any = rows[0] if rows else None
    entry = first if isinstance(first, dict) else {"path": first}
    name = data_set_name(entry)
    if setting.key == "dataset_name" and name in FILE_TYPES and "data_files" in draft.given:
        return  # `load_dataset("json", data_files=...)`
    if name is None:
        draft.left.append((setting, "names no data set"))
        return
    draft.carry(f"{prefix}source", name, setting)
    subset = next((entry[key] for key in ("name", "config", "subset") if isinstance(entry.get(key), str)), None)
    if subset is not None and not held_out:
        draft.carry("data.subset", subset, setting)
    if isinstance(entry.get("split"), str):
        draft.carry(f"{prefix}split", entry["split"], setting)
    if isinstance(entry.get("field_messages"), str) and not held_out:
        draft.carry("data.columns.prompt", entry["field_messages"], setting)
    if len(rows) > 1:
        draft.left.append((setting, f"the other {len(rows) - 1}: {ONE_SOURCE}"))
    if isinstance(entry.get("type"), str) and "." in entry["type"]:
        adapter = KNOWN_DATA.get(name.lower(), (None,))[0]
        instead = f"data.adapter `{adapter}` reads these rows" if adapter else TRANSFORM
        draft.left.append((setting, f"`type: {entry['type']}`: {instead}"))


def data_set_name(entry: dict[str, Any]) -> str | None:
    """Return the hub id or the file that an entry of a list of data sets names."""
    name = next((entry[key] for key in ("path", "id", "repo_id", "dataset_name") if entry.get(key)), None)
    files = entry.get("data_files")
    if files and (name is None or str(name) in FILE_TYPES):
        name = files[0] if isinstance(files, list) else files
    return name if isinstance(name, str) and not isinstance(name, Code) else None
