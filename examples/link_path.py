"""How many clicks from one page of a documentation to another: a breadth-first search of its links.

A page's neighbours are the pages that it links to. Only pages that the search comes to are read.

python examples/link_path.py [FOLDER FROM TO]
"""

import re
import sys
from functools import partial
from pathlib import Path

from worklist import levels, shortest_path

DOCS = Path(__file__).parents[1] / "docs"
LINK = re.compile(r"\]\(([^)#\s]+\.md)[^)]*\)")


def linked(page: Path, folder: Path) -> list[Path]:
    """Return the pages of this folder that a page links to, in the order in which it does."""
    targets = ((page.parent / target).resolve() for target in LINK.findall(page.read_text(encoding="utf-8")))
    return [target for target in targets if target.is_file() and target.is_relative_to(folder)]


def main(folder: Path, origin: str, goal: str) -> int:
    folder = folder.resolve()
    start, end = folder / origin, folder / goal
    for page in (start, end):
        if not page.is_file():
            print(f"there is no page {page.relative_to(folder)} in {folder.name}", file=sys.stderr)
            return 1
    path = shortest_path(start, end, partial(linked, folder=folder))
    print(" -> ".join(str(page.relative_to(folder)) for page in path) if path else f"no links lead to {goal}")
    for clicks, pages in enumerate(levels(start, partial(linked, folder=folder))):
        print(f"{clicks} clicks: {len(pages)} pages")
    return 0


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(main(Path(given[0]), *given[1:]) if given else main(DOCS, "index.md", "decisions/0003-lease-numbers.md"))
