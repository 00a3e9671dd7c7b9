"""Takes one name of another library away, or changes it, as a release could: for the tests of the table of hooks.

absent            the name is gone from where it belongs
unused by USER    the method that has to use it does not speak of it any more
changed           its parameters, or what is written in it, come in another order
"""

import inspect
import re
from types import CodeType, FunctionType

from gspo_lite.training import check_hooks
from gspo_lite.training.hooks import GENERATED, HOOKS, TRAINER


def cases(path, live):
    """(hook, name, way) for every name that this trainer needs and every way in which it can go wrong."""
    for hook in HOOKS:
        if hook.path in ("", path):
            yield from ((hook, name, way) for name in hook.names.split() for way in ways(hook, name, live))


def ways(hook, name, live):
    if hook.kind in ("overridden", "called") and not hasattr(object, name):  # all have `__init__`
        yield "absent"
    if hook.kind in ("read", "key") and hook.owner != TRAINER:
        yield "absent"
    yield from (f"unused by {user}" for user in hook.user.split())
    if hook.kind == "written" or (hook.takes and spells_out(getattr(live, name, None))):
        yield "changed"


def spells_out(function):
    """Whether a method names its parameters: Unsloth's wrappers do not."""
    return (
        function is None
        or len(inspect.signature(function).parameters) > 2
        or "args" not in str(inspect.signature(function))
    )


def take_away(monkeypatch, hook, name, way, live, module=None):
    """Make the name absent, unused or changed until the monkeypatch is undone."""
    owner = {TRAINER: live, GENERATED: module}.get(hook.owner) or check_hooks.resolve_name(hook.owner)
    if way.startswith("unused"):
        for method in check_hooks.run_by(live, way.split()[-1]):
            rename(monkeypatch, method, name)
    elif way == "changed" and hook.kind == "written":
        others = (
            "old_per_token_logps, _",
            "coef_1, completion_mask",
            "GRPO.apply(",
            "self.log(logs",
            "model.generate(",
            "packing_grad_ok",
        )
        source, other = inspect.getsource, "|".join(map(re.escape, others))
        monkeypatch.setattr(inspect, "getsource", lambda f: re.sub(other, "other", source(f)))
    elif way == "changed":
        names = ["self", "more", *hook.takes.split()]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        signature = inspect.Signature([inspect.Parameter(one, kind) for one in names])
        monkeypatch.setattr(getattr(owner, name), "__signature__", signature, raising=False)
    elif isinstance(owner, type):
        forget(monkeypatch, owner, name)
    elif inspect.ismodule(owner):
        monkeypatch.delattr(owner, name)
    else:
        rename(monkeypatch, owner, name)


def forget(monkeypatch, owner, name):
    """Take a name from a class and those behind it, and from their code."""
    for one in owner.__mro__[:-1]:
        if name in vars(one):
            monkeypatch.delattr(one, name)
        monkeypatch.delitem(vars(one).get("__dataclass_fields__", {}), name, raising=False)
        for attribute, value in list(vars(one).items()):
            if isinstance(value, tuple) and name in value:
                monkeypatch.setattr(one, attribute, ())
            rename(monkeypatch, value, name)


def rename(monkeypatch, function, name):
    """Let a function, and those it wraps, speak of something else."""
    if isinstance(function, FunctionType) and name in check_hooks.words(function):
        monkeypatch.setattr(function, "__code__", renamed(function.__code__, name))
        for cell in function.__closure__ or ():
            rename(monkeypatch, cell.cell_contents, name)


def renamed(value, name):
    """The same code or constant with another name in place of this one."""
    if isinstance(value, CodeType):
        names = renamed(value.co_names, name)
        return value.replace(co_names=names, co_consts=renamed(value.co_consts, name))
    if isinstance(value, tuple):
        return tuple(renamed(one, name) for one in value)
    return f"other {name}" if value == name else value
