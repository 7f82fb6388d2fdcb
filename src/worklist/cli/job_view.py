"""Jobs as a person sees them, in a table or one in full, and as machines get them.

Pure: from records to texts and plain data. Bytes that cannot be decoded are shown as such, never raised.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from ..core.codec import Codec, decode_value
from ..core.errors import UndecodableJob
from ..core.job import ErrorInfo, Job, JobRecord, JobState, Progress
from .render import (
    STATE_STYLES,
    Cell,
    Column,
    ago,
    as_text,
    moment,
    one_line,
    pretty,
    spelt_seconds,
    table,
    visible,
)


def rows_of(records: Sequence[JobRecord]) -> Any:
    """Return a table with one line for each job."""
    columns = [
        Column("id"),
        Column("task"),
        Column("queue"),
        Column("state"),
        Column("attempt", right=True),
        Column("when"),
        Column("note"),
    ]
    return table(columns, [_row(record) for record in records])


def _row(record: JobRecord) -> list[Cell]:
    return [
        record.id,
        record.task,
        record.queue,
        (str(record.state), STATE_STYLES[record.state]),
        str(record.attempt),
        _when(record),
        (_note(record), "dim"),
    ]


def _when(record: JobRecord) -> str:
    """Return the time that matters most in the job's state."""
    if record.state is JobState.QUEUED and record.due is not None and record.due > record.enqueued + 1:
        return f"due {ago(record.due)}"
    return ago(record.finished or record.started or record.enqueued)


def _note(record: JobRecord) -> str:
    if record.cancelling:
        return "asked to stop"
    if record.state is not JobState.SUCCEEDED and record.errors:
        return one_line(f"{record.errors[-1].type}: {record.errors[-1].message}")
    if record.progress is not None and record.state is JobState.RUNNING:
        return _progress(record.progress)
    return ""


def _progress(progress: Progress) -> str:
    amount = f"{progress.done:g}" if progress.total is None else f"{progress.done:g} of {progress.total:g}"
    return f"{amount} {progress.note}".strip()


def details(record: JobRecord, codec: Codec) -> Iterator[Any]:
    """Yield all that is known of one job, part by part."""
    job, problem = _decoded(record, codec)
    width = max(len(label) for label, _ in _facts(record, job))
    lines = [Text.assemble((f"{label:<{width}}  ", "dim"), as_text(cell)) for label, cell in _facts(record, job)]
    yield Text("\n").join(lines)
    if problem:
        yield _headed("arguments", Text(visible(problem), "red"))
    elif job is not None and (arguments := _value(job.args)):
        yield _headed("arguments", Text(visible("\n".join(f"{k} = {pretty(v)}" for k, v in arguments.items()))))
    if record.result is not None:
        yield _headed("result", Text(visible(pretty(_value(record.result)))))
    for error in record.errors:
        yield _error(error)
    if record.logs:
        yield _headed("log", Text(visible("\n".join(record.logs))))


def _facts(record: JobRecord, job: Job | None) -> list[tuple[str, Cell]]:
    """Return the labelled lines of a job, those that say nothing left out."""
    facts: list[tuple[str, Cell | None]] = [
        ("job", (record.id, "bold")),
        ("task", record.task),
        ("queue", record.queue),
        ("state", (_state(record), STATE_STYLES[record.state])),
        ("attempt", _attempts(record)),
        ("priority", str(record.priority) if record.priority else None),
        ("key", record.key),
        ("enqueued", moment(record.enqueued)),
        ("due", moment(record.due) if record.due and record.due > record.enqueued + 1 else None),
        ("expires", moment(record.expires)),
        ("started", moment(record.started)),
        ("finished", moment(record.finished)),
        ("took", _took(record)),
        ("worker", record.worker),
        ("progress", _progress(record.progress) if record.progress else None),
        ("options", pretty(job.overrides) if job and job.overrides else None),
    ]
    return [(label, cell) for label, cell in facts if cell]


def _state(record: JobRecord) -> str:
    return f"{record.state}, asked to stop" if record.cancelling else str(record.state)


def _attempts(record: JobRecord) -> str:
    lost = f", {record.lost} of them lost with the worker" if record.lost else ""
    return f"{record.attempt}{lost}"


def _took(record: JobRecord) -> str | None:
    if record.started is None or record.finished is None:
        return None
    return spelt_seconds(max(0.0, record.finished - record.started))


def _headed(title: str, body: Text) -> Text:
    return Text.assemble((f"\n{title}\n", "bold"), body)


def _error(error: ErrorInfo) -> Text:
    head = (f"\nattempt {error.attempt}, {ago(error.at)}: ", "bold")
    what = (visible(f"{error.type}: {error.message}"), "red")
    return Text.assemble(head, what, (visible(f"\n{error.traceback.rstrip()}") if error.traceback else "", "dim"))


def _decoded(record: JobRecord, codec: Codec) -> tuple[Job | None, str]:
    """Return the job in a record's body, or why it cannot be decoded."""
    try:
        return codec.decode(record.body), ""
    except UndecodableJob as error:
        return None, str(error)


def _value(data: bytes) -> Any:
    try:
        return decode_value(data)
    except Exception:
        return {"(undecodable)": data}


def as_data(record: JobRecord, codec: Codec) -> dict[str, Any]:
    """Return a job as plain data for JSON; times are unix seconds."""
    job, problem = _decoded(record, codec)
    data = {name: getattr(record, name) for name in JobRecord.__struct_fields__ if name != "body"}
    data["arguments"] = None if job is None else _value(job.args)
    data["result"] = None if record.result is None else _value(record.result)
    data["errors"] = [_fields(error) for error in record.errors]
    data["progress"] = None if record.progress is None else _fields(record.progress)
    if problem:
        data["undecodable"] = problem
    return data


def _fields(struct: ErrorInfo | Progress) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
