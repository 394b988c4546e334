"""What the engines of one page counted between its readings, and since the first of them. Pure.

Each engine is followed by itself, so that one that starts again while another goes on is told apart. The first reading of a
page is the zero point: what was done before it is not ours to join with joules. From then on an engine, a model or a counter
that comes up has counted from zero. A value that could not be read keeps its last count: nothing of it is lost or told twice.
"""

from energy_agent.core.token_types import TokenDelta, TokenTotals
from energy_agent.sources.tokens._advance import Grown, advance
from energy_agent.sources.tokens._reader import MODELS_LIMIT
from energy_agent.sources.tokens._reading import ModelReading, TokenPageError
from energy_agent.sources.tokens._standing import Model, Standing, decode, encode


class PageAccount:
    """The account of one page of one workload."""

    def __init__(self, workload: str, source: str, *, live: bool, group: str = "", precision: str = "") -> None:
        """`source` names the page; the others are as of `TokenDelta` and `TokenTotals`."""
        self._workload, self._source, self._live = workload, source, live
        self._group, self._precision = group, precision
        self._stand = Standing()

    def feed(self, readings: list[ModelReading], t_ns: int) -> list[TokenDelta]:
        """Take a reading of the page at `t_ns` (UTC); what each model did since the last one. Empty for the first one.

        Raises:
            TokenPageError: the page has named too many models by now; nothing has changed.
        """
        since_ns, models = self._stand.read_ns, self._stand.models
        if len(models.keys() | {reading.model for reading in readings}) > MODELS_LIMIT:
            raise TokenPageError(f"metrics page has named more than {MODELS_LIMIT} models by now")
        deltas = []
        for model in models.values():
            model.running = model.waiting = None
        for reading in readings:
            known = reading.model in models
            model = models.setdefault(reading.model, Model())
            start_ns = model.read_ns if known else since_ns
            grown = advance(model, reading, first=since_ns is None)
            model.read_ns = t_ns
            model.running, model.waiting = _gauge(reading, "running"), _gauge(reading, "waiting")
            if start_ns is not None:
                # A clock that stepped back makes no stretch, and loses nothing.
                deltas.append(self._delta(reading.model, min(start_ns, t_ns), model, grown))
        self._stand.read_ns = t_ns
        return deltas

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
                dict(m.counts),
                m.running if up else None,
                m.waiting if up else None,
                m.latencies.get("ttft"),
                m.latencies.get("itl"),
            )
            for name, m in self._stand.models.items()
        )

    def dump(self) -> str:
        """All of it as JSON, to go on from after a restart."""
        return encode(self._stand)

    def restore(self, text: str) -> None:
        """Go on from what `dump` wrote.

        Raises:
            ValueError: it is not what `dump` writes; the account stays as it is.
        """
        self._stand = decode(text)

    def _delta(self, name: str, start_ns: int, model: Model, grown: Grown) -> TokenDelta:
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
            requests=grown.counts.get("requests"),
            steps=grown.counts.get("steps"),
            running=model.running,
            waiting=model.waiting,
            ttft=grown.latencies("ttft"),
            itl=grown.latencies("itl"),
            restarted=grown.restarted,
        )


def _gauge(reading: ModelReading, key: str) -> int | None:
    found = [engine.gauges[key] for engine in reading.engines if key in engine.gauges]
    return sum(found) if found else None
