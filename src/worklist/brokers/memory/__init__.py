"""The queue in this process's memory: the model that the other brokers are tested against."""

from .broker import MemoryBroker

__all__ = ["MemoryBroker"]
