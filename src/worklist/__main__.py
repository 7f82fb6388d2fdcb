"""Run the command line as ``python -m worklist``."""

from .cli import main

if __name__ == "__main__":
    main()
