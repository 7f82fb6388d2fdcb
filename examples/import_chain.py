"""How one module of the standard library comes to import another: a breadth-first search of the import graph.

A module's neighbours are what its source imports, read with `ast`; nothing is imported, and only modules that the
search comes to are read.

python examples/import_chain.py [FROM TO]
"""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from worklist import bfs, shortest_path


@cache
def imports(module: str) -> tuple[str, ...]:
    """Return the modules of the standard library that a module imports, at its top or inside functions."""
    source = source_of(module)
    if source is None:
        return ()
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(source.read_bytes())
    names = (name for node in ast.walk(tree) for name in imported(node, package))
    return tuple(dict.fromkeys(name for name in names if name.partition(".")[0] in sys.stdlib_module_names))


def imported(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the full names that an import statement may bring in."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        origin = ".".join([*above, node.module or ""]).strip(".")
        yield origin
        yield from (f"{origin}.{alias.name}" for alias in node.names if is_module(f"{origin}.{alias.name}"))


@cache
def source_of(module: str) -> Path | None:
    """Return the file of a module written in Python, None for one that is built in or is no module."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not (spec.origin or "").endswith(".py"):
        return None
    place = Path(spec.origin or "")
    if not rest:
        return place
    inner = place.parent.joinpath(*rest)
    found = (inner.with_suffix(".py"), inner / "__init__.py")
    return next((file for file in found if place.name == "__init__.py" and file.is_file()), None)


def is_module(name: str) -> bool:
    return source_of(name) is not None


def main(origin: str, goal: str) -> int:
    for name in (origin, goal):
        if name not in sys.stdlib_module_names and not is_module(name):
            print(f"{name} is no module of the standard library", file=sys.stderr)
            return 1
    path = shortest_path(origin, goal, imports)
    print(" -> ".join(path) if path else f"nothing that {origin} imports leads to {goal}")
    reached = [visit.depth for visit in bfs(origin, imports)]
    print(f"{len(reached) - 1:,} modules can be reached from {origin}, the farthest in {reached[-1]} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ("http.server", "zipfile"))))
