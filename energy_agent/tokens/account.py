"""Token counts of one endpoint's engines between readings, and since the first reading. Pure.

Each engine is followed separately, so that the restart of one is recognised while others continue. The first reading of an
endpoint is its zero point: earlier tokens have no matching energy. Engines, models and counters that appear later count from
zero. A value that cannot be read keeps its last count, so nothing is lost or counted twice.
"""

from collections.abc import Mapping
from typing import Final

from energy_agent.core.energy import REQUEST, Tokens
from energy_agent.core.meters.plausible import count_max
from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.tokens import TokenDelta, TokenTotals
from energy_agent.tokens.advance import CounterDelta, advance
from energy_agent.tokens.counter_state import EndpointState, ModelCounters, decode, encode
from energy_agent.tokens.reading import EndpointError, ModelReading
from energy_agent.tokens.response_parser import MODELS_LIMIT

KEPT_LIMIT: Final = 20_000
"""Numbers kept of all engines of an endpoint, those that are gone included: one may come back."""
TOTALS_LIMIT: Final = 4_000
"""Numbers of all models of an endpoint: each is published."""
PREFILL: Final = "prefill"
_DAY_S: Final = 86_400.0


class EndpointAccount:
    """The account of one page of one workload."""

    def __init__(self, workload: str, source: str, *, live: bool, group: str = "", precision: str = "", role: str = "") -> None:
        """`source` names the page; the others are as of `TokenDelta` and `TokenTotals`."""
        self._role = role
        self._workload, self._source, self._live = workload, source, live
        self._group, self._precision = group, precision
        self._stand = EndpointState()

    def feed(self, readings: list[ModelReading], t_ns: int, elapsed_s: float | None = None) -> list[TokenDelta]:
        """`advance` to a reading and go on from it."""
        self._stand, deltas = self.advance(readings, t_ns, elapsed_s)
        return deltas

    def accept(self, standing: EndpointState) -> None:
        """Go on from what `advance` returned."""
        self._stand = standing

    def advance(
        self,
        readings: list[ModelReading],
        t_ns: int,
        elapsed_s: float | None = None,
        *,
        totals_limit: int = TOTALS_LIMIT,
        kept_limit: int = KEPT_LIMIT,
    ) -> tuple[EndpointState, list[TokenDelta]]:
        """Return the counters with a reading, and what each model did since the last one: nothing for the first one.

        The account itself does not change.

        Args:
            readings: of all models.
            t_ns: UTC ns of the reading.
            elapsed_s: time since the last reading by a clock that never steps; None: not known, UTC has to do.
            totals_limit: maximum of numbers that all models together publish.
            kept_limit: maximum of numbers that are kept of engines.

        Raises:
            EndpointError: the endpoint has named too many models by now, or counts faster than any engine can.
        """
        since_ns, models = self._stand.read_ns, {name: model.copy() for name, model in self._stand.models.items()}
        if elapsed_s is None:
            elapsed_s = _DAY_S if since_ns is None or t_ns < since_ns else (t_ns - since_ns) / NS_PER_S
        if len(models.keys() | {reading.model for reading in readings}) > MODELS_LIMIT:
            raise EndpointError(f"metrics endpoint has reported more than {MODELS_LIMIT} models")
        deltas, all_grown = [], 0
        for model in models.values():
            model.running = model.waiting = None
        for reading in readings:
            is_known = reading.model in models
            model = models.setdefault(reading.model, ModelCounters())
            start_ns = model.read_ns if is_known else since_ns
            grown = advance(model, reading, first=since_ns is None, elapsed_s=elapsed_s)
            all_grown += sum(grown.counts.values())
            model.read_ns = t_ns
            model.running, model.waiting = _gauge(reading, "running"), _gauge(reading, "waiting")
            if start_ns is not None:
                # A clock that stepped back makes no interval, and loses nothing.
                deltas.append(self._delta(reading.model, min(start_ns, t_ns), model, grown))
        if all_grown > count_max(elapsed_s):
            raise EndpointError(
                f"implausible counters: they grew by {all_grown}, more than {count_max(elapsed_s)} in {elapsed_s:g} s"
            )
        if sum(model.size for model in models.values()) > totals_limit:
            raise EndpointError(f"metrics endpoint has reported more than {totals_limit} counters and buckets")
        _forget_engines(models, readings, kept_limit)
        return EndpointState(t_ns, models), deltas

    def totals(self, *, up: bool) -> tuple[TokenTotals, ...]:
        """What each model did so far; without gauges where the page does not answer."""
        return tuple(
            TokenTotals(
                m.read_ns,
                self._workload,
                name,
                self._group,
                self._precision,
                self._source,
                self._once(m.counts),
                m.running if up else None,
                m.waiting if up else None,
                m.latencies.get("ttft"),
                m.latencies.get("itl"),
                m.latencies.get("tpot"),
            )
            for name, m in self._stand.models.items()
        )

    def _once(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Counts in which the requests of a prefill server are 0: they end on the server that decodes them."""
        return {**counts, "requests": 0} if self._role == PREFILL and "requests" in counts else dict(counts)

    def dump(self) -> str:
        """All of it as JSON, to go on from after a restart."""
        return encode(self._stand)

    def restore(self, text: str) -> None:
        """Go on from what `dump` wrote.

        Raises:
            ValueError: it is not what `dump` writes; the account stays as it is.
        """
        self._stand = decode(text)

    def _delta(self, name: str, start_ns: int, model: ModelCounters, grown: CounterDelta) -> TokenDelta:
        counts = self._once(grown.counts)
        return TokenDelta(
            start_ns,
            model.read_ns,
            self._workload,
            self._group,
            name,
            self._source,
            self._live,
            prompt=grown.counts.get("prompt"),
            cached=grown.counts.get("cached"),
            computed=grown.counts.get("computed"),
            generation=grown.counts.get("generation"),
            requests=counts.get("requests"),
            steps=grown.counts.get("steps"),
            drafts=grown.counts.get("drafts"),
            accepted=grown.counts.get("accepted"),
            aborted=grown.counts.get("aborted"),
            running=model.running,
            waiting=model.waiting,
            ttft=grown.latencies("ttft"),
            itl=grown.latencies("itl"),
            prompt_per_request=grown.latencies("prompt_per_request"),
            computed_per_request=grown.latencies("computed_per_request"),
            generation_per_request=grown.latencies("generation_per_request"),
            restarted=grown.restarted,
            role=self._role,
        )


def _forget_engines(models: dict[str, ModelCounters], readings: list[ModelReading], limit: int) -> None:
    """Forget engines that are not in the readings, the longest absent first, until what is kept is within the limit."""
    size = sum(engine.size for model in models.values() for engine in model.engines.values())
    if size <= limit:
        return
    present = {(reading.model, engine.engine) for reading in readings for engine in reading.engines}
    absent = [
        (model.read_ns, name, each) for name, model in models.items() for each in model.engines if (name, each) not in present
    ]
    for _, name, each in sorted(absent, key=lambda engine: engine[0]):
        if size <= limit:
            break
        size -= models[name].engines.pop(each).size


def _gauge(reading: ModelReading, key: str) -> int | None:
    gauges = [engine.gauges[key] for engine in reading.engines if key in engine.gauges]
    return sum(gauges) if gauges else None


PHASES = {"prompt": "computed", "cached": "cached", "generation": "generation", REQUEST: "requests"}
"""Phases of tokens and the counters they are: disjoint, so that the sum of all but REQUEST is what was processed."""


def rows(delta: TokenDelta) -> list[Tokens]:
    """Its tokens by phase."""
    counts = ((phase, getattr(delta, count)) for phase, count in PHASES.items())
    return [Tokens(delta.start_ns, delta.end_ns, delta.workload, delta.model, phase, n) for phase, n in counts if n is not None]


def zeros(totals: TokenTotals, before: Mapping[str, int], t_ns: int) -> list[Tokens]:
    """Counters appear at 0 when they are first seen."""
    fresh = [phase for phase, count in PHASES.items() if count in totals.counts and count not in before]
    return [Tokens(t_ns, t_ns, totals.workload, totals.model, phase, 0) for phase in fresh]
