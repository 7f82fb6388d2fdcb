"""Feeds: every format, complete after each page; killed at any moment, no item is lost or doubled."""

import csv
import dataclasses
import datetime as dt
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import types
import uuid
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import attrs
import msgspec
import psycopg
import pydantic
import pytest

from tests.servers.postgres import postgres_server, postgres_url  # noqa: F401 - fixtures
from worklist.core.errors import ConfigError
from worklist.crawl import feeds
from worklist.crawl.feeds import files
from worklist.crawl.items import Field, Item
from worklist.crawl.settings import Settings
from worklist.crawl.signals import SignalManager
from worklist.crawl.stats import StatsCollector


class Book(Item):
    title = Field()
    price = Field(serializer=lambda value: f"{value} EUR")


def crawler(target: object, crawl_id: str | None = "crawl-1", **options: object) -> types.SimpleNamespace:
    return types.SimpleNamespace(
        settings=Settings({"FEEDS": {str(target): options}}),
        spider=types.SimpleNamespace(name="books", shelf="a"),
        stats=StatsCollector(),
        signals=SignalManager(),
        crawl_id=crawl_id,
    )


def written(target: Path, pages: list[list[object]], crawl_id: str | None = None, **options: object) -> None:
    opened = feeds.open(crawler(target, crawl_id, **options))
    for number, items in enumerate(pages):
        opened.add(items, f"page-{number}")
    opened.close("finished")


def read(path: Path) -> list[dict]:
    """Read a feed strictly: what is not complete raises."""
    ending = path.suffix
    if ending == ".jsonl":
        text = path.read_text()
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]
    if ending == ".json":
        return json.loads(path.read_text())
    if ending == ".csv":
        with path.open(newline="") as file:
            rows = list(csv.reader(file, strict=True))
        assert all(len(row) == len(rows[0]) for row in rows)
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    if ending == ".xml":
        return [{field.tag: field.text for field in item} for item in ElementTree.parse(path).getroot()]
    from pyarrow import parquet

    return parquet.read_table(path).to_pylist()


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "xml", "parquet"])
def test_items_of_several_pages(tmp_path, ending):
    target = tmp_path / f"out.{ending}"
    written(target, [[{"n": "1", "t": "ä<&\n\"'"}], [], [{"n": "2", "t": ""}, {"n": "3", "t": "x,y"}]])
    rows = [{key: value or "" for key, value in row.items()} for row in read(target)]
    assert rows == [{"n": "1", "t": "ä<&\n\"'"}, {"n": "2", "t": ""}, {"n": "3", "t": "x,y"}]
    assert [each.name for each in tmp_path.iterdir()] == [target.name]  # nothing is left beside it


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "xml"])
def test_the_file_is_complete_after_each_page(tmp_path, ending):
    target = tmp_path / f"out.{ending}"
    opened = feeds.open(crawler(target))
    if ending != "csv":
        assert read(target) == []
    for number in range(5):
        opened.add([{"n": str(number)}], f"p{number}")
        assert [row["n"] for row in read(target)] == [str(each) for each in range(number + 1)]
    opened.close("shutdown")


def test_kinds_of_items(tmp_path):
    @dataclasses.dataclass
    class Plain:
        title: str
        when: dt.date

    @attrs.define
    class Attrs:
        title: str
        parts: list[Plain]

    class Model(pydantic.BaseModel):
        title: str
        at: uuid.UUID

    class Struct(msgspec.Struct):
        title: str
        price: Decimal

    day, number = dt.date(2026, 1, 2), uuid.UUID(int=1)
    items = [
        {"title": "dict", "nested": {"deep": [1, None]}, "tags": {"x"}},
        Plain("dataclass", day),
        Attrs("attrs", [Plain("inner", day)]),
        Model(title="pydantic", at=number),
        Struct("struct", Decimal("1.50")),
        Book(title="item", price=3),
    ]
    written(tmp_path / "out.jsonl", [items])
    assert read(tmp_path / "out.jsonl") == [
        {"title": "dict", "nested": {"deep": [1, None]}, "tags": ["x"]},
        {"title": "dataclass", "when": "2026-01-02"},
        {"title": "attrs", "parts": [{"title": "inner", "when": "2026-01-02"}]},
        {"title": "pydantic", "at": str(number)},
        {"title": "struct", "price": "1.50"},
        {"title": "item", "price": "3 EUR"},
    ]


def test_fields_are_chosen_and_renamed(tmp_path):
    written(tmp_path / "a.csv", [[{"a": 1, "b": 2}, {"b": 3}]], fields={"b": "Second", "a": "First"})
    assert (tmp_path / "a.csv").read_bytes() == b"Second,First\r\n2,1\r\n3,\r\n"
    written(tmp_path / "b.json", [[{"a": 1, "b": 2}, Book(title="t")]], fields=["a", "title"])
    assert read(tmp_path / "b.json") == [{"a": 1}, {"title": "t"}]


def test_items_are_filtered(tmp_path):
    written(tmp_path / "a.jsonl", [[{"a": 1}, Book(title="t")]], item_classes=[Book])
    assert read(tmp_path / "a.jsonl") == [{"title": "t"}]
    written(tmp_path / "b.jsonl", [[{"a": 1}, {"a": 2}]], item_filter=OnlyEven)
    assert read(tmp_path / "b.jsonl") == [{"a": 2}]


class OnlyEven:
    def __init__(self, options: dict) -> None:
        self.options = options

    def accepts(self, item: dict) -> bool:
        return item["a"] % 2 == 0


def test_encoding_and_indent(tmp_path):
    written(tmp_path / "a.json", [[{"a": "ü", "b": [1]}]], encoding="latin-1", indent=2)
    assert '"a": "ü"' in (tmp_path / "a.json").read_bytes().decode("latin-1")
    written(tmp_path / "a.xml", [[{"a": "ü€\x01", "no tag": [1, {"c": 2}]}]], encoding="latin-1", indent=1)
    root = ElementTree.parse(tmp_path / "a.xml").getroot()
    assert root[0].find("a").text == "ü€"
    assert [each.tag for each in root[0].find("field")] == ["value", "value"]


def test_batches(tmp_path):
    target = tmp_path / "part-%(batch_id)02d-%(name)s.json"
    written(target, [[{"n": n} for n in range(5)], [{"n": 5}]], batch_item_count=2)
    assert [[row["n"] for row in read(path)] for path in sorted(tmp_path.iterdir())] == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "xml", "parquet"])
def test_a_second_crawl_appends_or_overwrites(tmp_path, ending):
    target = tmp_path / f"out.{ending}"
    written(target, [[{"n": "1"}]])
    written(target, [[{"n": "2"}]], crawl_id="second")
    assert [row["n"] for row in read(target)] == ["1", "2"]
    written(target, [[{"n": "3"}]], overwrite=True)
    assert [row["n"] for row in read(target)] == ["3"]


def test_an_empty_feed(tmp_path):
    written(tmp_path / "a.json", [])
    assert read(tmp_path / "a.json") == []
    written(tmp_path / "b.json", [], store_empty=False)
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "xml"])
def test_what_a_kill_left_is_cut_off_and_pages_are_not_doubled(tmp_path, ending):
    target = tmp_path / f"out.{ending}"
    opened = feeds.open(crawler(target))
    opened.add([{"n": "1"}], "a")
    opened.close("shutdown")
    with target.open("ab") as file:
        file.write(b'{"n": "to')  # a write that a kill cut short
    again = feeds.open(crawler(target))
    assert [row["n"] for row in read(target)] == ["1"]
    again.add([{"n": "1"}], "a")
    again.add([{"n": "2"}], "b")
    again.close("finished")
    assert [row["n"] for row in read(target)] == ["1", "2"]


def test_the_columns_of_csv_outlive_a_restart(tmp_path):
    opened = feeds.open(crawler(tmp_path / "a.csv"))
    opened.add([{"b": 1, "a": 2}], "p1")
    opened.close("shutdown")
    again = feeds.open(crawler(tmp_path / "a.csv"))
    again.add([{"a": 3, "b": 4, "c": 5}], "p2")
    again.close("finished")
    assert read(tmp_path / "a.csv") == [{"b": "1", "a": "2"}, {"b": "4", "a": "3"}]


def test_a_full_disk_loses_nothing(tmp_path):
    """A limit on the size of files stands for the full disk: the write is cut short in the same way."""
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.crawl.test_feeds import crawler, feeds, read
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
target = Path({str(tmp_path / "out.json")!r})
opened = feeds.open(crawler(target))
opened.add([{{"n": 1}}], "a")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    opened.add([{{"n": "x" * 200_000}}], "b")
except feeds.FeedError as error:
    print(error)
assert read(target) == [{{"n": 1}}]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
opened.add([{{"n": 2}}], "b")
opened.close("finished")
assert read(target) == [{{"n": 1}}, {{"n": 2}}]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 items could not be written" in done.stdout


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.crawl.test_feeds import crawler, feeds
opened = feeds.open(crawler(sys.argv[2]))
print("open", flush=True)
for page in range(100_000):
    opened.add([{"page": str(page), "n": str(n), "text": "x" * (page * 37 % 9000)} for n in range(3)], f"page-{page}")
    sys.stdout.write(f"{page}\\n"); sys.stdout.flush()
"""


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "xml"])
def test_killed_at_any_moment(tmp_path, ending):
    """A crawl that is killed and run again from where it was settled: as many pages again as were not."""
    target = tmp_path / f"out.{ending}"
    rng = random.Random(ending)
    told = 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(Path(__file__).parents[2]), str(target)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(rng.uniform(0.0, 0.15))
        os.kill(process.pid, signal.SIGKILL)
        lines = process.stdout.read().splitlines()
        process.wait(timeout=10)
        process.stdout.close()
        told = max([told, *(int(line) + 1 for line in lines[:-1])])
    opened = feeds.open(crawler(target))
    opened.close("shutdown")
    rows = [(int(row["page"]), int(row["n"])) for row in read(target)]
    assert rows == [(page, n) for page in range(len(rows) // 3) for n in range(3)]
    assert len(rows) // 3 >= told > 0


def test_two_processes_share_a_file(tmp_path):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.crawl.test_feeds import crawler, feeds
opened = feeds.open(crawler(sys.argv[2]))
for page in range(200):
    opened.add([{"who": sys.argv[3], "page": page, "text": "y" * (page * 13 % 5000)}], f"{sys.argv[3]}-{page}")
    opened.add([{"who": "both", "page": page}], f"both-{page}")
opened.close("shutdown")
"""
    root = str(Path(__file__).parents[2])
    processes = [
        subprocess.Popen([sys.executable, "-c", code, root, str(tmp_path / "out.json"), who]) for who in ("a", "b")
    ]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    rows = read(tmp_path / "out.json")
    assert sorted((row["who"], row["page"]) for row in rows) == sorted(
        (who, page) for who in ("a", "b", "both") for page in range(200)
    )


@pytest.mark.parametrize("overwrite", [False, True])
def test_several_processes_end_with_one_parquet_file(tmp_path, monkeypatch, overwrite):
    target = tmp_path / "out.parquet"
    write = files.write_parquet

    def slowly(*args, **kwargs):
        time.sleep(0.3)
        write(*args, **kwargs)

    monkeypatch.setattr(files, "write_parquet", slowly)
    written(target, [[{"n": 0}]])
    opened = [feeds.open(crawler(target, overwrite=overwrite)) for _ in range(3)]
    for number, each in enumerate(opened, 1):
        each.add([{"n": number}], f"p{number}")
    threads = [threading.Thread(target=each.close) for each in opened]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["n"] for row in read(target)] == ([1, 2, 3] if overwrite else [0, 1, 2, 3])
    assert [each.name for each in tmp_path.iterdir()] == ["out.parquet"]


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.csv", "out.xml", "table"])
def test_who_joins_as_the_crawl_ends_empties_nothing(tmp_path, name):
    target = f"sqlite:///{tmp_path}/items.db?table=items" if name == "table" else tmp_path / name
    written(target, [[{"n": "1"}]], crawl_id="crawl-1", overwrite=True)
    late = crawler(target, overwrite=True)
    late.resumed = True
    feeds.open(late).close("finished")
    if name == "table":
        connection = sqlite3.connect(tmp_path / "items.db")
        assert connection.execute("SELECT n FROM items").fetchall() == [("1",)]
        connection.close()
    else:
        assert read(target) == [{"n": "1"}]


def test_no_parquet_file_without_items(tmp_path):
    written(tmp_path / "out.parquet", [], store_empty=False)
    assert list(tmp_path.iterdir()) == []


def test_sqlite_tables(tmp_path):
    path = tmp_path / "items.db"
    url = f"sqlite:///{path}?table=books"
    opened = feeds.open(crawler(url))
    opened.add([{"title": "a", "price": 1}], "p1")
    opened.add([{"title": "b", "tags": ["x", "y"], "on": dt.date(2026, 1, 2)}], "p2")
    opened.add([{"title": "a", "price": 1}], "p1")
    opened.close("shutdown")
    again = feeds.open(crawler(url, overwrite=True))  # goes on, does not overwrite what is its own
    again.add([{"title": "a", "price": 1}], "p1")
    again.close("finished")
    connection = sqlite3.connect(path)
    rows = connection.execute('SELECT title, price, tags, "on" FROM books ORDER BY title').fetchall()
    assert rows == [("a", 1, None, None), ("b", None, '["x","y"]', "2026-01-02")]
    assert connection.execute("SELECT count(*) FROM books_pages").fetchone() == (0,)
    connection.close()
    written(url, [[{"title": "c"}]], overwrite=True)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT * FROM books").fetchall() == [("c",)]
    connection.close()


def test_postgresql_tables(postgres_url):  # noqa: F811
    table = f"feed_{uuid.uuid4().hex[:12]}"
    admin = psycopg.connect(postgres_url, autocommit=True)
    url = f"{postgres_url}?table={table}"
    try:
        opened = feeds.open(crawler(url))
        opened.add([{"title": "a", "price": 1, "50%": True}], "p1")
        opened.add([{"title": "a", "price": 1}], "p1")
        opened.add([{"title": "b", "price": "12 EUR", "tags": ["x"]}], "p2")
        opened.close("finished")
        rows = admin.execute(f'SELECT title, price, "50%", tags FROM {table} ORDER BY title').fetchall()
        assert rows == [("a", "1", True, None), ("b", "12 EUR", None, '["x"]')]
    finally:
        admin.execute(f"DROP TABLE IF EXISTS {table}, {table}_pages")
        admin.close()


@pytest.mark.parametrize(
    ("target", "options", "says"),
    [
        ("out.jsn", {}, "did you mean 'json'"),
        ("out", {}, "expected jsonlines"),
        ("out.json", {"format": "cvs"}, "did you mean 'csv'"),
        ("out.json", {"overwite": True}, "did you mean 'overwrite'"),
        ("out.json", {"batch_item_count": 5}, r"%\(batch_id\)d"),
        ("s3://u:secret@bucket/x.json", {}, "not supported"),
        ("sqlite:///x.db?table=a-b", {}, "letters, digits"),
        ("sqlite://", {}, "names no file"),
        ("%(shelve)s.json", {}, "not known"),
        ("out.json", {"item_classes": ["no.such.Thing"]}, "cannot be imported"),
    ],
)
def test_mistakes_are_told(tmp_path, monkeypatch, target, options, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=says) as caught:
        feeds.open(crawler(target, **options))
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_feed_is_left_alone(tmp_path):
    (tmp_path / "out.json").write_text("not json at all")
    with pytest.raises(ConfigError, match="move it away"):
        feeds.open(crawler(tmp_path / "out.json"))
    assert (tmp_path / "out.json").read_text() == "not json at all"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(feeds.FeedError, match="cannot be opened"):
        feeds.open(crawler(tmp_path / "file" / "out.json"))
