"""Queues and searches in the memory of one machine: no broker, no file, nothing to start.

It knows nothing of the rest of the project, so that each module can be read, and used, by itself.
"""
