"""Custom rewards: `module:function` or `file.py:function`, imported only when a run starts.

A name may stand for a reward, for an instance that can be called, or for what makes one: a class, or a function such
as TRL's `get_soft_overlong_punishment`, which takes options but nothing that a model wrote. What cannot work as a
reward is refused by its signature, before a model is loaded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from gspo_lite.completion.text import Layout
from gspo_lite.errors import UsageError, did_you_mean
from gspo_lite.rewards.contract.signature import (
    BATCH,
    ENVIRONMENTS,
    LIVE,
    SEEN,
    Signature,
    WithOptions,
    is_async_generator,
    signature_of,
    unwrapped,
)
from gspo_lite.system.imports import FAULTS, load_code

PASSED = (*BATCH, *(name for name in LIVE if name != ENVIRONMENTS))  # to every call, unlike columns of the data
SINGLE = ("completion", "prompt")  # columns of the data that TRL passes as lists under the names of several
SINGLE_REMEDY = "put `@gspo_lite.reward` over a function of one `completion`"
BLIND = "takes no `completions`"  # nor anything else that shows what a model wrote
Function = Callable[..., Any]


def load_custom(name: str, options: dict[str, Any], layout: Layout | None = None) -> tuple[Function, str | None]:
    """Import a custom reward, or what makes one.

    Args:
        options: keyword arguments of every call, or of the class or function that makes the reward.
        layout: of the recipe; a reward made by `@reward` follows it.

    Returns:
        The function with its options, and the sha256 of its file, where it has one.

    Raises:
        UsageError: file, module or function is missing, the code cannot be imported, it cannot work as a reward, or an
            option does not fit.
    """
    code = load_code(name, "reward")
    return with_options(code.found, name, options, layout), code.sha256


def with_options(found: Any, name: str, options: dict[str, Any], layout: Layout | None) -> Function:
    """Return the function to call at every rollout."""
    if not callable(found):
        raise UsageError(f"reward `{name}` is a {type(found).__name__}, not a function")
    if not is_marked(found) and makes_rewards(found):
        found, options = made_by(found, name, options), {}
    if is_marked(found):
        return cast(Function, found.with_options(layout, **options))
    refuse_impossible(found, name)
    signature = signature_of(found)
    if signature is not None:
        refuse_options(name, options, signature, passed=(*PASSED, ENVIRONMENTS))
    return WithOptions(found, **options) if options else cast(Function, found)


def is_marked(found: Any) -> bool:
    """Return whether something was made by `@reward`."""
    return hasattr(found, "with_options")


def makes_rewards(found: Function) -> bool:
    """Return whether something is a class, or a function that is never told what a model wrote."""
    signature = signature_of(found)
    return inspect.isclass(found) or (signature is not None and not signature.sees_completions)


def made_by(maker: Function, name: str, options: dict[str, Any]) -> Function:
    """Return the reward that a class or a function makes of these options."""
    signature = signature_of(maker)
    if signature is not None:
        refuse_options(name, options, signature, passed=())
        refuse_missing_options(maker, name, options, signature)
    try:
        made = maker(**options)
    except FAULTS as error:
        message = f"reward `{name}` cannot be made with these options: {type(error).__name__}: {error}"
        raise UsageError(message) from error
    if callable(made):
        return cast(Function, made)
    if inspect.isclass(maker):
        raise UsageError(f"reward `{name}` is a class whose instances cannot be called", "add a method `__call__`")
    if inspect.iscoroutine(made):
        made.close()  # or Python warns that nobody awaited it
    raise UsageError(f"reward `{name}` {BLIND}, and it returned a {type(made).__name__}, not a reward", rename([]))


def refuse_missing_options(maker: Function, name: str, options: dict[str, Any], signature: Signature) -> None:
    """Refuse to make a reward without an option that has no default."""
    missing = [one for one in signature.required if one not in options]
    if not missing:
        return
    wanted = f"add `options: {{{', '.join(f'{one}: ...' for one in missing)}}}`"
    if inspect.isclass(maker) or signature.gives_function or options:
        raise UsageError(f"reward `{name}` is made with {listed(missing)}, which nothing fills", wanted)
    message = f"reward `{name}` {BLIND}, and nothing fills its {listed(missing)}"
    single = any(one in SINGLE for one in missing)
    raise UsageError(message, rename(missing) + ("" if single else f"; if it makes a reward, {wanted}"))


def rename(missing: list[str]) -> str:
    """Return the remedy for a function that takes the completions under another name, or not at all."""
    what = f"rename `{missing[0]}` to `completions`" if missing else "add a parameter `completions`"
    single = f", or {SINGLE_REMEDY}" if any(one in SINGLE for one in missing) else ""
    return f"arguments are passed by name, as in TRL: {what}{single}"


def refuse_impossible(found: Function, name: str) -> None:
    """Refuse what can be called but cannot work as a reward function."""
    if any((one.__module__.split(".")[0], one.__name__) == ("torch", "Module") for one in type(found).__mro__):
        hint = "save it, and write `{name: reward_model, options: {model: FOLDER}}`"
        raise UsageError(f"reward `{name}` is a model, not a function", hint)
    if is_async_generator(found):
        raise UsageError(f"reward `{name}` is an asynchronous generator", "return a list instead of using `yield`")
    signature = signature_of(found)
    if signature is None:
        return
    if signature.required[:1] == ["self"]:
        owner = getattr(unwrapped(found), "__qualname__", "").rpartition(".")[0] or "CLASS"
        hint = f"name a method of an instance, as of `judge` after `judge = {owner}(...)`"
        raise UsageError(f"reward `{name}` is a method of the class `{owner}`, and there is no instance", hint)
    if not signature.sees_completions:
        call = "; if it makes a reward, call it and give what it returns" if inspect.isroutine(found) else ""
        raise UsageError(f"reward `{name}` {BLIND}", rename(signature.required) + call)
    if alone := next((one for one in SINGLE if one in signature.required), None):
        hint = f"name it `{alone}s`, a list with one entry for each completion, or {SINGLE_REMEDY}"
        raise UsageError(f"reward `{name}` takes `{alone}`, which TRL does not pass", hint)


def refuse_options(name: str, options: dict[str, Any], signature: Signature, passed: Sequence[str]) -> None:
    """Refuse options that the function does not take, or that are `passed` at every call."""
    allowed = [one for one in signature.names if one not in passed]
    for option in options:
        if option in passed:
            raise UsageError(f"reward `{name}`: `{option}` is passed at every call and cannot be an option")
        if not signature.any_name and option not in allowed:
            near = did_you_mean(option, allowed)
            raise UsageError(f"reward `{name}` has no option `{option}`{near}; allowed: {listed(allowed) or 'none'}")


def listed(names: Iterable[str]) -> str:
    """Return names in backticks, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


def needed_columns(function: Function) -> list[str]:
    """Return the data columns that a function requires."""
    if hasattr(function, "columns"):  # made by `@reward`
        return list(function.columns)
    signature = signature_of(function)
    return [] if signature is None else [name for name in signature.required if name not in PASSED]


def column_remedy(function: Function, name: str) -> str | None:
    """Return what to do about a column that a function requires and the data does not have."""
    if name == ENVIRONMENTS:
        return "only a trainer with an `environment_factory` passes it: give the parameter a default"
    if is_marked(function):
        return None
    signature = signature_of(function)
    shown = signature is None or any(one in SEEN for one in signature.names)
    add = "add the column to the data, or give the parameter a default or a value in the reward's `options`"
    return add if shown else f"{rename([name])}, or {add}"
