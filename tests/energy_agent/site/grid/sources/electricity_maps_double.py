"""A double of Electricity Maps' API: a real HTTP server on loopback that responds as documented, or as a test configures it.

It is not the service. Its checks and responses follow the API reference of v3 for `past-range`, as clients quote it.
"""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

KEY = "s3cret-K3Y_of.the-test"

Answer = Callable[[BaseHTTPRequestHandler], None]


def intensity(hour: datetime) -> float:
    """What the double says of an hour."""
    return 300 + hour.hour + hour.day / 100


class Double:
    """The server. `lie` replaces its answers; `asked` has the queries that came."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.lie: Answer | None = None
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                double.asked.append(query | {"path": parts.path})
                if double.lie is not None:
                    double.lie(self)
                elif self.headers.get("auth-token") != KEY:
                    say(self, 401, {"error": "Invalid auth-token"})
                elif parts.path != "/v3/carbon-intensity/past-range":
                    say(self, 404, {"error": "not found"})
                else:
                    say(self, 200, double.page(query))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def page(self, query: dict[str, str]) -> dict[str, object]:
        """The documented answer: at most ten days of hours, [start, end)."""
        start, end = (datetime.fromisoformat(query[key]) for key in ("start", "end"))
        assert end - start <= timedelta(days=10), "the API refuses more"
        assert query["temporalGranularity"] == "hourly"
        hours = (start + timedelta(hours=n) for n in range(int((end - start) / timedelta(hours=1))))
        return {"zone": query["zone"], "temporalGranularity": "hourly", "data": [self.row(query, h) for h in hours]}

    def row(self, query: dict[str, str], hour: datetime) -> dict[str, object]:
        """One hour, as the documentation shows one."""
        guessed = hour.hour == 5
        return {
            "zone": query["zone"],
            "carbonIntensity": intensity(hour),
            "datetime": hour.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "updatedAt": "2026-11-26T04:00:00.000Z",
            "createdAt": "2026-11-20T04:00:00.000Z",
            "emissionFactorType": query["emissionFactorType"],
            "isEstimated": guessed,
            "estimationMethod": "TIME_SLICER_AVERAGE" if guessed else None,
        }

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def say(handler: BaseHTTPRequestHandler, status: int, page: object, **headers: str) -> None:
    """An answer in JSON, or of bytes as they are."""
    body = page if isinstance(page, bytes) else json.dumps(page).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
