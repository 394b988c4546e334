"""Raw samples of a Prometheus, or of a server with its HTTP API (Thanos, Mimir, VictoriaMetrics), as they were scraped.

A range in an instant query, `x[6h]`, returns the samples themselves. A range query, a subquery or a rate returns values
derived from them at other instants, and a downsampled store returns only some of them. So this module queries samples by
range only, and instructs the store to use raw data and not to return partial responses. It first queries the number of samples
in a range, and splits the range if they are too many for one response, and again if the server reports that.
Source: Prometheus documentation, HTTP API.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import quote, urlencode

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.units import NS_PER_MS, NS_PER_S
from energy_agent.runtime.network.http import HttpClient, HttpError, HttpResponse, HttpTooLargeError
from energy_agent.runtime.network.tls import TlsFiles
from wattlens.prometheus.access import PrometheusAccess

SAMPLES_MAX: Final = 15_000
"""Samples asked for at once: some 40 bytes each, so that an answer stays within what is read of one."""
_LEAST_NS: Final = 60 * NS_PER_S  # a shorter range is not cut again
_TRIES: Final = 5
_TOO_MUCH: Final = frozenset({413, 422})  # too large; Prometheus: the query cannot be executed, as with too many samples
_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_ONLY_A_HINT: Final = "PromQL info"  # such as that a counter's name does not end in _total
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_TEXT_MAX: Final = 4_096
_SERIES_MAX: Final = 200_000

Labels = Mapping[str, str]
Sample = tuple[int, str]
"""UTC ns, and the value as the server wrote it."""


class TooMuchError(WattlensError):
    """The server, or our own bound, refused an answer of this size."""


@dataclass(frozen=True, slots=True)
class PrometheusSeries:
    """Samples of one series in order of time."""

    labels: Labels
    samples: tuple[Sample, ...]


def selector(name: str, matchers: Mapping[str, str], pattern: str = "", further: str = "") -> str:
    """A selector of `name` (or of names that match `pattern`) by equal labels, and by `further` matchers in PromQL.

    Raises:
        UsageError: a label's name that cannot be one.
    """
    for label in matchers:
        if not _LABEL.fullmatch(label):
            raise UsageError(f"{label!r} is not the name of a label")
    parts = [f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in sorted(matchers.items())]
    if pattern:
        parts.insert(0, f"__name__=~{json.dumps(pattern)}")
    if further:
        parts.append(further)
    return f"{name}{{{','.join(parts)}}}"


@dataclass
class PrometheusHistory:
    """Reads past samples. `requests` counts the requests."""

    access: PrometheusAccess
    samples_max: int = SAMPLES_MAX
    pause: Callable[[float], None] = time.sleep
    requests: int = 0
    _answered: bool = False
    _http: HttpClient = field(init=False)

    def __post_init__(self) -> None:
        self._http = HttpClient(self.access.url, self.access.timeout_s, TlsFiles(self.access.ca_file), "--ca-file")

    def samples(self, name: str, matchers: Mapping[str, str], start_ns: int, end_ns: int) -> list[PrometheusSeries]:
        """Every raw sample of [start_ns, end_ns] of a metric with these labels, series by series.

        Raises:
            WattlensError: no answer after several tries, one that makes no sense or that may lack a part.
        """
        if end_ns <= start_ns:
            return []
        select = selector(name, matchers)
        count = self._count(select, start_ns, end_ns)
        if not count:
            return []
        pieces = -(-count // self.samples_max)
        step = max(-(-(end_ns - start_ns) // pieces), min(_LEAST_NS, end_ns - start_ns))
        step += -step % NS_PER_MS
        by_labels: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
        for begin in range(start_ns, end_ns, step):
            self._collect(select, begin, min(begin + step, end_ns), by_labels)
        return [PrometheusSeries(dict(key), tuple(samples)) for key, samples in sorted(by_labels.items())]

    def _count(self, select: str, start_ns: int, end_ns: int) -> int:
        """How many samples a range holds."""
        try:
            query = f"sum(count_over_time({select}[{_range(start_ns, end_ns)}])) or vector(0)"
            return int(self.instant(query, end_ns)[0][1])
        except IndexError:
            raise self._strange("the response has no count") from None
        except TooMuchError:
            if end_ns - start_ns <= _LEAST_NS:
                raise
            middle = _middle(start_ns, end_ns)
            return self._count(select, start_ns, middle) + self._count(select, middle, end_ns)

    def _collect(
        self, select: str, start_ns: int, end_ns: int, by_labels: dict[tuple[tuple[str, str], ...], list[Sample]]
    ) -> None:
        try:
            answer = self._query(f"{select}[{_range(start_ns, end_ns)}]", end_ns, "matrix")
        except TooMuchError:
            if end_ns - start_ns <= _LEAST_NS:
                raise
            middle = _middle(start_ns, end_ns)
            self._collect(select, start_ns, middle, by_labels)
            self._collect(select, middle, end_ns, by_labels)
            return
        for item in answer:
            labels, values = _labels(item.get("metric")), item.get("values")
            if not isinstance(values, list):
                raise self._strange("a series has no values")
            mine = by_labels.setdefault(tuple(sorted(labels.items())), [])
            last = mine[-1][0] if mine else -1
            for pair in values:
                t_ns, value = self._pair(pair)
                if t_ns > last:  # both ends of a range may be part of it: a sample at a cut comes twice
                    mine.append((t_ns, value))
                    last = t_ns

    def instant(self, query: str, at_ns: int) -> list[tuple[Labels, Decimal]]:
        """The vector that a query gives at an instant; what is not a finite number is left out."""
        rows: list[tuple[Labels, Decimal]] = []
        for item in self._query(query, at_ns, "vector"):
            value = number(self._pair(item.get("value"))[1])
            if value is not None:
                rows.append((_labels(item.get("metric")), value))
        return rows

    def label_values(self, label: str, select: str, start_ns: int, end_ns: int) -> list[str]:
        """Values that a label of the series of a selector had."""
        if not _LABEL.fullmatch(label):
            raise UsageError(f"{label!r} is not the name of a label")
        data = self._get(f"/api/v1/label/{quote(label)}/values", select, start_ns, end_ns)
        if not all(map(_is_text, data)):
            raise self._strange("a label's value is not text")
        return sorted(data)

    def series(self, select: str, start_ns: int, end_ns: int) -> list[Labels]:
        """Labels of the series of a selector that were there at some time."""
        return [_labels(item) for item in self._get("/api/v1/series", select, start_ns, end_ns)]

    def _get(self, path: str, select: str, start_ns: int, end_ns: int) -> list[Any]:
        form = {"match[]": select, "start": _instant(start_ns), "end": _instant(end_ns)}
        data = self._data("GET", f"{path}?{urlencode(form)}", None)
        if not isinstance(data, list) or len(data) > _SERIES_MAX:
            raise self._strange("the data is not a list")
        return data

    def _query(self, query: str, at_ns: int, kind: str) -> Iterable[dict[str, Any]]:
        # What only Thanos knows is passed over by others: no part may be missing, and no downsampled data.
        form = {
            "query": query,
            "time": _instant(at_ns),
            "timeout": f"{self.access.timeout_s:g}s",
            "partial_response": "false",
            "max_source_resolution": "0s",
        }
        data = self._data("POST", "/api/v1/query", urlencode(form).encode())
        if not isinstance(data, dict) or data.get("resultType") != kind or not isinstance(data.get("result"), list):
            raise self._strange(f"the response is not a {kind}")
        if not all(isinstance(item, dict) for item in data["result"]):
            raise self._strange("a series is not an object")
        rows: list[dict[str, Any]] = data["result"]
        return rows

    def _data(self, method: str, path: str, body: bytes | None) -> Any:
        answer = self._ask(method, path, body)
        try:
            document = json.loads(answer.body, parse_float=str)
        except (ValueError, RecursionError):
            document = None
        reason = _short(document.get("error")) if isinstance(document, dict) else ""
        if answer.status in _TOO_MUCH:
            raise TooMuchError(f"{self._http.root}: {reason or f'HTTP {answer.status}'}")
        if not answer.ok or not isinstance(document, dict) or document.get("status") != "success":
            raise WattlensError(
                f"{self._http.root}: {reason or f'HTTP {answer.status}, which is not a response of the HTTP API of Prometheus'}"
            )
        warnings = document.get("warnings")
        warnings_shown = [_short(each) for each in warnings] if isinstance(warnings, list) else []
        if serious := next((each for each in warnings_shown if not each.startswith(_ONLY_A_HINT)), None):
            raise WattlensError(f"{self._http.root}: the response may be incomplete: {serious}")
        return document.get("data")

    def _ask(self, method: str, path: str, body: bytes | None) -> HttpResponse:
        """Ask, and again after ever longer pauses where the server is busy, or answers no more after it once did."""
        form = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        for attempt in range(_TRIES):
            if attempt:
                self.pause(0.5 * 2**attempt)
            self.requests += 1
            try:
                answer = self._http.request(method, path, {"Accept": "application/json", **form, **self.access.headers()}, body)
            except HttpTooLargeError as error:
                raise TooMuchError(str(error)) from None
            except HttpError as error:
                if not self._answered:
                    raise WattlensError(str(error)) from None
                failed = str(error)
                continue
            self._answered = True
            if answer.status not in _BUSY or attempt == _TRIES - 1:
                return answer
            failed = f"{self._http.root}: answered {answer.status}"
        raise WattlensError(f"{failed}; gave up after {_TRIES} attempts") from None

    def _pair(self, value: object) -> Sample:
        if isinstance(value, list) and len(value) == 2 and isinstance(value[1], str) and len(value[1]) <= 64:
            t_ns = _ns(value[0])
            if t_ns is not None:
                return t_ns, value[1]
        raise self._strange("a sample is not a pair of a timestamp and a string")

    def _strange(self, what: str) -> WattlensError:
        return WattlensError(f"{self._http.root}: {what}: this is not the HTTP API of Prometheus")


def number(text: str) -> Decimal | None:
    """A value as an exact number; None of what is not finite."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and abs(value.adjusted()) < 40 else None


def _ns(value: object) -> int | None:
    if type(value) is int:
        return value * NS_PER_S if 0 <= value < 1 << 33 else None
    if not isinstance(value, str):
        return None
    exact = number(value)
    return int(exact * NS_PER_S) if exact is not None and 0 <= exact < 1 << 33 else None


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > 200:
        raise WattlensError("a series has no labels: this is not the HTTP API of Prometheus")
    if not all(_is_text(k) and _is_text(v) for k, v in value.items()):
        raise WattlensError("a label is not a short text: this is not the HTTP API of Prometheus")
    return value


def _is_text(value: object) -> bool:
    """Short, and without lone surrogates, which no ledger could store."""
    return isinstance(value, str) and len(value) <= _TEXT_MAX and not _SURROGATES.search(value)


def _short(value: object) -> str:
    """Hostile text as one short line."""
    return "".join(c if c.isprintable() else " " for c in value[:200]) if isinstance(value, str) else ""


def _range(start_ns: int, end_ns: int) -> str:
    return f"{-(-(end_ns - start_ns) // NS_PER_MS)}ms"


def _middle(start_ns: int, end_ns: int) -> int:
    middle = (start_ns + end_ns) // 2
    return middle - middle % NS_PER_MS


def _instant(t_ns: int) -> str:
    return f"{t_ns // NS_PER_S}.{t_ns % NS_PER_S // NS_PER_MS:03d}"
