"""The house: floors, import walls, and light commands, read from the code itself."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gspo_lite"
FLOORS = {
    "errors": 0, "objective": 0,
    "system": 1, "completion": 1,
    "recipe": 2,
    "rewards": 3, "credit": 3, "tools": 3,
    "data": 4, "models": 4, "checked_recipe": 4,
    "training": 5, "sizing": 5,
    "load_parts": 6, "load_trained": 6, "report": 6, "doctor": 6,
    "evaluation": 7,
    "run": 8, "export": 8,
    "lab": 9,
    "cli": 10, "__main__": 11,
}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "unsloth", "sympy", "math_verify", "matplotlib", "wandb")


def name_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts


def imports(path):
    """Modules a file imports anywhere in it, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            if node.module == "gspo_lite":
                yield from (f"gspo_lite.{alias.name}" for alias in node.names)


def test_the_hall_has_at_most_ten_doors():
    assert len(list(PACKAGE.glob("*.py"))) <= 10


def imported_modules(path, known):
    """Modules of the package that a file imports, submodules rather than the package they are taken from."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module


def test_no_module_imports_itself_by_way_of_others():
    known = {".".join(("gspo_lite", *name_of(path))).removesuffix(".__init__"): path for path in FILES}
    del known["gspo_lite"]  # public names, loaded on first use
    graph = {name: sorted(set(imported_modules(path, known)) & known.keys()) for name, path in known.items()}
    done, above = set(), []

    def visit(name):
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            above.append(name)
            for module in graph[name]:
                visit(module)
            above.pop()
            done.add(name)

    for name in graph:
        visit(name)


def test_contributing_shows_these_floors():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^ {4,5}(\d+)  (.+)$", text, re.MULTILINE)
    shown = {name.rstrip("/"): int(floor) for floor, names in rows for name in names.split(", ")}
    assert shown == {name: floor for name, floor in FLOORS.items() if name != "__main__"}


def test_every_file_that_contributing_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:gspo_lite|tests|recipes|docs|benchmarks|notebooks)/[\w./]+)`", text)
    assert len(named) > 20
    assert [name for name in named if "KIND" not in name and "NAME" not in name and not (ROOT / name).exists()] == []


def test_every_file_stands_on_a_floor():
    assert {name_of(path)[0] for path in FILES} - {"__init__"} == set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(name_of(path)))
def test_imports_point_down(path):
    here = name_of(path)
    if here == ("__init__",):
        return  # public names, loaded on first use
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "gspo_lite" and len(parts) > 1 and parts[1] in FLOORS and parts[1] != here[0]:
            same_floor = FLOORS[parts[1]] == FLOORS[here[0]]
            assert FLOORS[parts[1]] <= FLOORS[here[0]], f"{'/'.join(here)} imports {module}"
            if same_floor:
                assert here[0] not in {m.split(".")[1] for f in files_of(parts[1]) for m in imports(f) if "." in m}


def files_of(part):
    folder = PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{part}.py"]


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("unsloth", {"models/load", "training/loss/unsloth"}),
        ("unsloth_zoo", {"training/loss/unsloth"}),
        (
            "trl",
            {
                "training/config",
                "training/tool_roles",
                "training/trainer",
                "training/build",
                "training/loss/stock",
                "training/loss/unsloth",
                "training/warmup",
            },
        ),
    ],
)
def test_import_walls(library, allowed):
    for path in FILES:
        if any(module.split(".")[0] == library for module in imports(path)):
            assert "/".join(name_of(path)) in allowed


def test_no_unsafe_loading_and_no_evaluation_of_text():
    banned = {"pickle.load", "pickle.loads", "yaml.load", "torch.load", "eval", "exec", "os.system"}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called == "exec":  # Unsloth's own loss with one more branch, from its syntax tree
                assert name_of(path) == ("training", "loss", "unsloth")
            else:
                assert called not in banned, f"{path.name}: {called}"


def test_modules_stay_readable():
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path.name


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["check", "quickstart"],
        ["recipes"],
        ["rewards", "list"],
        ["rewards", "show", "math_correct"],
        ["schema"],
        ["plan", "quickstart", "--vram", "8"],
        ["doctor", "--quick"],
    ],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(command):
    code = (
        "import sys\nfrom gspo_lite.cli import main\n"
        f"sys.argv = ['gspo-lite', *{command!r}]\n"
        "try:\n    main()\nexcept SystemExit as error:\n    assert not error.code, error.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "[]"
    assert done.stdout


def test_the_package_itself_imports_nothing_heavy():
    code = f"import sys, gspo_lite; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there():
    import gspo_lite

    names = {"GSPOConfig", "GSPOTrainer", "GuardSettings", "__version__", "load_recipe", "reward"}
    assert set(gspo_lite.__all__) == names
    for name in gspo_lite.__all__:
        assert getattr(gspo_lite, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gspo_lite.nothing
