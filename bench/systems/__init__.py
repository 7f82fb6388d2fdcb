"""One script and one app for each system. They run inside that system's own environment.

Everything here except the peers' own packages is the standard library: a peer's environment has nothing else.
"""
