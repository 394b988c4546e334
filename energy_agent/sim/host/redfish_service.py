"""The management controller of a simulated node: a Redfish service on loopback that shows the node's power and energy.

It requires a session or basic credentials, as real ones do, and can simulate faults while it runs: the file `redfish-fault` in
the node's folder holds a fault: slow, error, negative, absurd, stuck, backwards, huge or broken.
"""

import base64
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from energy_agent.runtime.threads import start_thread

USER: Final = "monitor"
_BODY_LIMIT: Final = 4096
_SLOW_S: Final = 30.0
_ROOT: Final = "/redfish/v1"
_SESSIONS: Final = f"{_ROOT}/SessionService/Sessions"
_CHASSIS: Final = f"{_ROOT}/Chassis/1"


class SimulatedRedfish:
    """Serves in threads of its own until `stop`. `read` gives power in W and energy in uJ at this instant."""

    def __init__(self, folder: Path, port: int, read: Callable[[], tuple[Decimal, int]]) -> None:
        self.folder, self._read = folder, read
        self.password = secrets.token_urlsafe(18)
        self.tokens: dict[str, str] = {}
        self._stuck: tuple[Decimal, int] | None = None
        for name, text in (("redfish-user", USER), ("redfish-password", self.password)):
            path = folder / name
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text(text + "\n")
        service = self

        class RedfishHandler(_Handler):
            owner = service

        self._server = ThreadingHTTPServer(("127.0.0.1", port), RedfishHandler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        start_thread(threading.Thread(target=self._server.serve_forever, name="redfish", daemon=True))

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def fault(self) -> str:
        """The fault that is set, "" for none."""
        try:
            return (self.folder / "redfish-fault").read_text().strip()
        except OSError:
            return ""

    def values(self) -> tuple[Decimal, int]:
        """Power in W and energy in uJ, as the service reports them."""
        power_w, energy_uj = self._read()
        fault = self.fault()
        if fault == "stuck":
            self._stuck = self._stuck or (power_w, energy_uj)
            return self._stuck
        self._stuck = None
        if fault == "backwards":
            return power_w, energy_uj // 2
        return {"negative": -power_w, "absurd": power_w * 1_000_000}.get(fault, power_w), energy_uj

    def resource(self, path: str) -> dict[str, Any] | None:
        """A resource by its path."""
        if path == _ROOT:
            return {"@odata.id": path, "RedfishVersion": "1.18.0", "Chassis": {"@odata.id": f"{_ROOT}/Chassis"}}
        if path == f"{_ROOT}/Chassis":
            return {"@odata.id": path, "Members": [{"@odata.id": _CHASSIS}], "Members@odata.count": 1}
        if path == _CHASSIS:
            links = {key: {"@odata.id": f"{path}/{key}"} for key in ("EnvironmentMetrics", "Power")}
            return {"@odata.id": path, "Id": "1", "ChassisType": "RackMount", "Status": {"State": "Enabled"}, **links}
        power_w, energy_uj = self.values()
        if path == f"{_CHASSIS}/EnvironmentMetrics":
            energy_kwh = float(Decimal(energy_uj // 3_600_000) / 1_000_000)
            return {"@odata.id": path, "PowerWatts": {"Reading": float(power_w)}, "EnergykWh": {"Reading": energy_kwh}}
        if path == f"{_CHASSIS}/Power":
            return {"@odata.id": path, "PowerControl": [{"MemberId": "0", "PowerConsumedWatts": int(power_w)}]}
        return None


class _Handler(BaseHTTPRequestHandler):
    owner: SimulatedRedfish
    timeout = 10

    def do_GET(self) -> None:
        """A resource."""
        path, fault = self.path.rstrip("/"), self.owner.fault()
        if fault == "slow":
            time.sleep(_SLOW_S)
        if path != _ROOT and not self._is_authorised():
            self._answer(401, {})
        elif fault == "error":
            self._answer(503, {})
        elif fault in ("huge", "broken"):
            self._send(200, b"x" * (8 << 20) if fault == "huge" else b'{"PowerWatts": {"Reading": ')
        else:
            body = self.owner.resource(path)
            self._answer(404 if body is None else 200, body or {})

    def do_POST(self) -> None:
        """Open a session."""
        length = int(self.headers.get("Content-Length") or 0)
        try:
            asked = json.loads(self.rfile.read(length)) if 0 < length <= _BODY_LIMIT else {}
            good = self._right(str(asked["UserName"]), str(asked["Password"]))
        except (ValueError, KeyError, TypeError):
            good = False
        if self.path.rstrip("/") != _SESSIONS or not good:
            self._answer(401, {})
            return
        token, where = secrets.token_urlsafe(24), f"{_SESSIONS}/{secrets.token_hex(4)}"
        self.owner.tokens[where] = token
        self._answer(201, {"@odata.id": where}, {"X-Auth-Token": token, "Location": where})

    def do_DELETE(self) -> None:
        """End a session."""
        has_session = self._is_authorised() and self.owner.tokens.pop(self.path, None) is not None
        self._answer(204 if has_session else 401, {})

    def _is_authorised(self) -> bool:
        token = self.headers.get("X-Auth-Token", "")
        if any(hmac.compare_digest(token, t) for t in list(self.owner.tokens.values())):
            return True
        try:
            pair = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic "), validate=True).decode()
        except ValueError:
            return False
        return self._right(*pair.partition(":")[::2])

    def _right(self, user: str, password: str) -> bool:
        return hmac.compare_digest(user.encode(), USER.encode()) and hmac.compare_digest(
            password.encode(), self.owner.password.encode()
        )

    def _answer(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(status, b"" if status == 204 else json.dumps(body).encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the client would not wait
            self.close_connection = True

    def log_message(self, *_args: Any) -> None:
        """Say nothing: the daemon's log is for faults."""
