"""The app of the demo: one task, which finds the longest functions in one source file.

Run `make demo`, or by hand: put jobs in, and `worklist worker stdlib_functions:app --processes 3`.
"""

import ast
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from worklist import Worklist

app = Worklist(lease="3s")  # short, so that the jobs of a worker that was killed come back soon


@dataclass(frozen=True)
class Function:
    """A function in a file."""

    name: str
    file: str
    line: int
    length: int
    """In lines, decorators not counted."""


@dataclass(frozen=True)
class Findings:
    """What there is to know of one file."""

    lines: int
    functions: int
    longest: list[Function]


@app.task
def longest_functions(file: str) -> Findings:
    """Parse a file and return its ten longest functions. A file that is no Python raises SyntaxError."""
    with tokenize.open(file) as opened:
        source = opened.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old code warns of its escapes
        tree = ast.parse(source, file)
    found = [
        Function(name, file, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1)
        for name, node in functions_in(tree)
    ]
    longest = sorted(found, key=lambda function: -function.length)[:10]
    return Findings(source.count("\n"), len(found), longest)


def functions_in(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield every function with its qualified name, the nested ones too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node
        inner = f"{prefix}{node.name}." if isinstance(node, ast.ClassDef | ast.FunctionDef) else prefix
        yield from functions_in(node, inner)
