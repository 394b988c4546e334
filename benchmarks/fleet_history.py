"""Remote write of a fleet's history into Prometheus and VictoriaMetrics, equivalent to scrapes.

A range of hours could be scraped only in hours. The samples are those of the fleet's formulas at the scrape times of the past,
in the order of time, with the labels that a scrape would have given them; only requested metrics are written. Wire format:
Prometheus remote write 1.0, a WriteRequest of protobuf in a snappy block
(https://prometheus.io/docs/specs/prw/remote_write_spec/).
"""

import math
import re
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fleet_model import ScrapedFleet, ScrapeTarget
from benchmarks.fleet_queries import seconds
from benchmarks.fleet_servers import LoopbackConnection
from benchmarks.fleet_template import Key
from dashboards.build.build import expressions
from dashboards.rules import rules

STEPS_A_REQUEST = 20
_SERIES_A_REQUEST = 1000
_SOONER_S = 0.5  # times are sums
_SAMPLE = np.dtype([("head", "u1"), ("size", "u1"), ("vtag", "u1"), ("value", "<f8"), ("ttag", "u1"), ("time", "u1", 6)])
_HEADERS = {
    "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0",
}  # fmt: skip


def asked_for() -> frozenset[str]:
    """Names of all metrics in queries of dashboards, rules and alerts."""
    return frozenset(name for _, expr in expressions() for name in re.findall(r"(?<![:\w])wattlens_[a-z0-9_]+(?![:\w])", expr))


class Receiver(LoopbackConnection):
    """A remote-write endpoint on loopback."""

    def write(self, request: bytes) -> None:
        """Send a WriteRequest; raises RuntimeError where it is refused."""
        status, reply, _ = self.request("POST", "/api/v1/write", _snappy(request), _HEADERS)
        if status // 100 != 2:
            raise RuntimeError(f"remote write: {status} {reply[:300]!r}")


class RecordedSeriesWriter:
    """Writes what rules would have recorded: each series at one value, as often as its group is evaluated."""

    def __init__(
        self, series: Iterable[dict[str, Any]], receivers: Sequence[Receiver], external: Sequence[dict[str, str]]
    ) -> None:
        """Of these, the result of an instant query; `receivers` and `external` as of a `FleetHistoryWriter`."""
        self._receivers = receivers
        every = {rule.record: seconds(group.interval) for group in rules.groups() for rule in group.rules}
        self._heads: dict[float, list[list[bytes]]] = {}
        self._values: dict[float, list[float]] = {}
        for each in series:
            interval_s = every[each["metric"]["__name__"]]
            heads = self._heads.setdefault(interval_s, [[] for _ in external])
            for known, more in zip(heads, external, strict=True):
                known.append(_labels({**each["metric"], **more}))
            self._values.setdefault(interval_s, []).append(float(each["value"][1]))
        self._last_s = dict.fromkeys(self._heads, -math.inf)

    def write(self, times_s: Sequence[float]) -> None:
        """Write the samples of these times, after earlier ones."""
        for interval_s, heads in self._heads.items():
            due_s = []
            for t_s in times_s:
                if t_s > self._last_s[interval_s] + interval_s - _SOONER_S:
                    self._last_s[interval_s] = t_s
                    due_s.append(t_s)
            if due_s:
                samples = _samples(np.tile(self._values[interval_s], (len(due_s), 1)), due_s)
                for receiver, known in zip(self._receivers, heads, strict=True):
                    for first in range(0, len(known), _SERIES_A_REQUEST):
                        part = slice(first, first + _SERIES_A_REQUEST)
                        receiver.write(_request(known[part], samples[part]))


class FleetHistoryWriter:
    """Writes a fleet's history; series labels are built once, because that takes longer than a scrape's samples."""

    def __init__(
        self, fleet: ScrapedFleet, receivers: Sequence[Receiver], names: frozenset[str], external: Sequence[dict[str, str]]
    ) -> None:
        """History of the metrics `names`; `external` has each receiver's labels in addition to those of the scrape."""
        self._fleet, self._receivers = fleet, receivers
        self._chosen = {
            id(t.template): [i for i, (name, _) in enumerate(t.template.keys) if name in names] for t in fleet.targets
        }
        self._heads = [
            [_heads(target, self._chosen[id(target.template)], more) for target in fleet.targets] for more in external
        ]

    def write(
        self, times_s: Sequence[float], recorded: RecordedSeriesWriter, progress: Callable[[str], None] = lambda _: None
    ) -> int:
        """Write the samples and recorded series of these times; return the number of samples of one receiver.

        All in the order of time, as in a server's real past: servers store late samples separately, which makes each query
        slower.
        """
        written = 0
        for first in range(0, len(times_s), STEPS_A_REQUEST):
            part = times_s[first : first + STEPS_A_REQUEST]
            began = time.monotonic()
            for n, target in enumerate(self._fleet.targets):
                samples = _samples(target.values(part)[:, self._chosen[id(target.template)]], part)
                for receiver, known in zip(self._receivers, self._heads, strict=True):
                    receiver.write(_request(known[n], samples))
                written += samples.shape[0] * len(part)
            recorded.write(part)
            took_s = time.monotonic() - began
            progress(f"history: {first + len(part)} of {len(times_s)} scrapes, {written:,} samples, {took_s:.1f} s")
        return written


def _heads(target: ScrapeTarget, series: Iterable[int], more: dict[str, str]) -> list[bytes]:
    scraped = {"instance": target.name, "job": target.job, **dict(target.more)}
    return [_labels({**more, **_of(target.keys[i]), **scraped}) for i in series]


def _of(key: Key) -> dict[str, str]:
    return {"__name__": key[0], **dict(key[1])}


def _labels(labels: dict[str, str]) -> bytes:
    fields = []
    for name, value in sorted(labels.items()):
        if value:
            label = _field(1, name.encode()) + _field(2, value.encode())
            fields.append(_field(1, label))
    return b"".join(fields)


def _samples(values: NDArray[np.float64], times_s: Sequence[float]) -> NDArray[np.void]:
    """Of each series a row: its samples as protobuf fields of a TimeSeries."""
    made = np.zeros(values.T.shape, dtype=_SAMPLE)
    made["head"], made["size"], made["vtag"], made["ttag"] = 0x12, 1 + 8 + 1 + 6, 0x09, 0x10
    made["value"] = values.T
    for k, t_s in enumerate(times_s):
        stamp = _varint(int(t_s * 1000))
        if len(stamp) != 6:
            raise ValueError(f"no time of this century: {t_s}")
        made["time"][:, k] = np.frombuffer(stamp, dtype="u1")
    return made


def _request(heads: Sequence[bytes], samples: NDArray[np.void]) -> bytes:
    return b"".join(_series(head, row.tobytes()) for head, row in zip(heads, samples, strict=True))


def _series(head: bytes, samples: bytes) -> bytes:
    return b"\x0a" + _varint(len(head) + len(samples)) + head + samples


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def _snappy(data: bytes) -> bytes:
    """One literal: a valid snappy block, as compressing on loopback would only take time from who is measured."""
    return _varint(len(data)) + b"\xfc" + struct.pack("<I", len(data) - 1) + data


def times(end_s: float, hours: float, scrape_s: float) -> list[float]:
    """The scrape times of the past."""
    count = int(hours * 3600 / scrape_s)
    return [end_s - scrape_s * (count - k) for k in range(count)]


def times_since(last_s: float, now_s: float, scrape_s: float) -> list[float]:
    """The scrape times after the last one."""
    return [last_s + scrape_s * (k + 1) for k in range(int((now_s - last_s) / scrape_s))]
