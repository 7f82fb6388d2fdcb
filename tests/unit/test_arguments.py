"""What a call's arguments go through on their way to the worker: bound, checked, stored, and made again."""

import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import uuid
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worklist import ArgumentError, ConfigError, Worklist
from worklist.core.signature import Signature


@dataclasses.dataclass
class Address:
    street: str
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Order:
    id: uuid.UUID
    placed: dt.datetime
    total: decimal.Decimal
    to: Address
    note: bytes = b""


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: int
    y: int


class Options(TypedDict, total=False):
    depth: int


class Item(msgspec.Struct):
    name: str
    size: int = 0


class Person(pydantic.BaseModel):
    name: str
    born: dt.date | None = None
    friends: list["Person"] = []


class Stubborn:
    """Like a model whose validation has a bug."""

    @classmethod
    def model_validate(cls, value: Any) -> "Stubborn":
        return {}[value]

    def model_dump(self) -> str:
        return "x"


def travel(function: Any, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what the function gets in the worker."""
    signature = Signature("task", function)
    return signature.decode(signature.encode(args, kwargs))


ORDER = Order(
    uuid.UUID(int=7),
    dt.datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC),
    decimal.Decimal("9.90"),
    Address("Main St", ["a", "b"]),
    b"\x00\xff",
)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Order, ORDER),
        (list[Order], [ORDER, ORDER]),
        (dict[str, Address], {"home": Address("x")}),
        (dict[int, str], {1: "a"}),
        (dt.datetime, dt.datetime(2030, 1, 1)),  # noqa: DTZ001 - naive ones travel too
        (dt.date, dt.date(2030, 1, 1)),
        (dt.time, dt.time(12, 30)),
        (dt.timedelta, dt.timedelta(days=1, microseconds=5)),
        (uuid.UUID, uuid.UUID(int=5)),
        (decimal.Decimal, decimal.Decimal("1.10")),
        (bytes, b"\x00\x01"),
        (Colour, Colour.BLUE),
        (Literal["a", "b"], "b"),
        (set[int], {1, 2}),
        (frozenset[str], frozenset("a")),
        (tuple[int, str], (1, "x")),
        (Point, Point(1, 2)),
        (Options, {"depth": 3}),
        (Item, Item("x", 4)),
        (pathlib.Path, pathlib.Path("a/b")),
        (pathlib.PurePosixPath | None, None),
        (Person, Person(name="a", born=dt.date(2000, 1, 1), friends=[Person(name="b")])),
        (list[Person], [Person(name="a")]),
        (int | str | None, None),
        (int | str | None, "x"),
        (Annotated[int, msgspec.Meta(ge=0)], 5),
        (float, 0.1),
        (bool, True),
        (Any, {"a": [1, None, 2.5, "x", b"y"]}),
        (object, [1]),
    ],
    ids=str,
)
def test_a_value_arrives_as_what_it_was(annotation, value):
    def task(x): ...

    task.__annotations__["x"] = annotation
    (arrived,), keywords = travel(task, value)
    assert (arrived, type(arrived), keywords) == (value, type(value), {})


def test_what_is_passed_under_no_annotation_arrives_as_plain_data():
    def task(x, y=None): ...

    assert travel(task, (1, 2), y=Address("s")) == (([1, 2], {"street": "s", "tags": []}), {})


def everything(a: int, /, b: str, c: float = 0.5, *more: int, d: bool, e: bytes = b"e", **named: dt.date): ...


@given(
    a=st.integers(-(2**63), 2**63 - 1),
    b=st.text(st.characters(exclude_categories=["Cs"])),
    c=st.none() | st.floats(allow_nan=False),
    more=st.lists(st.integers(0, 2**63)),
    d=st.booleans(),
    e=st.none() | st.binary(),
    named=st.dictionaries(st.sampled_from(["f", "g", "more", "named", "self"]), st.dates()),
)
def test_every_kind_of_parameter_arrives_as_it_was_passed(a, b, c, more, d, e, named):
    args = (a, b) if c is None else (a, b, c, *more)
    options = {} if e is None else {"e": e}
    got_args, got_keywords = travel(everything, *args, d=d, **options, **named)
    assert got_args == (a, b, 0.5 if c is None else c, *(more if c is not None else ()))
    assert got_keywords == {"d": d, "e": b"e" if e is None else e, **named}


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(x=plain, y=plain)
def test_any_plain_data_arrives_as_it_was(x, y):
    def task(x, y): ...

    assert travel(task, x, y) == ((x, y), {})
    assert travel(task, x, y=y) == ((x, y), {})


@given(
    order=st.builds(
        Order,
        id=st.uuids(),
        placed=st.datetimes(timezones=st.just(dt.UTC)),
        total=st.decimals(allow_nan=False, allow_infinity=False),
        to=st.builds(Address, st.text("abc"), st.lists(st.text("xyz"))),
        note=st.binary(),
    )
)
def test_any_dataclass_arrives_as_it_was(order):
    def task(order: Order): ...

    (arrived,), _ = travel(task, order=order)
    assert arrived == order


def test_a_default_is_filled_in_by_the_worker():
    def before(x: int): ...

    def after(x: int, y: str = "new", *, z: int = 3): ...

    stored = Signature("task", before).encode((1,), {})
    assert Signature("task", after).decode(stored) == ((1, "new"), {"z": 3})


def test_a_default_of_another_type_than_its_annotation_is_as_good_as_in_python():
    def task(x: int = None, y: list[int] = ()): ...  # type: ignore[assignment]

    assert travel(task) == ((None, ()), {})
    assert travel(task, None) == ((None, ()), {})


def test_a_mutable_default_is_the_same_in_the_worker():
    shared = [1]

    def task(x: list[int] = shared, y: dict[str, int] = {}): ...  # noqa: B006 - that is the point

    assert travel(task) == (([1], {}), {})
    assert travel(task, [1, 2], {"a": 1}) == (([1, 2], {"a": 1}), {})
    assert travel(task, [], {}) == (([], {}), {})


def test_passing_the_default_is_the_same_as_leaving_it_out():
    def task(x: int = 5, y: list[int] = []): ...  # noqa: B006

    signature = Signature("task", task)
    assert signature.encode((5,), {"y": []}) == signature.encode((), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [
        ((), {}, r"task\(\).*'to'"),
        ((1, 2, 3), {}, r"task\(\).*too many"),
        (("a",), {"to": "b"}, r"task\(\).*'to'"),
        (
            ("a",),
            {"cpoies": 2},
            r"no argument 'cpoies' \(did you mean 'copies'\?\); it takes \(to: str, copies: int = 1\)",
        ),
        ((5,), {}, r"task\(\): argument 'to': expected `str`, got `int`"),
        (("a", "two"), {}, r"argument 'copies': expected `int`, got `str`"),
        (("a", None), {}, "argument 'copies': expected `int`, got `None`"),
        (("a", 2**70), {}, "argument 'copies' cannot be stored"),
        (("\udcff",), {}, "argument 'to' cannot be stored"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_where_it_is_made(args, kwargs, complaint):
    def task(to: str, copies: int = 1): ...

    with pytest.raises(ArgumentError, match=complaint):
        travel(task, *args, **kwargs)


def test_what_does_not_fit_is_named_however_deep_it_lies():
    def task(orders: list[Order]): ...

    bad = dataclasses.replace(ORDER, to=Address("s", ["a", 5]))  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match=r"argument 'orders\[1\]\.to\.tags\[1\]': expected `str`, got `int`"):
        travel(task, [ORDER, bad])


def test_an_unknown_argument_of_a_variadic_function_lands_in_its_keywords():
    def task(*args, **kwargs): ...

    assert travel(task, 1, "x", colour="red") == ((1, "x"), {"colour": "red"})


def test_variadic_arguments_are_checked_each():
    def task(*numbers: int, **dates: dt.date): ...

    with pytest.raises(ArgumentError, match=r"argument 'numbers\[1\]'"):
        travel(task, 1, "two")
    with pytest.raises(ArgumentError, match="'dates"):
        travel(task, start="soon")
    with pytest.raises(ArgumentError, match="missing"):
        travel(everything, 1)


@pytest.mark.parametrize(
    "thing", [object(), lambda: 1, open, type, dt], ids=["object", "function", "open", "type", "module"]
)
def test_what_cannot_be_stored_is_named(thing):
    def task(x, y): ...

    with pytest.raises(ArgumentError, match="argument 'y' cannot be stored: .*pass plain data"):
        travel(task, 1, [thing])


def test_what_contains_itself_cannot_be_stored():
    def task(x): ...

    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ArgumentError, match="'x' cannot be stored"):
        travel(task, endless)


def test_a_model_that_cannot_be_made_is_refused_whatever_it_raises():
    def task(person: Person, other: Stubborn | None = None): ...

    with pytest.raises(ArgumentError, match=r"task\(\)"):
        travel(task, {"name": ["not a name"]})
    with pytest.raises(ArgumentError, match=r"task\(\)"):
        travel(task, Person(name="a"), Stubborn())


def test_the_worker_checks_again():
    def before(x: str): ...

    def after(x: int): ...

    def gone(y: int): ...

    stored = Signature("task", before).encode(("a",), {})
    with pytest.raises(ArgumentError, match="argument 'x': expected `int`"):
        Signature("task", after).decode(stored)
    with pytest.raises(ArgumentError, match=r"unknown field `x`|missing required field `y`"):
        Signature("task", gone).decode(stored)
    with pytest.raises(ArgumentError):
        Signature("task", after).decode(b"\xff")


def test_annotations_that_exclude_each_other_are_refused_when_the_task_is_declared():
    app = Worklist("memory://")
    with pytest.raises(ConfigError, match="annotations cannot be checked"):

        @app.task
        def task(x: Address | Order): ...


def test_an_annotation_that_cannot_be_resolved_is_taken_as_any():
    def task(x: "Nowhere", y: int): ...  # type: ignore[name-defined] # noqa: F821

    assert travel(task, [1], 2) == (([1], 2), {})


def test_arguments_arrive_in_the_worker_and_the_result_comes_back_typed(file_app: Worklist):
    seen: list[Any] = []

    @file_app.task
    def ship(order: Order, *, by: dt.date) -> Person:
        seen.append((order, by))
        return Person(name=order.to.street, born=by)

    job = ship.enqueue(ORDER, by=dt.date(2031, 1, 1))
    file_app.work(until_empty=True)
    assert seen == [(ORDER, dt.date(2031, 1, 1))]
    assert job.result(timeout=0) == Person(name="Main St", born=dt.date(2031, 1, 1))
    assert file_app.job(job.id).result(timeout=0) == job.result()


def test_a_job_whose_arguments_no_longer_fit_fails_and_is_kept(app: Worklist, run):
    def before(x: str): ...

    def after(x: int): ...

    old = Worklist("memory://")
    stored = old.task(name="task")(before).job(("a",), {})
    app.task(name="task")(after)
    app.put([stored])
    record = run(app, app.job(stored.id))
    assert (record.state, record.errors[0].type) == ("failed", "ArgumentError")
    assert "argument 'x': expected `int`" in record.errors[0].message
    assert record.body == old._codec.encode(stored)
