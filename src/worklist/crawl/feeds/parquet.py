"""Parquet: its footer can only be written at the end, so a feed of it is spooled as lines of JSON and made in one go.

Under its name there is never anything but a complete file: it is written aside and renamed.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...core.errors import ConfigError


def write_parquet(lines: Path, target: Path, *, append: bool) -> None:
    """Turn a file of JSON lines into a Parquet file, behind the rows that the target has where `append`."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional
        from pyarrow import json, parquet  # noqa: PLC0415
    except ImportError:
        raise ConfigError("a feed of Parquet needs pyarrow: pip install 'worklist[parquet]'") from None
    table = json.read_json(lines) if lines.stat().st_size else pa.table({})
    if append and target.exists():
        table = pa.concat_tables([parquet.read_table(target), table], promote_options="permissive")
    aside = target.with_name(f".{target.name}.new")
    parquet.write_table(table, aside)
    os.replace(aside, target)


def check_parquet() -> None:
    """Raise ConfigError where pyarrow is not installed: at the start of a crawl, not at its end."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional
    except ImportError:
        pa = None
    if pa is None:
        raise ConfigError("a feed of Parquet needs pyarrow: pip install 'worklist[parquet]'")
