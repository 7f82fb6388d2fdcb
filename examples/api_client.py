"""A client that is polite to an API: a rate and a ceiling for each tenant, and a pause where the API asks for one.

The API is a server of this process, on the loopback interface. It gives each tenant a quota, and answers 429 with a
Retry-After when that is used up. One tenant's pause does not delay the others.

python examples/api_client.py
"""

import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from worklist import Snooze, Worklist

QUOTA = {"acme": 100, "globex": 5}
"""How many requests of a tenant are answered before it has to wait."""
WAIT = 1
"""For how many seconds."""

app = Worklist("memory://")


@app.task(lane=lambda tenant, **_: tenant, rate="20/s", concurrency=2)
def fetch(url: str, tenant: str, page: int) -> str:
    try:
        with urllib.request.urlopen(f"{url}/{tenant}/{page}", timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        if error.code != 429:
            raise
        with error:
            wait = float(error.headers["Retry-After"])
        app.lane(tenant).pause(wait)
        raise Snooze(wait) from None


class Api(BaseHTTPRequestHandler):
    lock = threading.Lock()
    left: ClassVar = dict(QUOTA)
    renewed: ClassVar[dict[str, float]] = {}
    refused: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        tenant, page = self.path.strip("/").split("/")
        allowed = self.allows(tenant)
        body = f"page {page} of {tenant}".encode() if allowed else b""
        self.send_response(200 if allowed else 429)
        if not allowed:
            self.send_header("Retry-After", str(WAIT))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def allows(self, tenant: str) -> bool:
        with self.lock:
            now = time.monotonic()
            if not self.left[tenant] and now >= self.renewed.setdefault(tenant, now + WAIT):
                self.left[tenant] = QUOTA[tenant]
                del self.renewed[tenant]
            if not self.left[tenant]:
                self.refused[tenant] += 1
                return False
            self.left[tenant] -= 1
            return True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    worker = app.make_worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    begun = time.monotonic()
    url = f"http://127.0.0.1:{server.server_port}"
    jobs = {tenant: fetch.enqueue_many([(url, tenant, page) for page in range(8)]) for tenant in QUOTA}
    for tenant, pages in jobs.items():
        got = [job.result(timeout=60) for job in pages]
        waited = time.monotonic() - begun
        print(f"{tenant}: {len(got)} pages in {waited:.1f} s, turned away {Api.refused[tenant]} times")
    worker.stop()
    thread.join()
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
