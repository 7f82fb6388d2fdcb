"""The contract of messages on a real RabbitMQ server, with quorum queues and with classic ones."""

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pamqp import commands

from tests.servers.postgres import postgres_schema, postgres_url  # noqa: F401 - fixtures
from tests.servers.rabbitmq import VirtualHost, rabbitmq, rabbitmq_node  # noqa: F401 - fixtures
from tests.servers.redis import needs_redis
from worklist.brokers.memory import MemoryBroker
from worklist.brokers.rabbitmq.broker import RabbitBroker, _properties
from worklist.brokers.rabbitmq.connection import Connection
from worklist.brokers.rabbitmq.ledger import LedgerBroker
from worklist.brokers.rabbitmq.publisher import Parcel
from worklist.brokers.rabbitmq.topology import LEVELS, Names
from worklist.core.codec import Codec
from worklist.core.errors import BrokerUnavailable
from worklist.core.job import Job, JobId, JobState, Ties
from worklist.core.outcome import Cancel, Done, Fail
from worklist.core.ports import Extended, ResultStore, Settlement, Store
from worklist.testing import FakeClock
from worklist.testing.contract_messages import QUIET, MessageContract, MessagesAlone, lease_one, leases, nothing_comes
from worklist.testing.contract_tools import LEASE, Waiting, a_job, a_worker, an_error, record, settle

from . import test_postgres, test_redis, test_sqlite


class OnRabbitmq(MessageContract):
    queue_type: Any = "quorum"

    @pytest.fixture(autouse=True)
    def _place(self, rabbitmq: VirtualHost) -> Iterator[None]:  # noqa: F811
        self.host = rabbitmq
        self.prefix = f"t{secrets.token_hex(4)}"
        self.names = Names(self.prefix)
        yield
        connection = Connection(rabbitmq.address)
        for name in [*self.names.known(), *map(self.names.level, range(LEVELS))]:
            connection.ask(commands.Queue.Delete(0, name), commands.Queue.DeleteOk)
        connection.close()

    def make_broker(self, results: ResultStore) -> Store:
        broker = RabbitBroker(self.host.address, results=results, prefix=self.prefix, queue_type=self.queue_type)
        broker._names = broker._consumer._names = broker._publisher._names = self.names
        return broker

    make_another = make_broker

    def break_connection(self, broker: Store) -> None:
        broker._consumer._connection._socket.shutdown(2)  # type: ignore[attr-defined]

    def put_raw(self, broker: Store, job: Job, body: bytes) -> None:
        parcel = Parcel(job.id, broker._names.queue("default", 1), _properties(job.id, job.task, "", 1, False), body)  # type: ignore[attr-defined]
        broker._publish([parcel])  # type: ignore[attr-defined]

    def test_a_job_that_runs_for_long_is_held_without_its_delivery(
        self, broker: Store, another: Store, results: MemoryBroker
    ) -> None:
        for it in (broker, another):
            it._holding._hold = 0.2  # type: ignore[attr-defined]
        ids = broker.put([a_job(), a_job()])
        ended, lost = leases(another, 2)
        for _ in range(6):
            time.sleep(0.3)
            assert another.extend(a_worker(), [ended, lost], 0.5) == Extended()
            assert not another._consumer.held  # type: ignore[attr-defined]
        assert nothing_comes(broker)
        settle(another, ended, Done(b"\x01"))
        self.break_connection(another)
        again = lease_one(broker)
        assert (again.id, again.attempt, again.lost) == (lost.id, 2, 1)
        settle(another, lost, Done(b"\x02"))
        settle(broker, again, Done(b"\x03"))
        assert [record(results, id).result for id in ids] == [b"\x01", b"\x03"]
        assert nothing_comes(broker)


class TestRabbitmq(OnRabbitmq, MessagesAlone):
    def test_a_worker_that_has_become_slow_is_sent_fewer_messages(self, broker: Store) -> None:
        consumer: Any = broker._consumer  # type: ignore[attr-defined]
        broker.put([a_job() for _ in range(2000)])
        for room in (8, 592):
            broker.settle([Settlement(it, Done()) for it in leases(broker, room)])
        assert consumer._prefetch >= 592
        for _ in range(40):
            consumer._dropped_at = 0.0
            broker.settle([Settlement(it, Done()) for it in leases(broker, 1)])
            time.sleep(0.02)
        assert consumer._prefetch <= 64
        assert all(it.attempt == 1 for it in leases(broker, 1360))


class TestClassicQueues(TestRabbitmq):
    queue_type = "classic"


# -- with a ledger ------------------------------------------------------------------------------------------------


class TestMessagesBesideALedger(OnRabbitmq):
    """Jobs without ties go through RabbitMQ as they do without a ledger."""

    def make_broker(self, results: ResultStore) -> Store:
        ledger: Any = results
        broker = LedgerBroker(self.host.address, ledger=ledger, prefix=self.prefix, queue_type=self.queue_type)
        broker._names = broker._consumer._names = broker._publisher._names = self.names
        return broker

    make_another = make_broker

    def test_a_job_with_ties_stands_in_the_ledger_and_others_do_not(self, broker: Store, results: MemoryBroker) -> None:
        plain, keyed, member = a_job(), a_job(key="k"), a_job(ties=Ties(group="g", lane="l"))
        twice = a_job(key="k")
        assert broker.put([plain, keyed, member, twice]) == [plain.id, keyed.id, member.id, keyed.id]
        assert [it and it.id for it in results.load([plain.id, keyed.id, member.id])] == [None, keyed.id, member.id]
        assert {it.id for it in leases(broker, 3)} == {plain.id, keyed.id, member.id}
        assert nothing_comes(broker)

    def test_both_halves_of_a_queue_get_their_turn(self, broker: Store, results: MemoryBroker) -> None:
        tied = broker.put([a_job(key=f"{n}") for n in range(200)])
        plain = broker.put([a_job() for _ in range(200)])
        lease_one(broker)  # and now messages are on their way
        time.sleep(QUIET)
        came = [it.id for it in leases(broker, 40)] + [it.id for n in range(8) for it in leases(broker, 10)]
        assert min(len({*came} & {*tied}), len({*came} & {*plain})) >= 30

    def test_a_wait_for_messages_ends_at_a_job_in_the_ledger(self, broker: Store, another: Store) -> None:
        for n in range(5):
            waiting = Waiting(lambda seconds: broker.wait(["default"], seconds))
            another.put([a_job(key=f"{n}")])
            assert waiting.ends()
            settle(broker, lease_one(broker))

    def test_followers_with_ties_are_there_before_the_message_is_gone(
        self, broker: Store, another: Store, results: MemoryBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (id,) = broker.put([a_job()])
        follower, plain = a_job(ties=Ties(group="g")), a_job()
        ours = Settlement(lease_one(another), Done(b"\x01"), followers=(follower, plain))

        def fail(records: Any, seconds: float) -> None:
            raise BrokerUnavailable("away")

        with monkeypatch.context() as away:
            away.setattr(results, "keep", fail)
            for _ in range(3):
                with pytest.raises(BrokerUnavailable):
                    another.settle([ours])
        another.settle([ours])
        assert record(results, id).result == b"\x01"
        another.goodbye("w")  # what is on its way there goes back
        assert {it.id for it in leases(broker, 2)} == {follower.id, plain.id}
        assert nothing_comes(broker)
        group = broker.load_groups(["g"])[0]
        assert group is not None
        assert group.total == 1

    def test_followers_of_a_group_that_has_ended_are_not_put(self, broker: Store) -> None:
        broker.put([a_job(), a_job(ties=Ties(group="g"))])
        broker.call_off("g")
        follower, other = a_job(ties=Ties(group="g")), a_job(key="k")
        broker.settle([Settlement(lease_one(broker), Done(), followers=(follower, other))])
        assert lease_one(broker).id == other.id
        assert nothing_comes(broker)

    def test_followers_of_a_job_in_the_ledger_stand_there_too(self, broker: Store, results: MemoryBroker) -> None:
        broker.put([a_job(key="k")])
        follower = a_job()
        broker.settle([Settlement(lease_one(broker), Done(), followers=(follower,))])
        assert record(results, follower.id).state is JobState.QUEUED
        assert lease_one(broker).id == follower.id

    def test_a_job_that_was_cancelled_in_time_does_not_start(
        self, broker: Store, another: Store, results: MemoryBroker
    ) -> None:
        ids = broker.put([a_job(), a_job()])
        assert broker.change([ids[0], ids[0]], "cancel") == [ids[0]]
        assert lease_one(another).id == ids[1]
        assert nothing_comes(another)
        assert record(results, ids[0]).state is JobState.CANCELLED
        assert broker.change([ids[0]], "cancel") == []
        another._orders._read_at = 0.0  # type: ignore[attr-defined]
        another._orders.read()  # type: ignore[attr-defined]
        assert results.paused() == [], "an order that was followed is not kept"

    def test_a_job_that_runs_hears_that_it_is_cancelled(self, broker: Store, results: MemoryBroker) -> None:
        ids = broker.put([a_job(), a_job()])
        one, other = leases(broker, 2)
        assert broker.change([one.id], "cancel") == [one.id]
        broker._orders._read_at = 0.0  # type: ignore[attr-defined]
        assert broker.extend(a_worker(), [one, other], LEASE) == Extended(cancelled=frozenset([ids[0]]))
        settle(broker, one, Cancel())
        assert record(results, ids[0]).state is JobState.CANCELLED

    def test_messages_wait_while_the_ledger_cannot_say_whether_they_have_ended(
        self, broker: Store, another: Store, results: MemoryBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = broker.put([a_job(), a_job()])
        leases(another, 2)
        self.break_connection(another)

        def fail(ids: Any) -> None:
            raise BrokerUnavailable("away")

        with monkeypatch.context() as away:
            away.setattr(results, "load", fail)
            with pytest.raises(BrokerUnavailable, match="away"):
                leases(broker, 2)
        broker._messages_away._until = 0.0  # type: ignore[attr-defined]
        assert sorted(it.id for it in leases(broker, 2)) == ids

    def test_a_paused_queue_rests_in_rabbitmq_too(self, broker: Store, another: Store) -> None:
        mail, other = a_job(queue="mail"), a_job()
        broker.put([mail, other])
        broker.pause("mail", True)
        assert another.paused() == ["mail"]
        (ours,) = leases(another, 1, ["mail", "default"])
        assert ours.id == other.id
        assert nothing_comes(another, ["mail", "default"])
        assert not another.held_back(["mail", "default"])
        broker.pause("mail", False)
        another._orders._read_at = 0.0  # type: ignore[attr-defined]
        assert lease_one(another, "mail").id == mail.id

    def test_what_had_come_of_a_queue_that_is_paused_goes_back(self, broker: Store, another: Store) -> None:
        broker.put([a_job(queue="mail") for _ in range(4)])
        first = lease_one(another, "mail")
        settle(another, first)
        time.sleep(QUIET)  # RabbitMQ counts as lost what was on its way when a consumer ends
        assert Waiting(lambda seconds: another.wait(["mail", "default"], seconds)).ends()  # one more has come
        broker.pause("mail", True)
        another._orders._read_at = 0.0  # type: ignore[attr-defined]
        assert nothing_comes(another, ["mail", "default"])
        assert not another._consumer.held  # type: ignore[attr-defined]
        broker.pause("mail", False)
        again = leases(broker, 3, ["mail"])
        assert [(it.attempt, it.lost) for it in again] == [(1, 0)] * 3

    def test_counts_are_of_both(self, broker: Store, results: MemoryBroker) -> None:
        broker.put([a_job(), a_job(), a_job(key="k"), a_job(queue="mail", priority=1)])
        assert broker.counts() == {"default": {JobState.QUEUED: 3}, "mail": {JobState.QUEUED: 1}}
        for ours in leases(broker, 3):
            settle(broker, ours)
        assert broker.counts() == {"default": {JobState.SUCCEEDED: 3}, "mail": {JobState.QUEUED: 1}}
        assert broker.purge("mail", JobState.QUEUED) == 1
        assert nothing_comes(broker, ["mail"])

    def test_what_failed_in_rabbitmq_runs_again_from_the_ledger(self, broker: Store, results: MemoryBroker) -> None:
        ids = broker.put([a_job(), a_job()])
        for ours, outcome in zip(leases(broker, 2), (Fail(an_error()), Done()), strict=True):
            settle(broker, ours, outcome)
        assert broker.change(ids, "retry") == [ids[0]], "of what ended well, nothing is there that could be run"
        again = lease_one(broker)
        assert (again.id, again.attempt) == (ids[0], 1)
        assert Codec().decode(again.body).id == ids[0]
        settle(broker, again)
        assert record(broker, ids[0]).state is JobState.SUCCEEDED


class _AllInTheLedger(LedgerBroker):
    """One whose jobs all have ties, as far as it knows, so that every promise is asked of its ledger, through it."""

    def _is_tied(self, job: Job) -> bool:
        return True

    def _may_be_carried(self, id: JobId) -> bool:
        return False

    @property
    def _server(self) -> Any:
        return self._ledger._server  # type: ignore[attr-defined]


class _WithLedger:
    @pytest.fixture(autouse=True)
    def _messages(self, rabbitmq: VirtualHost) -> None:  # noqa: F811
        self.host = rabbitmq

    def make_broker(self, clock: FakeClock) -> Store:
        ledger = super().make_broker(clock)  # type: ignore[misc]
        broker = _AllInTheLedger(self.host.address, ledger=ledger, queue_type="classic")  # nothing comes to its queues
        broker._ledger_away.seconds = 0.0
        return broker

    def make_another(self, broker: Store, clock: FakeClock) -> Store:
        self.others.append(self.make_broker(clock))  # type: ignore[attr-defined]
        return self.others[-1]  # type: ignore[attr-defined,no-any-return]


class TestLedgerOnSqlite(_WithLedger, test_sqlite.TestSqlite):
    pass


class TestLedgerOnPostgres(_WithLedger, test_postgres.TestPostgres):
    pass


@needs_redis
class TestLedgerOnRedis(_WithLedger, test_redis.OnRedis):
    pass
