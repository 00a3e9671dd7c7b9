"""Reads settings out of a Python script or snippet: the literal arguments of the calls that configure a trainer.

The text is parsed, never executed. A name stands for the literal that it was assigned; sums, differences and products
of such numbers are calculated, as in `max_completion_length = max_seq_length - max_prompt_length`.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterator
from typing import Any

from gspo_lite.errors import RecipeError

# Calls whose keywords are settings, and the names of their positional arguments; a prefix keeps options apart.
CALLS: dict[str, tuple[str, ...]] = {
    "GRPOConfig": ("output_dir",), "GSPOConfig": ("output_dir",), "UnslothGRPOConfig": ("output_dir",),
    "GRPOTrainer": ("model", "reward_funcs"), "GSPOTrainer": ("model", "reward_funcs"),
    "ModelConfig": ("model_name_or_path",), "ScriptArguments": ("dataset_name",),
    "GRPOScriptArguments": ("dataset_name",), "LoraConfig": (), "get_peft_model": ("model",),
    "from_pretrained": ("model_name",), "load_dataset": ("dataset_name", "dataset_config"),
    "get_soft_overlong_punishment": ("max_completion_len", "soft_punish_cache"),
    "get_cosine_scaled_reward": ("max_len",), "get_repetition_penalty_reward": ("ngram_size", "max_penalty"),
}  # fmt: skip
PREFIXES = {"get_cosine_scaled_reward": "cosine_", "get_repetition_penalty_reward": "repetition_"}
RENAMED = {("load_dataset", "path"): "dataset_name", ("load_dataset", "name"): "dataset_config",
           ("load_dataset", "split"): "dataset_train_split"}  # fmt: skip
OBJECTS = (
    "args",
    "train_dataset",
    "eval_dataset",
    "processing_class",
    "tokenizer",
    "peft_config",
    "self",
)  # no settings
MODELS = re.compile(r"(?:Model\w*|AutoModel\w*)$")  # whose from_pretrained loads the model, not a tokenizer
MAGIC = re.compile(r"^([ \t]*)[!%].*$", re.MULTILINE)  # lines of a notebook for the shell
LARGEST = 10**12  # of a number that is calculated
Found = tuple[str, Any, int]  # key, value, line


class Code(str):
    """A value that only running the script could tell, as its source text."""


def read_python(text: str, name: str) -> list[Found]:
    """Return the settings of a script, of a single call, or of a bare argument list, in their order.

    Raises:
        RecipeError: the text, which messages call `name`, is not Python or sets nothing.
    """
    text = MAGIC.sub(r"\1pass", text)
    try:
        found = settings_in(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        found, problem = [], f"{name}:{getattr(error, 'lineno', None) or 1}: is not Python: {error}"
    else:
        problem = f"{name}: has no call of GRPOConfig with arguments that are written out"
    if not found:  # perhaps the arguments alone
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            found = [(key, value, line - 1) for key, value, line in settings_in(f"GRPOConfig(\n{text}\n)")]
    if not found:
        raise RecipeError([problem])
    return found


def settings_in(text: str) -> list[Found]:
    """Return the settings in the calls of a text."""
    tree = ast.parse(text)
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, value_of(node.value, names)
            names[name] = value if names.setdefault(name, value) == value else Code(name)  # assigned twice
    calls = sorted((node for node in ast.walk(tree) if isinstance(node, ast.Call)), key=lambda node: node.lineno)
    return [one for call in calls for one in arguments(call, names)]


def arguments(call: ast.Call, names: dict[str, Any]) -> Iterator[Found]:
    """Return the settings among the arguments of one call."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called not in CALLS or (called == "from_pretrained" and not MODELS.search(ast.unparse(owner or call.func))):
        return
    pairs: list[tuple[str | None, ast.expr]] = list(zip(CALLS[called], call.args, strict=False))
    for key, node in pairs + [(keyword.arg, keyword.value) for keyword in call.keywords]:
        value = value_of(node, names)
        if key is None:  # **options
            yield from ((inner, one, node.lineno) for inner, one in value.items()) if isinstance(value, dict) else ()
        elif key not in OBJECTS and not (key == "model" and isinstance(value, Code)):
            yield RENAMED.get((called, key), PREFIXES.get(called, "") + key), value, node.lineno


def value_of(node: ast.expr, names: dict[str, Any]) -> Any:
    """Return the value of an expression as far as literals go; anything else as Code."""
    if isinstance(node, ast.Name):
        return names.get(node.id, Code(node.id))
    if isinstance(node, ast.List | ast.Tuple):
        return [value_of(one, names) for one in node.elts]
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        keys = [str(ast.literal_eval(key)) for key in node.keys if key is not None]
        return dict(zip(keys, (value_of(one, names) for one in node.values), strict=True))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {word.arg: value_of(word.value, names) for word in node.keywords if word.arg}
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        owner = value_of(node.value, names)
        return (
            owner.get(node.slice.value, Code(ast.unparse(node))) if isinstance(owner, dict) else Code(ast.unparse(node))
        )
    if isinstance(node, ast.BinOp):
        return calculated(node, value_of(node.left, names), value_of(node.right, names))
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return Code(ast.unparse(node))


def calculated(node: ast.BinOp, left: Any, right: Any) -> Any:
    """Return the sum, difference or product of two plain numbers; anything else as Code."""
    numbers = all(type(one) in (int, float) and abs(one) <= LARGEST for one in (left, right))
    if numbers and isinstance(node.op, ast.Add):
        return left + right
    if numbers and isinstance(node.op, ast.Sub):
        return left - right
    if numbers and isinstance(node.op, ast.Mult):
        return left * right
    return Code(ast.unparse(node))
