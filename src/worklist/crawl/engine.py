"""The loop of a crawl: requests become jobs; a job is downloaded, and what its callback yields is settled with it.

The worker leases and settles; this runs what it leases, on the event loop of whoever started the crawl. Between two
crawls of one name nothing is kept here: the queue knows what is done, due and seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from itemadapter import ItemAdapter

from ..app import Worklist
from ..core.errors import GroupEnded
from ..core.events import JobFailed
from ..core.execution import current_job
from ..core.job import Job
from ..core.keeper import WorkerOptions
from ..core.outcome import Retry
from ..core.worker import Worker
from . import feeds, signals
from .chain import DownloaderChain, SpiderChain, Step, components, steps
from .clock import HostClock
from .exceptions import BrowserMissing, CloseSpider, DontCloseSpider, DropItem, Failure, IgnoreRequest
from .executor import LoopExecutor
from .feeds import FeedError, Feeds
from .frontier import TASK, Frontier, slot_of
from .handlers import Handlers
from .middlewares.spider import OffsiteMiddleware
from .pipelines import ItemPipelines
from .request import Request
from .response import Response

if TYPE_CHECKING:
    from .crawler import Crawler

logger = logging.getLogger("worklist.crawl")
_BATCH = 500
_FLUSH_SECONDS = 0.02
_LOOK_SECONDS = (0.02, 0.25)
"""How often to look whether the crawl has ended: at first after it fell silent, and later."""
_FEED_PAUSE = 5.0
_WORST_HOSTS = 2_000


class Engine:
    """One process's share in a crawl."""

    def __init__(self, crawler: Crawler, app: Worklist, frontier: Frontier, lease: float) -> None:
        self.crawler = crawler
        self.spider = crawler.spider
        self.frontier = frontier
        self.reason = "finished"
        self.latencies: dict[str, tuple[int, float]] = {}
        """By host: how many responses, and how many seconds they took together."""
        self._app = app
        self._lease = lease
        self._stats = crawler.stats
        self._signals = crawler.signals
        self._concurrency = max(1, crawler.settings.getint("CONCURRENT_REQUESTS", 16))
        self._clock = HostClock(lambda slot: self.frontier.rule(slot).delay)
        self._least_delays: dict[str, float] = {}
        self._feeds_fail_since: float | None = None
        self._told: set[str] = set()
        """Jobs whose failure was logged."""
        self._shows_doubles = crawler.settings.getbool("DUPEFILTER_DEBUG")
        self._large = crawler.settings.getint("DOWNLOAD_WARNSIZE")
        self._worker: Worker | None = None
        self._starting = True
        self._closing: asyncio.Event = asyncio.Event()
        self._background: set[asyncio.Future[Any]] = set()
        self._assemble()

    def _assemble(self) -> None:
        crawler, spider = self.crawler, self.spider
        self.extensions = components(crawler, "EXTENSIONS")
        around = components(crawler, "DOWNLOADER_MIDDLEWARES")
        self._chain = DownloaderChain(around, spider, self.download_raw)
        parts = components(crawler, "SPIDER_MIDDLEWARES")
        self.downloader = Handlers(crawler, [*around, *parts])
        self.downloader.leaves = self._leaves
        self._spider_chain = SpiderChain(parts, spider)
        self._offsite = [each for each in parts if isinstance(each, OffsiteMiddleware)]
        hooks = components(crawler, "SCHEDULER_MIDDLEWARES", based=False)
        self._on_enqueue = [_of_two(step) for step in steps(hooks, "enqueue", spider, 1)]
        self._hooks = [*self._spider_chain.requests, *self._on_enqueue]
        self._on_dequeue = steps(reversed(hooks), "dequeue", spider, 1)
        self._pipelines = ItemPipelines.from_crawler(crawler)
        self._feeds: Feeds | None = None

    # -- the whole crawl ----------------------------------------------------------------------------------------

    async def run(self) -> str:
        """Crawl until nothing is left to do, or it is closed; return why it ended."""
        loop = asyncio.get_running_loop()
        self._feeds = None if self.crawler.over else feeds.open(self.crawler)
        await self._pipelines.open(self.spider)
        self._app.open_group(self.frontier.group)
        executor = LoopExecutor(
            self._concurrency,
            loop,
            lambda lane: self.frontier.rule(lane).concurrency,
            self._clock.let,
            settles=self._app.capabilities.durable,
        )
        options = WorkerOptions(
            queues=(self.frontier.queue,),
            lease=self._lease,
            grace=self.crawler.settings.getfloat("SHUTDOWN_GRACE", 10.0),
        )
        self._app.task(name=TASK, queue=self.frontier.queue, retries=1_000_000, retry_on=(), results="failures")(
            self.fetch
        )
        self._worker = Worker(self._app.store, self._app.environment, {"async": executor}, options, self._app.events)
        self._worker.on_settled = executor.settled
        executor.on_room = self._worker.look
        self._app.events.on(JobFailed, self._say_failed)
        await self._signals.send(signals.engine_started)
        await self._signals.send(signals.spider_opened, spider=self.spider)
        working = asyncio.ensure_future(asyncio.to_thread(self._worker.run))
        starting = asyncio.ensure_future(self._start())
        ending = asyncio.ensure_future(self._await_end(executor, starting))
        try:
            await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
            for each in (working, ending):
                if each.done():
                    each.result()
        finally:
            starting.cancel()
            self._worker.stop()
            await asyncio.wait({working})
            ending.cancel()
            await asyncio.gather(starting, ending, return_exceptions=True)
            await self._close()
        return self.reason

    async def _close(self) -> None:
        for each in self._background:
            each.cancel()
        await self.downloader.close()
        try:
            await self._pipelines.close(self.spider)
        finally:
            if self._feeds is not None:
                self._feeds.close(self.reason)
            await self._signals.send(signals.spider_closed, spider=self.spider, reason=self.reason)
            await self._signals.send(signals.engine_stopped)

    async def _await_end(self, executor: LoopExecutor, starting: asyncio.Future[None]) -> None:
        """Return when the crawl is to end: it was closed, or nothing is left to do."""
        pause = _LOOK_SECONDS[0]
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)
            if starting.done():
                starting.result()
            if not executor.is_idle or not starting.done():
                pause = _LOOK_SECONDS[0]
                continue
            pause = min(_LOOK_SECONDS[1], pause * 2)
            if await self._is_over():
                return

    async def _is_over(self) -> bool:
        group = await asyncio.to_thread(self._app.load_group, self.frontier.group)
        if group is None or group.ended is not None:
            return True
        if not group.open or group.finished < group.total:
            return False
        results = await self._signals.send(signals.spider_idle, spider=self.spider)
        if any(isinstance(result, DontCloseSpider) for _, result in results):
            return False
        again = await asyncio.to_thread(self._app.load_group, self.frontier.group)
        if again is not None and again.finished < again.total:
            return False
        await asyncio.to_thread(self._app.seal_group, self.frontier.group)
        return False

    def close_spider(self, spider: Any = None, reason: str = "finished") -> None:
        """End the crawl in this process; pages under way are finished, what is queued stays in the queue."""
        if not self._closing.is_set():
            self.reason = reason
            self._closing.set()

    def hurry(self) -> None:
        """Wait for no page any more."""
        if self._worker is not None:
            self._worker.stop(now=True)

    # -- where it begins ----------------------------------------------------------------------------------------

    async def _start(self) -> None:
        """Put the requests that the spider begins with, unless they were all put before this process began."""
        group = await asyncio.to_thread(self._app.load_group, self.frontier.group)
        if group is not None and group.open and not self.crawler.join:
            await self._put_start()
            if not self._signals.wanted(signals.spider_idle):
                await asyncio.to_thread(self._app.seal_group, self.frontier.group)
        self._starting = False

    async def _put_start(self) -> None:
        outbox: list[Job] = []
        last = time.monotonic()
        kept = 0
        output: Any = self.spider.start()
        for step in self._spider_chain.starts:
            output = step(output)
        async for each in _iterate(output):
            if isinstance(each, Request):
                outbox += self._jobs([each], None, start=True)
            elif each is not None:
                kept += 1
                await self._keep([each], None, f"start-{kept}")
            if len(outbox) >= _BATCH or time.monotonic() - last > _FLUSH_SECONDS:
                await self._put(outbox)
                outbox, last = [], time.monotonic()
        await self._put(outbox)

    async def _put(self, jobs: list[Job]) -> None:
        if jobs:
            try:
                await self._app.aput(jobs)
            except GroupEnded:
                logger.debug("the crawl has ended elsewhere; %d requests are not put", len(jobs))

    def crawl(self, request: Request, spider: Any = None) -> None:
        """Put a request from outside of a callback, such as a handler of `spider_idle`."""
        self._spawn(self._put(self._jobs([request], None)))

    def _spawn(self, work: Any) -> None:
        future = asyncio.ensure_future(work)
        self._background.add(future)
        future.add_done_callback(self._background.discard)

    # -- one page -----------------------------------------------------------------------------------------------

    async def fetch(self, request: dict[str, Any]) -> None:
        """Run the job of one request: download it, give it to its callback, keep its items, put its links."""
        asked = self.frontier.request(request)
        for step in self._on_dequeue:
            kept = await _awaited(step(asked))
            if kept is None:
                return
            asked = kept
        jobs = await self._visit(asked)
        if jobs:
            current_job().put_jobs(jobs)

    async def _visit(self, request: Request) -> list[Job]:
        try:
            result = await self._chain.run(request)
        except Retry:
            raise
        except BrowserMissing as error:
            self._end_for(error)
            raise Retry(0.0, reason=str(error)) from None
        except Exception as error:
            return await self._failed(request, error)
        if isinstance(result, Request):
            return self._redirected(result)
        self._stats.inc_value("response_received_count")
        if self._signals.wanted(signals.response_received):
            await self._signals.send(signals.response_received, response=result, request=request, spider=self.spider)
        try:
            for step in self._spider_chain.inputs:
                await _awaited(step(result))
        except Exception as error:
            return await self._failed(request, error, result)
        callback = self._method(request.callback) or self.spider.parse
        return await self._scrape(callback, result, result, request)

    def _end_for(self, error: BrowserMissing) -> None:
        """End the crawl for want of something that no page can do without; they all stay in the queue."""
        if not self._closing.is_set():
            logger.error("%s", error)
        self.close_spider(reason="browser_missing")

    async def _failed(self, request: Request, error: Exception, response: Response | None = None) -> list[Job]:
        """Give an error to the request's errback; without one, note it. Raises what is to be kept as a failed job."""
        about = response or Response(request.url, request=request)
        errback = self._method(request.errback)
        if errback is not None:
            return await self._scrape(errback, Failure(error, request), about, request)
        if isinstance(error, IgnoreRequest):
            logger.debug("ignored %s: %s", request.url, error)
            return []
        self._stats.inc_value("crawl/failed_count")
        self._stats.inc_value(f"downloader/exception_type_count/{type(error).__name__}")
        logger.error("no response: %s", error if request.url in str(error) else f"{request.url}: {error}")
        self._told.add(current_job().id)
        raise error

    def _say_failed(self, event: JobFailed) -> None:
        """Log what became of a job, where nobody has (the worker would, if nobody listened)."""
        if event.id in self._told:
            self._told.discard(event.id)
        else:
            logger.error("a request failed: %s: %s", event.error.type, event.error.message)

    def _method(self, name: Any) -> Any:
        if name is None or callable(name):
            return name
        method = getattr(self.spider, name, None)
        if method is None:
            raise LookupError(f"the spider {self.spider.name!r} has no method {name!r}, which a queued request names")
        return method

    async def _scrape(self, callback: Any, argument: Any, response: Response, request: Request) -> list[Job]:
        """Call a callback; return the jobs of its requests, when its items are kept. What it raises is counted."""
        output: list[Any] = []
        try:
            result = callback(argument, **request.cb_kwargs)
            if inspect.iscoroutine(result):
                result = await result
            result = self._spider_chain.wrapped(response, _several(result))
            if hasattr(result, "__aiter__"):
                async for each in result:
                    output.append(each)  # noqa: PERF401 - what came before an error counts
            else:
                for each in result:
                    output.append(each)  # noqa: PERF402
        except CloseSpider as close:
            self.close_spider(reason=close.reason)
        except Exception as error:
            output += await self._spider_error(error, response, request)
        requests = [each for each in output if isinstance(each, Request)]
        items = [each for each in output if each is not None and not isinstance(each, Request)]
        if items:
            await self._keep(items, response, current_job().id)
        return self._jobs(requests, response, trust=current_job().attempt == 1)

    async def _spider_error(self, error: Exception, response: Response, request: Request) -> list[Any]:
        for step in self._spider_chain.exceptions:
            handled = await _awaited(step(response, error))
            if handled is not None:
                return [each async for each in _iterate(handled)]
        self._stats.inc_value("spider_exceptions/count")
        self._stats.inc_value(f"spider_exceptions/{type(error).__name__}")
        logger.error("the callback for %s raised %s: %s", request.url, type(error).__name__, error, exc_info=error)
        await self._signals.send(
            signals.spider_error, failure=Failure(error, request), response=response, spider=self.spider
        )
        return []

    def _redirected(self, request: Request) -> list[Job]:
        for each in self._offsite:
            if each.get_processed_request(request, None) is None:
                return []
        return self._jobs([request], None, admitted=True)

    def _jobs(
        self,
        requests: Iterable[Request],
        response: Response | None,
        *,
        start: bool = False,
        trust: bool = True,
        admitted: bool = False,
    ) -> list[Job]:
        """Return the jobs of those requests that are wanted and new.

        `start`: they are what the crawl begins with; `trust`: what was put lately is in the queue for sure;
        `admitted`: spider middlewares are not asked.
        """
        jobs: list[Job] = []
        doubles = 0
        hooks = self._on_enqueue if admitted else self._hooks
        told = self._signals.wanted(signals.request_scheduled) or self._signals.wanted(signals.request_dropped)
        for request in requests:
            if trust and self.frontier.is_known(request):
                doubles += 1
                self._dropped(request, told, double=True)
                continue
            wanted = _through(hooks, request, response)
            if wanted is None:
                self._dropped(request, told)
                continue
            try:
                job = self.frontier.job(wanted, start=start, trust=trust)
            except Exception as error:
                self._not_put(request, error)
                continue
            if job is None:
                doubles += 1
                self._dropped(wanted, told, double=True)
            else:
                jobs.append(job)
                if told:
                    self._signals.send_catch_log(signals.request_scheduled, request=wanted, spider=self.spider)
        if doubles:
            self._stats.inc_value("dupefilter/filtered", doubles)
        if jobs:
            self._stats.inc_value("scheduler/enqueued", len(jobs))
        return jobs

    def _dropped(self, request: Request, told: bool, *, double: bool = False) -> None:
        """Tell those who want to hear of it that a request is not put."""
        if double and self._shows_doubles:
            logger.info("dropped, since it was put before: %s", request.url)
        if told:
            self._signals.send_catch_log(signals.request_dropped, request=request, spider=self.spider)

    def _not_put(self, request: Request, error: Exception) -> None:
        self._stats.inc_value("spider_exceptions/count")
        self._stats.inc_value(f"spider_exceptions/{type(error).__name__}")
        logger.warning("the request for %s is not put: %s", request.url, error)

    # -- items --------------------------------------------------------------------------------------------------

    async def _keep(self, items: list[Any], response: Response | None, page: str) -> None:
        """Send items through the pipelines, and what is left to the feeds, in one piece, before the page is settled."""
        kept: list[Any] = []
        for item in items:
            kept += await self._processed(item, response)
        if kept and self._feeds:
            try:
                self._feeds.add(kept, page)
            except FeedError as error:
                self._feed_failed(error)
                raise Retry(_FEED_PAUSE, reason=str(error)) from None
            self._feeds_fail_since = None
        self._stats.inc_value("item_scraped_count", len(kept))
        if self._signals.wanted(signals.item_scraped):
            for item in kept:
                await self._signals.send(signals.item_scraped, item=item, response=response, spider=self.spider)

    def _feed_failed(self, error: FeedError) -> None:
        """Tell of a feed that cannot be written; after FEED_PATIENCE of it, end the crawl. Its pages stay queued."""
        self._stats.inc_value("feedexport/failed_count")
        now = time.monotonic()
        since = self._feeds_fail_since = self._feeds_fail_since or now
        if now - since < self.crawler.settings.getfloat("FEED_PATIENCE", 30.0):
            logger.warning("%s; the page is run again", error)
        elif not self._closing.is_set():
            logger.error("%s; the crawl ends (FEED_PATIENCE), and the page stays in the queue", error)
            self.close_spider(reason="feed_failed")

    async def _processed(self, item: Any, response: Response | None) -> list[Any]:
        where = response.url if response is not None else "start()"
        if type(item) is not dict and not ItemAdapter.is_item(item):
            self._stats.inc_value("spider_exceptions/count")
            logger.error(
                "the callback for %s yielded %s; expected a request or an item: a dict, a dataclass, an Item",
                where,
                type(item).__name__,
            )
            return []
        for hook in self._spider_chain.items:
            item = hook(item, response)
            if item is None:
                return []
        try:
            return [await self._pipelines.process(item, response, self.spider)]
        except DropItem as reason:
            self._stats.inc_value("item_dropped_count")
            await self._signals.send(
                signals.item_dropped, item=item, exception=reason, response=response, spider=self.spider
            )
        except Exception as error:
            self._stats.inc_value("item_error_count")
            logger.exception("a pipeline raised %s for an item of %s", type(error).__name__, where)
            await self._signals.send(
                signals.item_error, item=item, failure=Failure(error), response=response, spider=self.spider
            )
        return []

    # -- what middlewares and pipelines ask for -----------------------------------------------------------------

    async def download(self, request: Request) -> Response:
        """Make a request at once, through the middlewares; for pipelines and callbacks that wait for the response."""
        for _ in range(self.crawler.settings.getint("REDIRECT_MAX_TIMES", 20)):
            result = await self._chain.run(request)
            if not isinstance(result, Request):
                return result
            request = result
        raise IgnoreRequest(f"{request.url} was redirected too often")

    async def download_raw(self, request: Request) -> Response:
        """Make a request at once, without the middlewares, when the delay of its host is over."""
        slot = slot_of(request)
        waits = await self._clock.turn(slot)
        self._stats.inc_value("downloader/request_count")
        if self._signals.wanted(signals.request_reached_downloader):
            await self._signals.send(signals.request_reached_downloader, request=request, spider=self.spider)
        try:
            response = await self.downloader.fetch(request)
        except Exception:
            self._stats.inc_value("downloader/exception_count")
            raise
        finally:
            if waits and self._clock.is_leaving(slot):  # of a handler that does not tell
                self._clock.left(slot)
            if self._signals.wanted(signals.request_left_downloader):
                await self._signals.send(signals.request_left_downloader, request=request, spider=self.spider)
        self._count(slot, request, response)
        if self._signals.wanted(signals.response_downloaded):
            await self._signals.send(
                signals.response_downloaded, response=response, request=request, spider=self.spider
            )
        return response

    def _count(self, slot: str, request: Request, response: Response) -> None:
        inc = self._stats.inc_value
        inc("downloader/response_count")
        inc(f"downloader/response_status_count/{response.status}")
        size = len(response.body)
        inc("downloader/response_bytes", size)
        if size > self._large and (most := request.meta.get("download_warnsize", self._large)) and size > most:
            logger.warning("%s: a body of %s bytes, more than DOWNLOAD_WARNSIZE (%s)", request.url, size, most)
        if slot in self.latencies or len(self.latencies) < _WORST_HOSTS:
            count, total = self.latencies.get(slot, (0, 0.0))
            self.latencies[slot] = (count + 1, total + request.meta.get("download_latency", 0.0))

    def _leaves(self, request: Request) -> Callable[[], None] | None:
        """Return what is to be called when a request leaves, None where nothing is."""
        slot = slot_of(request)
        return functools.partial(self._clock.left, slot) if self._clock.is_leaving(slot) else None

    def failures(self) -> int:
        """Return how often the current request has failed before."""
        return current_job().failures

    async def pause(self, slot: str, seconds: float) -> None:
        """Have no request of a host's lane leased for a while, by no process."""
        self._stats.inc_value("downloader/host_paused_count")
        self._clock.pause(slot, seconds)
        await asyncio.to_thread(self._app.lane(slot).pause, seconds)

    async def slow_down(self, slot: str, delay: float) -> None:
        """Ask a host once in `delay` seconds at most from now on, in every process, unless it is slower already."""
        self._least_delays[slot] = max(delay, self._least_delays.get(slot, 0.0))
        if delay > self.frontier.rule(slot).delay:
            await self.set_delay(slot, delay)

    async def set_delay(self, slot: str, delay: float) -> None:
        """Ask a host once in `delay` seconds from now on, in every process, or as slowly as `slow_down` said."""
        delay = max(delay, self._least_delays.get(slot, 0.0))
        if delay != self.frontier.rule(slot).delay:
            self.frontier.set_delay(slot, delay)
            await asyncio.to_thread(self._app.lane(slot).set, rate=1.0 / delay if delay else None, burst=1)


def _of_two(step: Step) -> Step:
    return lambda request, _response: step(request)


def _through(hooks: Iterable[Step], request: Request, response: Response | None) -> Request | None:
    """Return a request as the hooks leave it, None where one does not want it."""
    wanted: Request | None = request
    for hook in hooks:
        wanted = hook(wanted, response)
        if wanted is None:
            return None
    return wanted


def _several(result: Any) -> Any:
    """Return what a callback returned as something to iterate over."""
    if result is None:
        return ()
    if isinstance(result, GeneratorType | AsyncGeneratorType | list):
        return result
    if isinstance(result, Request | dict | str | bytes) or not (
        hasattr(result, "__iter__") or hasattr(result, "__aiter__")
    ):
        return (result,)
    return (result,) if ItemAdapter.is_item(result) else result


async def _iterate(output: Any) -> AsyncIterator[Any]:
    if hasattr(output, "__aiter__"):
        async for each in output:
            yield each
    else:
        for each in output:
            yield each


async def _awaited(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
