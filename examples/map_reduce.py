"""Words in many files, counted by many workers and added up by one job: map and reduce, as a workflow.

The jobs live in memory, unless WORKLIST_URL names a file; then workers in other terminals may help, and what is left
of a run that was killed is done by the next worker.

python examples/map_reduce.py [FOLDER]
"""

import os
import re
import sys
from collections import Counter
from pathlib import Path

from worklist import Worklist, chain

app = Worklist(os.environ.get("WORKLIST_URL", "memory://"))


@app.task(retries=2)
def count(path: str) -> dict[str, int]:
    """Return how often each word is in one file."""
    return Counter(re.findall(r"[a-z]{5,}", Path(path).read_text(encoding="utf-8").lower()))


@app.task
def merge(counts: list[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


@app.task
def most_common(words: dict[str, int], how_many: int) -> list[tuple[str, int]]:
    return sorted(words.items(), key=lambda item: (-item[1], item[0]))[:how_many]


def main(folder: Path) -> None:
    files = sorted(str(path) for path in folder.rglob("*.md"))
    if not files:
        sys.exit(f"there is no .md file in {folder}; name another folder")
    job = chain(count.map(files), merge.s(), most_common.s(how_many=5)).enqueue()
    app.work(until_empty=True)
    print(f"the most common words of {len(files)} files:")
    for word, times in job.result():
        print(f"{times:>6,} {word}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs")
