"""The documentation as data: its files, code blocks, tables, headings and links."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    """Return every Markdown file that is written for readers."""
    return sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def name_of(path: Path) -> str:
    """Return a document's path as seen from the root."""
    return str(path.relative_to(ROOT))


def text_of(path: Path) -> str:
    """Return the text of a document."""
    return path.read_text(encoding="utf-8")


def reference(name: str) -> str:
    """Return the text of one page of the reference."""
    return text_of(DOCS / "reference" / name)


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Return every code block as (language, code)."""
    return BLOCK.findall(text)


def shell_lines(text: str) -> list[str]:
    """Return every command of the shell blocks, without its comment."""
    lines = [line for language, code in code_blocks(text) if language == "sh" for line in code.splitlines()]
    return [bare for line in lines if (bare := re.sub(r"(^|\s+)#.*", "", line).strip())]


def rows(text: str, first: str | None = None) -> list[list[str]]:
    """Return the cells of every table row, code marks removed; only rows whose first cell is `first` where given."""
    found = []
    for line in text.splitlines():
        if line.startswith("|") and not set(line) <= set("|-: "):
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if first is None or bare(cells[0]) == first:
                found.append(cells)
    return found


def bare(cell: str) -> str:
    """Return a cell without code marks and without the star that marks public errors."""
    return cell.replace("`", "").removesuffix(" *").strip()


def anchors(text: str) -> set[str]:
    """Return the anchors that the headings of a document make."""
    prose = BLOCK.sub("", text)
    return {_slug(title) for title in re.findall(r"^#+ (.+)$", prose, re.MULTILINE)}


def _slug(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower().replace("`", "")).strip().replace(" ", "-")


def links(text: str) -> list[str]:
    """Return the targets of the links to other parts of the documentation."""
    prose = BLOCK.sub("", text)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]
