"""The functions that RQ's own worker imports."""

from bench.systems.gate import Delays, Gate

gate = Gate()
delays = Delays()


def noop(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


def stamped(stamp: float) -> None:
    delays.add(stamp)
