"""The app that TaskIQ's own worker imports."""

from taskiq import AsyncBroker
from taskiq_aio_pika import AioPikaBroker
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from bench.systems.base import settings
from bench.systems.gate import Delays, Gate

gate = Gate()
delays = Delays()
options = settings()
broker: AsyncBroker
if options.server == "rabbitmq":
    broker = AioPikaBroker(options.url, qos=options.batch)
elif options.pool == "list":
    broker = ListQueueBroker(options.url)
else:
    broker = RedisStreamBroker(options.url, xread_count=options.batch)
if options.results == "all":
    broker = broker.with_result_backend(RedisAsyncResultBackend(options.results_url))


@broker.task
async def noop(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@broker.task
async def stamped(stamp: float) -> None:
    delays.add(stamp)
