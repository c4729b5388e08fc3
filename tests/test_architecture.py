"""The structure that CONTRIBUTING.md draws, held against the imports of the code."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up: a module imports from its own floor and from those before it, never from one after.
FLOORS = (
    ("errors", "lazy", "kinds", "paths", "secrets"),
    ("hookspecs",),
    ("_core_hooks", "plugins"),
    ("catalog",),
    ("streams", "linear", "contracts"),
    ("denoiser", "sampler", "data", "sheet", "ema", "profiles", "progress", "parallel", "guard", "draws"),
    ("training", "testing", "flops"),
    ("config",),
    ("run",),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {name: height for height, names in enumerate(FLOORS) for name in names}
PUBLIC = ("contracts", "errors", "lazy", "paths", "sheet", "streams", "testing")
"""What of diffkit a plugin may import besides the names of ``diffkit`` itself."""


def imports(path: Path, typing_too: bool = True) -> set[str]:
    """Return the absolute names of modules that a file imports, those for type checking only if asked."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    only_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if not typing_too and id(node) in only_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


CORE = sorted((ROOT / "diffkit").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").glob("*/src/**/*.py"))


def place(path: Path) -> str:
    return path.relative_to(ROOT / "diffkit").parts[0].removesuffix(".py")


def test_there_is_code_to_look_at() -> None:
    assert len(CORE) > 30
    assert len(PLUGINS) > 30


def test_every_module_of_the_core_has_a_floor() -> None:
    assert {place(path) for path in CORE} - {"__init__"} == set(FLOOR_OF)


@pytest.mark.parametrize("path", [p for p in CORE if p.parent != ROOT / "diffkit" or p.name != "__init__.py"], ids=str)
def test_the_core_imports_downwards(path: Path) -> None:
    here = FLOOR_OF[place(path)]
    for name in imports(path, typing_too=False):
        if name.startswith("diffkit."):
            there = name.split(".")[1]
            if there in FLOOR_OF:
                assert FLOOR_OF[there] <= here, f"{path.name} imports {name}, which is above it"


@pytest.mark.parametrize("path", CORE, ids=str)
def test_the_core_imports_no_plugin(path: Path) -> None:
    assert not [name for name in imports(path) if name.startswith("diffkit_")]


@pytest.mark.parametrize("path", PLUGINS, ids=str)
def test_plugins_use_only_the_public_api(path: Path) -> None:
    import diffkit

    own = path.relative_to(ROOT / "plugins").parts[2]
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "diffkit" and rest:
            assert rest.split(".")[0] in PUBLIC or rest in diffkit.__all__, f"{name} is not public"
        assert not top.startswith("diffkit_") or top == own, f"{name} belongs to another plugin"


def test_what_builds_a_package_is_what_one_works_with() -> None:
    """CI builds without isolation, and would not miss what a user's pip did not find."""
    installed = (ROOT / "requirements.txt").read_text().splitlines()
    for project in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")):
        assert set(tomllib.loads(project.read_text())["build-system"]["requires"]) <= set(installed), project
