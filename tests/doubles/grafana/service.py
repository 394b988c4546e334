"""A Grafana for tests, by its documented HTTP API: folders, dashboards with versions, data sources, alert rules, annotations.

It serves on loopback, accepts tokens of service accounts with the basic roles of an organization, and refuses requests that
Grafana refuses, with Grafana's messages. It has one organization and does not render dashboards or evaluate queries. Tests can
make it do what servers and people do: lock a dashboard that comes from a file, upgrade stored dashboards, hang, return too
much data.

Sources: Grafana's HTTP API reference (versions 10 to 13) and the messages that its server gives.
"""

import hmac
import json
import secrets
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from energy_agent.runtime.threads import start_thread
from tests.doubles.grafana import api
from tests.doubles.grafana.alerts import AlertRules
from tests.doubles.grafana.annotations import Annotations
from tests.doubles.grafana.dashboards import Boards
from tests.doubles.grafana.data_sources import DataSources

Role = Literal["Viewer", "Editor", "Admin"]
FAULTS: Final = ("deep", "error", "garbage", "hang", "huge", "login-page", "redirect", "slow", "broken-off")
_RANKS: Final = ("Viewer", "Editor", "Admin")
_BODY_LIMIT_B: Final = 8 << 20
_HANG_S: Final = 30.0


class GrafanaService:
    """Serves in threads of its own until `stop`.

    Attributes:
        url: where it is.
        fault: "" or one of FAULTS; every answer but that of /api/health is then of that kind.
        asked: (method, path with query) of every request, the newest last.
        writes: how many requests changed something.
    """

    def __init__(self, version: str = "12.2.0", prefix: str = "", tls: tuple[Path, Path] | None = None) -> None:
        """`prefix`: path below which it serves, as behind a proxy: `/grafana`. `tls`: certificate and key."""
        self.version, self.prefix, self.fault = version, prefix, ""
        self.asked: list[tuple[str, str]] = []
        self.writes = 0
        self.lock = threading.RLock()
        self.boards = Boards()
        self.sources = DataSources()
        self.rules = AlertRules(self.boards)
        self.annotations = Annotations()
        self._tokens: dict[str, Role] = {}
        service = self

        class Handler(_Handler):
            owner = service

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_port}{prefix}"
        start_thread(
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="grafana", daemon=True)
        )

    def token(self, role: Role) -> str:
        """A new token of a service account with this basic role."""
        token = f"glsa_{secrets.token_urlsafe(24)}"
        self._tokens[token] = role
        return token

    def revoke(self, token: str) -> None:
        """From now on the token is worth nothing."""
        del self._tokens[token]

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def role(self, header: str) -> Role | None:
        """The role behind an Authorization header; None: nobody's."""
        roles = [
            role for token, role in self._tokens.items() if hmac.compare_digest(header.encode(), f"Bearer {token}".encode())
        ]
        return roles[0] if roles else None

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any, headers: Any) -> tuple[int, Any]:
        """What an authorised request gets: status and JSON.

        Raises:
            api.RefusedError: what Grafana refuses.
        """
        parts = [unquote(part) for part in path.removeprefix("/api/").split("/")]
        for home in (self.boards, self.sources, self.rules, self.annotations):
            route = home.route(method, parts)
            if route is not None:
                needed, act = route
                self._allow(needed, self.role(headers.get("Authorization", "")))
                with self.lock:
                    status, answer = act(api.Asked(query, body, headers))
                    self.writes += method != "GET"
                    return status, json.loads(json.dumps(answer))  # a copy: nobody changes the state behind the lock
        raise api.RefusedError(404, "Not found")

    @staticmethod
    def _allow(needed: api.Needed, role: Role | None) -> None:
        if role is None or _RANKS.index(role) < _RANKS.index(needed.role):
            asked = f"You'll need additional permissions to perform this action. Permissions needed: {needed.action}"
            raise api.RefusedError(403, asked, title="Access denied", accessErrorId=f"ACE{secrets.randbelow(10**10):010}")


class _Handler(BaseHTTPRequestHandler):
    owner: GrafanaService
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True  # else head and body of each answer are 40 ms apart

    def do_GET(self) -> None:
        """Read."""
        self._serve("GET")

    def do_POST(self) -> None:
        """Create, or save a dashboard."""
        self._serve("POST")

    def do_PUT(self) -> None:
        """Replace."""
        self._serve("PUT")

    def do_DELETE(self) -> None:
        """Delete."""
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        service, parts = self.owner, urlsplit(self.path)
        service.asked.append((method, self.path))
        del service.asked[:-5000]
        raw = self._body()
        path = parts.path.removeprefix(service.prefix) if parts.path.startswith(service.prefix) else ""
        if raw is None:
            self._json(413, {"message": "request body too large"})
        elif path == "/api/health" and service.fault != "login-page":
            self._json(200, {"commit": "double", "database": "ok", "version": service.version})
        elif service.fault:
            self._misbehave(service.fault)
        elif not path.startswith("/api/"):
            self._send(200, b"<!DOCTYPE html><title>Grafana</title>", "text/html; charset=UTF-8")
        elif service.role(self.headers.get("Authorization", "")) is None:
            self._json(401, {"message": "Invalid API key", "messageId": "api-key.invalid", "statusCode": 401, "traceID": ""})
        else:
            self._answer(method, path, parse_qs(parts.query), raw)

    def _answer(self, method: str, path: str, query: dict[str, list[str]], raw: bytes) -> None:
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            self._json(400, {"message": "bad request data"})
            return
        try:
            status, answer = self.owner.answer(method, path, query, body, self.headers)
        except api.RefusedError as error:
            status, answer = error.code, error.body
        self._json(status, answer)

    def _body(self) -> bytes | None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= _BODY_LIMIT_B:
            self.close_connection = True
            return None
        return self.rfile.read(length)

    def _misbehave(self, fault: str) -> None:
        if fault in ("hang", "slow"):
            end_s = time.monotonic() + _HANG_S
            try:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                while time.monotonic() < end_s and self.owner.fault == fault:
                    time.sleep(0.05)
                    if fault == "slow":  # a byte now and then: no single wait is long
                        self.wfile.write(b" ")
                        self.wfile.flush()
            except OSError:
                pass
            self.close_connection = True
        elif fault == "huge":
            self._send(200, b'"' + b"x" * (64 << 20) + b'"', "application/json")
        elif fault == "broken-off":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"dashboard": ')
            self.close_connection = True
        elif fault == "redirect":
            self.send_response(301)
            self.send_header("Location", "https://grafana.example/api/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault == "login-page":
            self._send(200, b"<!DOCTYPE html><title>Sign in</title>", "text/html; charset=UTF-8")
        elif fault == "deep":
            self._send(200, b'{"a":' * 500 + b"1" + b"}" * 500, "application/json")
        elif fault == "garbage":
            self._send(200, b"[" * 100_000, "application/json")
        else:
            self._json(500, {"message": "Internal server error\nsee the log"})

    def _json(self, status: int, body: Any) -> None:
        self._send(status, json.dumps(body).encode(), "application/json; charset=UTF-8")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the client would not wait
            self.close_connection = True

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""
