"""The queue itself: jobs, outcomes, the worker and the ports that brokers fill.

Nothing in here imports anything of Worklist outside this package, and nothing but msgspec beyond the
standard library. Time, storage and executors arrive as arguments.
"""
