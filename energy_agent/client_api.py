"""The agent's answer to programs on its node: joules of a window from its own counters, as JSON on a unix socket.

Read-only and off unless the configuration names the socket. HTTP/1.1 is spoken:
`curl --unix-socket PATH http://agent/v1/window/START/END`, in UTC nanoseconds since 1970. The history is one row a published
snapshot for an hour, then one a minute for two days. A window's ends fall between two rows; how the energy between those lies
around an end is not known, and the stated half-width bounds it.
"""

import json
import re
import socket
import threading
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from energy_agent.core.errors import UsageError
from energy_agent.core.record import record
from energy_agent.core.snapshot import Snapshot
from energy_agent.core.units import NS_PER_S, UJ_PER_J
from energy_agent.http1 import BadRequestError, Reader, Response, serialize

_FULL_NS, _KEPT_NS, _THIN_NS = 3600 * NS_PER_S, 48 * 3600 * NS_PER_S, 60 * NS_PER_S
_CLIENTS = 16
_WAIT_S = 5.0
_WINDOW = re.compile(r"/v1/window/(\d{1,19})/(\d{1,19})")
_JSON = "application/json"


@record(frozen=True, slots=True)
class Row:
    """One snapshot: energy booked so far and what its edge may be wrong by, uJ, by device that answered."""

    t_ns: int
    energy_uj: dict[str, int]
    edge_uj: dict[str, int]
    gain: dict[str, float]


class History:
    """Rows in order of time. One thread adds, any may ask."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._next_thin = 0
        self.simulated = False

    def add(self, snapshot: Snapshot) -> None:
        """A snapshot was published."""
        self.simulated = snapshot.identity.simulated
        up = [d for d in snapshot.devices if d.up]
        row = Row(
            snapshot.t_ns,
            {d.info.uuid: sum(d.energy_uj.values()) for d in up},
            {d.info.uuid: d.edge_uj for d in up},
            {d.info.uuid: d.gain_uncertainty_ratio for d in up},
        )
        if self._rows and row.t_ns <= self._rows[-1].t_ns:
            self._rows = []  # the clock was set back: what was before cannot be put in order with it
        if self._next_thin <= row.t_ns:
            self._next_thin = row.t_ns + _THIN_NS
            self._rows = thinned(self._rows, row.t_ns)
        self._rows.append(row)

    def window(self, start_ns: int, end_ns: int) -> dict[str, object]:
        """Energy by device, or the reason why there is none; "later" where it is too early to tell."""
        rows = list(self._rows)
        if not rows or end_ns <= start_ns:
            return {"reason": "no snapshot has been taken yet" if not rows else "the window ends before it starts"}
        if start_ns < rows[0].t_ns:
            return {"reason": "the window starts before the agent's history"}
        if end_ns > rows[-1].t_ns:
            return {"reason": "the agent has not read its devices since the window's end", "later": True}
        ends = [_around(rows, t) for t in (start_ns, end_ns)]
        devices: dict[str, object] = {}
        for uuid in sorted({u for r in (*ends[0], *ends[1]) for u in r.energy_uj}):
            if any(uuid not in r.energy_uj for pair in ends for r in pair):
                devices[uuid] = {"reason": "the device did not answer the agent at an end of the window"}
                continue
            (first, first_half), (last, last_half) = (
                _at(pair, t, uuid) for pair, t in zip(ends, (start_ns, end_ns), strict=True)
            )
            half = first_half + last_half + ends[0][0].edge_uj[uuid] + ends[1][1].edge_uj[uuid]
            devices[uuid] = {
                "joules": (last - first) / UJ_PER_J, "half_j": half / UJ_PER_J, "gain": ends[1][1].gain[uuid],
                "method": "agent",
            }  # fmt: skip
        return {"devices": devices, "simulated": self.simulated}


def thinned(rows: Sequence[Row], now_ns: int) -> list[Row]:
    """Rows of the last hour, one a minute of the two days before."""
    kept: list[Row] = []
    for row in rows:
        if now_ns - row.t_ns > _KEPT_NS:
            continue
        if now_ns - row.t_ns > _FULL_NS and kept and row.t_ns - kept[-1].t_ns < _THIN_NS:
            continue
        kept.append(row)
    return kept


def _around(rows: Sequence[Row], t_ns: int) -> tuple[Row, Row]:
    i = min(max(bisect_right(rows, t_ns, key=lambda r: r.t_ns), 1), len(rows) - 1)
    return rows[i - 1], rows[i]


def _at(pair: tuple[Row, Row], t_ns: int, uuid: str) -> tuple[float, float]:
    """Energy booked at an instant between two rows, as if it came evenly, and by how much that can be wrong."""
    before, after = pair
    energy = after.energy_uj[uuid] - before.energy_uj[uuid]
    share = (t_ns - before.t_ns) / max(1, after.t_ns - before.t_ns)
    return before.energy_uj[uuid] + share * energy, max(share, 1 - share) * energy if 0 < share < 1 else 0.0


class ClientApi:
    """Serves a history on a unix socket that every user may connect to."""

    def __init__(self, path: Path, history: History) -> None:
        """Nothing is opened before `start`."""
        self._path, self._history = path, history
        self._places = threading.BoundedSemaphore(_CLIENTS)
        self._listener: socket.socket | None = None

    def start(self) -> None:
        """Bind and serve in the background.

        Raises:
            UsageError: the socket cannot be made there.
        """
        listener = socket.socket(socket.AF_UNIX)
        try:
            if self._path.is_socket():
                self._path.unlink()  # of an agent that was killed: the state folder's lock says that no other runs
            listener.bind(str(self._path))
            self._path.chmod(0o666)
            listener.listen(64)
        except OSError as error:
            listener.close()
            raise UsageError(f"client.socket: cannot listen on {self._path}: {error.strerror or error}") from None
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="client-api", daemon=True).start()

    def stop(self) -> None:
        """Close the socket and remove it."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._path.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if not self._places.acquire(blocking=False):
                client.close()  # somebody holds them all; each does so for _WAIT_S at most
                continue
            threading.Thread(target=self._serve, args=(client,), name="client-api", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, suppress(OSError):
                reader = Reader(client)
                try:
                    request = reader.request(_WAIT_S, _WAIT_S)
                    if request is None:
                        return
                    response = answer(self._history, request.method, request.path)
                except BadRequestError as bad:
                    response = _json(bad.status, {"reason": str(bad)})
                client.settimeout(_WAIT_S)
                client.sendall(serialize(response, body=True, close=True))
                reader.drain()
        finally:
            self._places.release()


def answer(history: History, method: str, path: str) -> Response:
    """The response to a request."""
    if method != "GET":
        return _json(405, {"reason": "GET"})
    match = _WINDOW.fullmatch(path)
    if match is None:
        return _json(404, {"reason": "there is: /v1/window/START/END, in UTC nanoseconds"})
    found = history.window(int(match[1]), int(match[2]))
    return _json(503 if found.get("later") else 200, found)


def _json(status: int, body: dict[str, object]) -> Response:
    return Response(status, _JSON, json.dumps(body).encode() + b"\n")
