"""The app of the suite `composition`: tasks for lanes, groups and chains. WORKLIST_URL names the queue."""

from bench.systems.gate import Counter, Gate, Starts, Tenants, called_back
from worklist import Worklist

gate = Gate()
counter = Counter()
tenants = Tenants()
starts = Starts()
app = Worklist()


@app.task
def counted(number: int) -> int:
    if not gate.open:
        gate.wait()
    counter.count()
    return number


@app.task
def member(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@app.task
def callback(results: list[int]) -> None:
    called_back(results)


@app.task(lane=lambda tenant, **_: tenant)
def of_tenant(tenant: str, number: int) -> int:
    if not gate.open:
        gate.wait()
    tenants.count(tenant != "large")
    return number


@app.task(lane="limited", rate="50/s")
def limited(number: int) -> int:
    if not gate.open:
        gate.wait()
    starts.note()
    return number


@app.task(lane=lambda lane, **_: lane, rate="0.0001/s")
def rarely(lane: str) -> None: ...
