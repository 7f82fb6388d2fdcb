"""Feeds: where scraped items go, each once, into files that are complete at any time.

`open(crawler)` opens what the setting FEEDS names; `add` writes the items of one page under the key of the page's job,
before that job is settled, so that a page which is run again after a kill does not write them again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from .. import signals
from .files import FeedError, FileFeed
from .options import FeedOptions, feed_of, feeds_of
from .parquet import check_parquet
from .tables import PostgresFeed, SqliteFeed, TableFeed

__all__ = ["FeedError", "FeedOptions", "Feeds", "feed_of", "feeds_of", "open"]


class Feeds:
    """All feeds of a crawl. The crawl's identity, where it can be resumed, is `crawler.crawl_id`; None: in memory."""

    def __init__(self, feeds: Sequence[FileFeed | TableFeed], stats: Any = None, signal_manager: Any = None) -> None:
        self._feeds = feeds
        self._stats = stats
        self._signals = signal_manager

    def __bool__(self) -> bool:
        return bool(self._feeds)

    def add(self, items: Sequence[Any], page_key: str) -> None:
        """Write all items of one page. Raises FeedError where a feed cannot take them: run the page again later."""
        if items:
            for feed in self._feeds:
                written = feed.add(items, page_key)
                if self._stats is not None and written:
                    self._stats.inc_value(f"feedexport/items/{feed.options.format}", written)

    def close(self, reason: str = "finished") -> None:
        """Close the feeds. After any reason but `finished` they stay ready to be gone on with."""
        with contextlib.ExitStack() as stack:
            for feed in self._feeds:
                stack.callback(feed.close, reason == "finished")
        if self._signals is not None:
            self._signals.send_catch_log(signals.feed_exporter_closed)


def open(crawler: Any) -> Feeds:
    """Open the feeds of a crawl: those of its setting FEEDS. Raises ConfigError and FeedError."""
    crawl = getattr(crawler, "crawl_id", None)
    resumed = getattr(crawler, "resumed", False)  # then it empties nothing: its feeds were begun before it was
    opened: list[FileFeed | TableFeed] = []
    for options in feeds_of(crawler.settings):
        if options.format == "parquet":
            check_parquet()
        if not options.is_table:
            opened.append(FileFeed(options, crawler.spider, crawl, resumed=resumed))
        else:
            kind = SqliteFeed if options.uri.startswith("sqlite") else PostgresFeed
            opened.append(kind(options, crawl, resumed=resumed))
    return Feeds(opened, crawler.stats, crawler.signals)
