"""Settings: each stands in its page, with its true default; what is nearly one is told of."""

from pathlib import Path

import pytest

from worklist.core.errors import ConfigError
from worklist.crawl.settings import TABLE, WITHOUT_EFFECT, Settings

PAGE = (Path(__file__).parents[2] / "docs/reference/crawl-settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TABLE)
def test_each_is_described(name):
    row = TABLE[name]
    plain = not isinstance(row.default, dict | list) or len(str(row.default)) < 60
    default = f"`{row.default}`" if plain else f"{len(row.default)} entries"
    assert f"| `{name}` | {default} | {row.help} |" in PAGE.splitlines()


def test_those_without_effect():
    assert all(f"| `{name}` | {why} |" in PAGE.splitlines() for name, why in WITHOUT_EFFECT.items())
    assert not WITHOUT_EFFECT.keys() & TABLE.keys()


def test_priorities_and_kinds():
    settings = Settings({"RETRY_TIMES": "5", "ROBOTSTXT_OBEY": "no"}, "cmdline")
    settings.set("RETRY_TIMES", 1, "spider")
    assert settings.getint("RETRY_TIMES") == 5
    assert settings.getbool("ROBOTSTXT_OBEY") is False
    with pytest.raises(ConfigError, match="RETRY_TIMES is 'x'"):
        Settings({"RETRY_TIMES": "x"}).getint("RETRY_TIMES")


def test_near_names_are_told(caplog):
    Settings({"DOWNLOAD_DELY": 1, "JOBDIR": "x"}).warn_unknown()
    assert "did you mean 'DOWNLOAD_DELAY'" in caplog.text
    assert "use --job NAME" in caplog.text
