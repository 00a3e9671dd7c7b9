"""Calls reward functions, sync or async, within a time limit that works from any thread and never delays the exit.

Python cannot end a thread. A call that does not return in time is therefore left behind in a daemon thread: its
result is ignored, and the process can still exit. Must not know what a reward may return.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from gspo_lite.rewards.contract.signature import LIVE, signature_of

GRACE = 0.5  # seconds in which a late async call may still cancel itself
FAULTS = (Exception, SystemExit, asyncio.CancelledError)  # of a reward; anything else concerns the process


@dataclass(frozen=True)
class Outcome:
    """The outcome of one call: a value, an exception, or neither because it was late."""

    value: Any = None
    error: BaseException | None = None
    late: bool = False


def call_each(
    function: Callable[..., Any],
    calls: Sequence[Mapping[str, Any]],
    limit: float | None,
    faults: tuple[type[BaseException], ...] = FAULTS,
) -> list[Outcome]:
    """Call a function once for each set of arguments; async calls run concurrently, others in turn.

    Args:
        calls: arguments of each call by name. The function gets copies of those that it takes, so that it cannot
            change them for other calls. If it returns an iterator, its values are collected within the time limit.
        limit: seconds for all calls together; a call that has not returned by then is late. None means no limit;
            sync functions then run in the caller's thread.
        faults: exceptions that are an outcome.

    Returns:
        One outcome per call. Exceptions other than `faults`, such as KeyboardInterrupt, are raised instead.
    """
    done: dict[int, Outcome] = {}
    until = None if limit is None else time.monotonic() + limit
    waiting: dict[int, Any] = {}

    def start() -> None:
        for index, inputs in enumerate(calls):
            try:
                value = called(function, inputs)
                if inspect.isawaitable(value):
                    waiting[index] = value
                else:
                    done[index] = Outcome(collected(value))
            except BaseException as error:  # in this thread nobody else would see it
                done[index] = Outcome(error=error)

    def finish() -> None:
        if waiting:
            asyncio.run(wait_for_all(waiting, done, until))

    def both() -> None:
        start()
        finish()

    if limit is None:
        start()
        in_thread(finish, None)  # a notebook already runs an event loop in the caller's thread
    else:
        in_thread(both, limit + GRACE)
    outcomes = [done.get(index, Outcome(late=True)) for index in range(len(calls))]
    for outcome in outcomes:
        if outcome.error is not None and not isinstance(outcome.error, faults):
            raise outcome.error
    return outcomes


def in_thread(work: Callable[[], Any], limit: float | None) -> None:
    """Do work in a daemon thread and wait for it, at most `limit` seconds."""
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    thread.join(limit)


async def wait_for_all(waiting: Mapping[int, Any], done: dict[int, Outcome], until: float | None) -> None:
    """Await all calls at once and store their outcomes; late calls are cancelled with the loop."""
    asyncio.get_running_loop().set_default_executor(DaemonThreads())

    async def note(index: int, awaitable: Any) -> None:
        try:
            outcome = Outcome(collected(await awaitable))
        except BaseException as error:
            outcome = Outcome(error=error)
        if not over:
            done[index] = outcome

    over = False
    tasks = [asyncio.ensure_future(note(index, awaitable)) for index, awaitable in waiting.items()]
    await asyncio.wait(tasks, timeout=None if until is None else max(until - time.monotonic(), 0))
    over = True


class DaemonThreads(ThreadPoolExecutor):
    """Threads for `asyncio.to_thread` that may be left behind; the standard library's would delay the exit."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(*args, **options))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        Executor.shutdown(self, wait=False)


def called(function: Callable[..., Any], inputs: Mapping[str, Any]) -> Any:
    """Call a function with copies of the inputs that it takes."""
    signature = signature_of(function)
    positional, named = signature.arguments(inputs) if signature is not None else ([], dict(inputs))
    copies = {name: value if name in LIVE else copied(value) for name, value in named.items()}
    return function(*map(copied, positional), **copies)


def collected(value: Any) -> Any:
    """Return the values of an iterator, such as a generator, as a list; anything else unchanged."""
    return list(value) if isinstance(value, Iterator) else value


def copied(value: Any) -> Any:
    """Return a copy of nested lists and dicts and of the arrays in them; anything else is shared."""
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(inner) for inner in value) if type(value) in (list, tuple) else value
    return value.copy() if hasattr(value, "dtype") and hasattr(value, "copy") else value


def rows_of(inputs: Mapping[str, Any], rows: Sequence[int], count: int) -> dict[str, Any]:
    """Return the inputs of some rows of a call, selected from every input that has one entry per completion."""
    return {
        name: [value[row] for row in rows] if isinstance(value, list | tuple) and len(value) == count else value
        for name, value in inputs.items()
    }
