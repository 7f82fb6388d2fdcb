"""worklist move: from one file to another, as a user types it."""

from .conftest import Folder


def test_a_file_is_moved(folder: Folder) -> None:
    jobs = folder.tasks.add.enqueue_many([(n,) for n in range(3)])
    words = folder.ok("move", "--from", "sqlite:///worklist.db", "--to", "sqlite:///new.db")
    assert words == "moved 3 jobs, 0 schedules and 0 lanes from sqlite:///worklist.db to sqlite:///new.db\n"
    assert folder.ok("jobs", "--url", "sqlite:///worklist.db") == ""
    moved = folder.run("jobs", "--url", "sqlite:///new.db", "--json").stdout
    assert all(job.id in moved for job in jobs)
    again = folder.ok("move", "--from", "sqlite:///worklist.db", "--to", "sqlite:///new.db")
    assert again.startswith("moved 0 jobs")


def test_what_stays_is_said_and_told_by_the_exit_code(folder: Folder) -> None:
    folder.tasks.add.enqueue(1)
    (lease,) = folder.app.store.lease("w", ["default"], 1, 60.0)
    result = folder.run("move", "--from", "sqlite:///worklist.db", "--to", "sqlite:///new.db")
    assert result.exit_code == 1
    assert "1 stayed: they run" in result.stdout
    assert "worklist resume QUEUE" in result.stdout
    assert folder.app.store.load([lease.id])[0] is not None


def test_places_that_mean_nothing(folder: Folder) -> None:
    for source, target, complaint in (
        ("sqlite:///absent.db", "sqlite:///new.db", "there is no file absent.db"),
        ("memory://", "sqlite:///new.db", "live in the process"),
        ("sqlite:///a.db", "sqlite:///a.db", "expected two places"),
        ("sqlite:///a.db", "sqlit:///b.db", "did you mean 'sqlite'"),
    ):
        assert complaint in folder.error("move", "--from", source, "--to", target)
    assert not (folder.path / "new.db").exists()
