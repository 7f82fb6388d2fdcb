"""The app that Dramatiq's own worker imports."""

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from bench.systems.base import settings
from bench.systems.gate import Delays, Gate

gate = Gate()
delays = Delays()
options = settings()
broker: dramatiq.Broker
if options.server == "rabbitmq":
    broker = RabbitmqBroker(url=options.url, confirm_delivery=options.tuned)
else:
    broker = RedisBroker(url=options.url)
broker.add_middleware(Results(backend=RedisBackend(url=options.results_url)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=options.results == "all")
def noop(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@dramatiq.actor
def stamped(stamp: float) -> None:
    delays.add(stamp)
