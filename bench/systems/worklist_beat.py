"""The app of the beats that are killed: `python -m worklist beat bench.systems.worklist_beat:app`."""

from worklist import Worklist

app = Worklist()


@app.every("1s", overlap=True)
@app.task
def tick() -> None: ...
