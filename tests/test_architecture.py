"""The house is as docs/architecture.md draws it: imports go one way, and nothing is too long."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORDER = (  # lowest first: nothing imports what stands after it
    ("errors",),
    ("config",),
    ("system",),
    ("data",),
    ("models",),
    ("recipes",),
    ("train",),
    ("runs",),
    ("interop",),
    ("fitting",),
    ("weights",),
    ("export",),
    ("analysis",),
    ("generation",),
    ("figures", "results"),
    ("report",),
    ("trackers",),
    ("explorer",),
    ("estimator",),
    ("detector",),
    ("experiments", "bench"),
    ("cli",),
    ("__main__",),
)
FLOOR = {name: floor for floor, names in enumerate(ORDER) for name in names}
MAX_MODULE, MAX_FUNCTION = 300, 60


def modules() -> dict[str, Path]:
    """Returns the file of each module, by its dotted name below `msae_jax`."""
    found = {}
    for top, prefix in ((ROOT / "msae_jax", ""), (ROOT / "experiments", "experiments.")):
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            name = prefix + ".".join(part for part in parts if part != "__init__")
            found[name.strip(".")] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Yields what a module imports below `msae_jax`, in functions too; not for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("msae_jax."))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "msae_jax":
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def edges() -> dict[str, set[str]]:
    """Returns the modules that each module imports."""
    known = modules()
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        found[name] = set()
        for target in imports(path):
            dotted = target.removeprefix("msae_jax.")
            while dotted and dotted not in known:  # a name in a module
                dotted = dotted.rpartition(".")[0]
            if dotted and dotted != name:
                found[name].add(dotted)
    return found


def test_no_folder_imports_one_above_it() -> None:
    above = [
        f"{name} imports {target}"
        for name, targets in edges().items()
        for target in targets
        if name and FLOOR[target.split(".")[0]] > FLOOR[name.split(".")[0]]
    ]
    assert above == []


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = edges()
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in done:
            for target in graph[name]:
                # a package's own __init__ gathers what stands in it
                if not name.startswith(f"{target}."):
                    visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_every_folder_has_a_floor() -> None:
    assert {name.split(".")[0] for name in modules() if name} == set(FLOOR)


def test_no_module_and_no_function_is_too_long() -> None:
    long = []
    for name, path in modules().items():
        text = path.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > MAX_MODULE:
            long.append(f"{name or '__init__'}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                length = node.end_lineno - node.lineno + 1
                if length > MAX_FUNCTION:
                    long.append(f"{name}.{node.name}: {length} lines")
    assert long == []
