"""Scripts for Redis: one for each verb, in a file ``verb_<name>.lua``, behind the parts that it needs."""

from importlib import resources

PARTS = ("base", "plain", "records", "keys", "lanes", "groups", "jobs", "settle", "looking")
"""What scripts share. Each part may use what those before it define, and within functions also what comes later."""
SMALL = {"put_plain": PARTS[:2], "peek": PARTS[:1], "report": ("base", "settle"), "now": PARTS[:1]}
"""Verbs that are called often for little, and do with fewer parts: to define a function takes its time, too."""


def script(verb: str, **constants: object) -> str:
    """Return the script of a verb, whole; ``@NAME@`` in it is replaced by the constant of that name."""
    text = "\n".join(_read(name) for name in (*SMALL.get(verb, PARTS), f"verb_{verb}"))
    for name, value in constants.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def _read(name: str) -> str:
    return (resources.files(__name__) / f"{name}.lua").read_text(encoding="utf-8")
