"""The same app on any broker: the URL is all that changes.

python examples/anywhere.py                                   # a file in a temporary folder
python examples/anywhere.py redis://localhost
python examples/anywhere.py postgresql://postgres@localhost/test
python examples/anywhere.py amqp://guest:guest@localhost redis://localhost    # results in a place of their own
"""

import sys
import tempfile

from worklist import Worklist


def make_app(url: str, results: str | None = None) -> Worklist:
    app = Worklist(url, results=results)

    @app.task(name="square", queue="anywhere")
    def square(n: int) -> int:
        return n * n

    return app


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url, *results = sys.argv[1:] or [f"sqlite:///{folder}/jobs.db"]
        with make_app(url, *results) as app:
            jobs = app.tasks["square"].enqueue_many([(n,) for n in range(10)])
            app.work(until_empty=True)
            print(f"on {app.place.scheme}://:", *(job.result(timeout=10) for job in jobs))


if __name__ == "__main__":
    main()
