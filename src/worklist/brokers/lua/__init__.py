"""Scripts for Redis: one for each verb, in a file ``verb_<name>.lua``, behind the parts that all of them share."""

from importlib import resources

PARTS = ("1_base", "2_keys", "3_lanes", "4_groups", "5_jobs", "6_settle", "7_looking")


def script(verb: str, **constants: object) -> str:
    """Return the script of a verb, whole; ``@NAME@`` in it is replaced by the constant of that name."""
    text = "\n".join(_read(name) for name in (*PARTS, f"verb_{verb}"))
    for name, value in constants.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def _read(name: str) -> str:
    return (resources.files(__name__) / f"{name}.lua").read_text(encoding="utf-8")
