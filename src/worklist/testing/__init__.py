"""For tests: inline mode, a clock that one moves, and the contract suite that every broker passes.

The suite is public: whoever writes a broker subclasses `BrokerContract` and says how one is made. It alone needs
pytest, so it is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from .inline import FakeClock, InlineWorker

if TYPE_CHECKING:
    from .contract import BrokerContract

__all__ = ["BrokerContract", "FakeClock", "InlineWorker"]


def __getattr__(name: str) -> Any:
    if name == "BrokerContract":
        from .contract import BrokerContract  # noqa: PLC0415 - it needs pytest

        return BrokerContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
