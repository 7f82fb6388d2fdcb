"""Hot potato: the children pass it NUM times, whoever holds it leaves the circle, and so on.

python examples/hot_potato.py [NUM NAME ...]
"""

import sys

from worklist.simulate import leaving_order

CHILDREN = ["Bill", "David", "Susan", "Jane", "Kent", "Brad"]


def main(num: int, names: list[str]) -> None:
    *leavers, winner = leaving_order(names, num)
    for place, name in enumerate(leavers, 1):
        print(f"{place:>2}. {name} leaves")
    print(f"{winner} wins")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7, sys.argv[2:] or CHILDREN)
