"""The printer of a laboratory: may it print finely, at 5 pages a minute, or must it be coarse, at 10?

python examples/printer.py [STUDENTS]
"""

import statistics
import sys

from worklist.simulate import printer


def main(students: int) -> None:
    for pages_per_minute in (5, 10):
        days = [printer(students=students, pages_per_minute=pages_per_minute, seed=seed) for seed in range(1000)]
        waits = [day.average_wait for day in days]
        left = statistics.fmean(day.remaining for day in days)
        typical, bad = statistics.median(waits), statistics.quantiles(waits, n=20)[-1]
        print(
            f"{pages_per_minute:>2} pages a minute: the average wait of an hour is {typical:,.0f} s in the median, "
            f"more than {bad:,.0f} s in one hour of twenty; {left:.1f} tasks are left over"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
