"""Is it a palindrome? Both ends of a deque say so. Case, spaces and punctuation do not count.

python examples/palindrome.py [TEXT ...]
"""

import sys

from worklist.simulate import is_palindrome

TEXTS = ["radar", "A man, a plan, a canal: Panama!", "上海自来水来自海上", "worklist"]


def main(texts: list[str]) -> None:
    for text in texts:
        print(f"{'yes' if is_palindrome(text) else 'no':<4}{text}")


if __name__ == "__main__":
    main(sys.argv[1:] or TEXTS)
