"""The queue on one SQLite file."""

from .broker import SqliteBroker, place_of

__all__ = ["SqliteBroker", "place_of"]
