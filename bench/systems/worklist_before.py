"""Worklist as it was before lanes, groups and schedules, by the same script: see `bench.before`."""

from bench.systems.script import main
from bench.systems.worklist import WorklistSystem

if __name__ == "__main__":
    main(WorklistSystem)
