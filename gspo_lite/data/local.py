"""What a `source` of a recipe names, told by its spelling and by what is on this machine. Standard library only.

Owns the file types that can be read, and what is said about all others. Opens no file.
"""

from __future__ import annotations

import glob
import os.path
import re
from pathlib import Path

from gspo_lite.errors import did_you_mean

TYPES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
COMPRESSED = (".gz", ".bz2", ".xz")  # of the text types
REMEDIES = {  # what people name as a source and cannot be read, and what to do with it
    "a spreadsheet; save it as CSV": (".xlsx", ".xls", ".ods"),
    "an archive; unpack it and name the file or the folder": (".zip", ".tar", ".tgz", ".7z", ".rar"),
    "packed with zstd; unpack it (`unzstd`)": (".zst",),
    "text without columns; write one JSON object a line into a .jsonl file": (".txt", ".md"),
    "a pickle, which may run code when it is read; save it as Parquet": (".pkl", ".pickle", ".pt", ".pth"),
    "an array without columns; save it as Parquet": (".npy", ".npz"),
    "a database; export its table as CSV": (".db", ".sqlite"),
    "not a table; save it as JSON": (".yaml", ".yml", ".xml", ".html"),
}
UNREAD = {suffix: what for what, suffixes in REMEDIES.items() for suffix in suffixes}
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
HUB_PAGE = re.compile(r"(?:https?://(?:www\.)?huggingface\.co/datasets/|hf://datasets/)([\w.-]+/[\w.-]+).*")


def file_type(path: Path) -> str:
    """Return the suffix that says how a file is read, without that of its packing: `.jsonl` of `a.jsonl.gz`."""
    inner = Path(path.stem).suffix.lower()
    packed = path.suffix.lower() in COMPRESSED and inner in TYPES and inner not in (".parquet", ".arrow")
    return inner if packed else path.suffix.lower()


def path_of(source: str) -> Path:
    """Return the path that a source spells; unlike Path.expanduser it takes any text, such as `~nobody`."""
    return Path(os.path.expanduser(source))


def is_pattern(source: str) -> bool:
    """Return whether a source names files by a pattern, as in `data/*.jsonl`."""
    return any(sign in source for sign in "*?[") and not os.path.exists(path_of(source))


def matching(source: str) -> list[Path]:
    """Return the files that match a pattern, sorted by name."""
    return [Path(name) for name in sorted(glob.glob(str(path_of(source)), recursive=True))]


def is_local(source: str) -> bool:
    """Return whether a source names something on this machine, there or not, instead of a hub data set."""
    path = Path(source)
    known = file_type(path) in (*TYPES, *UNREAD) or path.suffix.lower() in COMPRESSED
    return known or source.startswith((".", "/", "~")) or is_pattern(source) or os.path.exists(path_of(source))


def is_folder(source: str) -> bool:
    """Return whether a source is a folder of this machine."""
    return os.path.isdir(path_of(source))


def source_problem(source: str) -> str | None:
    """Return why a source cannot be read, with a remedy; None if it is there, or may be a hub data set."""
    page = HUB_PAGE.fullmatch(source)
    if page:
        return f"`{source}` is an address; write the id, `{page[1]}`"
    if "://" in source:
        return f"`{source}` is an address; download the file (`curl -LO {source}`) and name it"
    if is_pattern(source):
        files = matching(source)
        return next(filter(None, map(file_problem, files)), None) if files else f"no file matches `{source}`"
    if is_local(source):
        return file_problem(path_of(source))
    return None if HUB_ID.fullmatch(source) else f"`{source}` is neither a file nor the id of a hub data set"


def file_problem(path: Path) -> str | None:
    """Return why a file cannot be read; None if it is there and of a known type, or a folder."""
    if os.path.isdir(path):
        return None
    if not os.path.isfile(path):
        there = (entry.name for entry in path.parent.iterdir()) if os.path.isdir(path.parent) else ()
        near = did_you_mean(path.name, there) or f"; a path is relative to the current folder, `{Path.cwd()}`"
        return f"there is no file `{path}`{near}"
    kind = file_type(path)
    if kind in TYPES:
        return None
    what = f"is {UNREAD[kind]}" if kind in UNREAD else f"has an unknown file type; allowed: {', '.join(TYPES)}"
    return f"`{path}` {what}"
