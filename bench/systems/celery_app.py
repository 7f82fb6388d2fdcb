"""The app that Celery's own worker and beat import.

On a server of the measurement's own it has no prefix, and results lie in a database of Redis apart; else every key in
Redis begins with a prefix of this measurement's.
"""

import os

from celery import Celery

from bench.systems.base import settings
from bench.systems.gate import Counter, Delays, Gate, called_back

gate = Gate()
counter = Counter()
delays = Delays()
options = settings()
redis = options.results_url or os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/15")
prefix = "" if options.server else f"worklist-bench:{options.dir.name}:"
app = Celery("bench", broker=options.url or redis, backend=redis)
if options.server == "rabbitmq":
    app.conf.broker_transport_options = {"confirm_publish": options.tuned}
elif not options.server:
    app.conf.broker_transport_options = {"global_keyprefix": prefix}
    app.conf.result_backend_transport_options = {"global_keyprefix": prefix}
app.conf.broker_connection_retry_on_startup = False
app.conf.worker_prefetch_multiplier = 100
app.conf.beat_schedule = {"tick": {"task": "tick", "schedule": 1.0}}
if options.late:
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
    again_soon = {"visibility_timeout": 2, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    app.conf.broker_transport_options |= again_soon


@app.task(name="noop")
def noop(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@app.task(name="stamped", ignore_result=True)
def stamped(stamp: float) -> None:
    delays.add(stamp)


@app.task(name="counted")
def counted(number: int) -> int:
    if not gate.open:
        gate.wait()
    counter.count()
    return number


@app.task(name="member")
def member(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@app.task(name="callback")
def callback(results: list[int]) -> None:
    called_back(results)
