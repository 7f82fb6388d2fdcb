"""Worklist beside its peers and beside bare SQLite, measured in turns on one machine.

`python -m bench` prints ratios; it is no test. Each system runs its own worker in an environment of its own,
fed and timed by one shared piece of code, so that what differs between two figures is the system alone.
"""
