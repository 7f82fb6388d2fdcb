"""The queue on PostgreSQL."""

from .broker import PostgresBroker
from .server import Place

__all__ = ["Place", "PostgresBroker"]
