"""Calls within the last three seconds, and the same as a rate in fixed memory.

python examples/recent_calls.py [TIME_MS ...]
"""

import sys

from worklist.simulate import RateMeter, RecentCalls


def main(times: list[float]) -> None:
    calls, meter = RecentCalls(window=3000), RateMeter(window=3, slots=30)
    for t in times:
        recent = calls.ping(t)
        meter.hit(t / 1000)
        print(f"at {t:>6,.0f} ms: {recent} within the last 3,000 ms, {meter.rate(t / 1000):.2f} a second")


if __name__ == "__main__":
    main([float(word) for word in sys.argv[1:]] or [1, 100, 3001, 3002, 6002])
