"""What a crawl counts, under the names that Scrapy's statistics have."""

from __future__ import annotations

from typing import Any


class StatsCollector:
    """Numbers and times by name."""

    def __init__(self) -> None:
        self._stats: dict[str, Any] = {}

    def get_value(self, key: str, default: Any = None, spider: Any = None) -> Any:
        """Return one value."""
        return self._stats.get(key, default)

    def get_stats(self, spider: Any = None) -> dict[str, Any]:
        """Return all values."""
        return self._stats

    def set_value(self, key: str, value: Any, spider: Any = None) -> None:
        """Set one value."""
        self._stats[key] = value

    def set_stats(self, stats: dict[str, Any], spider: Any = None) -> None:
        """Set all values."""
        self._stats = stats

    def inc_value(self, key: str, count: int = 1, start: int = 0, spider: Any = None) -> None:
        """Add to one value."""
        self._stats[key] = self._stats.get(key, start) + count

    def max_value(self, key: str, value: Any, spider: Any = None) -> None:
        """Keep the larger one."""
        self._stats[key] = max(self._stats.get(key, value), value)

    def min_value(self, key: str, value: Any, spider: Any = None) -> None:
        """Keep the smaller one."""
        self._stats[key] = min(self._stats.get(key, value), value)

    def clear_stats(self, spider: Any = None) -> None:
        """Forget all values."""
        self._stats.clear()
