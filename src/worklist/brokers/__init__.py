"""One file per technology; each is a Broker, a ResultStore and an Inspector as `worklist.core.ports` says."""
