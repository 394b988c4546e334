"""Energy and tokens of serving engines by the hour, for the price of a token. Pure.

An entry of energy belongs to the hour in which it began, and so does what an engine did between two readings: each joule and
each token is in one hour. An hour is final once energy and readings from after its end have been seen, or a minute after it.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from energy_agent.core.energy import Entry, State
from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.request_quantiles import NO_COMPUTED, POOLS
from energy_agent.core.workloads.serving import Serving, Split
from energy_agent.core.workloads.token_price import EngineHour, RequestTokens, prompt_shares
from energy_agent.core.workloads.tokens import Latencies, TokenDelta, joined
from energy_agent.tokens.server_spec import LENGTHS

HOUR_NS: Final = 3600 * NS_PER_S
HOURS_KEPT: Final = 25
PATIENCE_NS: Final = 60 * NS_PER_S
_ENGINES_MAX: Final = 256
_NO_FIT: Final = Split(None, None)


@dataclass(frozen=True, slots=True)
class SensorError:
    """Error of the energy of a GPU: of its sensor, as a ratio, and at each edge of a window, uJ."""

    gain_ratio: float
    edge_uj: int


@dataclass(slots=True)
class _Hour:
    """An hour of an engine that is not final."""

    start_ns: int
    end_ns: int
    active_uj: int = 0
    idle_uj: int = 0
    usage: RequestTokens = field(default_factory=RequestTokens)
    requests: int | None = None
    lengths: dict[str, Latencies] = field(default_factory=dict)  # by field of TokenDelta
    has_pools: bool = False
    devices: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Engine:
    seen_ns: int = 0
    energy_until_ns: int = 0
    tokens_until_ns: int = 0
    split: Split = _NO_FIT
    hours: dict[int, _Hour] = field(default_factory=dict)
    final: deque[EngineHour] = field(default_factory=lambda: deque(maxlen=HOURS_KEPT))


class PriceHours:
    """All engines of a node."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._engines: dict[str, _Engine] = {}

    def add(self, entries: Iterable[Entry], rows: Iterable[TokenDelta], engines: Mapping[str, str]) -> None:
        """Add energy and tokens; what is not an engine's is left out.

        Args:
            entries: of GPUs.
            rows: of metrics endpoints.
            engines: workload -> its engine: the group whose pools serve together, or the workload itself.
        """
        for entry in entries:
            hour = self._hour(engines.get(entry.workload), entry.start_ns, entry.end_ns)
            if hour is None:
                continue
            hour.devices.add(entry.device)
            if entry.state is State.IDLE:
                hour.idle_uj += entry.energy_uj
            else:
                hour.active_uj += entry.energy_uj
            engine = self._engines[engines[entry.workload]]
            engine.energy_until_ns = max(engine.energy_until_ns, entry.end_ns)
        for row in rows:
            hour = self._hour(engines.get(row.workload), row.start_ns, row.end_ns)
            if hour is None:
                continue
            hour.models.add(row.model)
            computed = row.computed if row.computed is not None else row.prompt  # without a count of cached ones: all of them
            hour.usage = hour.usage.plus(RequestTokens(computed or 0, row.cached or 0, row.generation or 0))
            hour.has_pools = hour.has_pools or bool(row.role)
            if row.requests is not None:
                hour.requests = (hour.requests or 0) + row.requests
            for name in LENGTHS:
                grown = getattr(row, name)
                if grown is not None:
                    before = hour.lengths.get(name)
                    hour.lengths[name] = grown if before is None else joined((before, grown)) or grown
            engine = self._engines[engines[row.workload]]
            engine.tokens_until_ns = max(engine.tokens_until_ns, row.end_ns)

    def settle(self, now_ns: int, servings: Iterable[Serving], errors: Mapping[str, SensorError]) -> None:
        """Make hours final that are over, and forget engines that have been gone for a day.

        Args:
            now_ns: UTC ns.
            servings: fits of joules per token.
            errors: of the energy, by GPU.
        """
        for serving in servings:
            if serving.workload in self._engines:
                self._engines[serving.workload].split = serving.split
        for name, engine in list(self._engines.items()):
            for start_ns, hour in sorted(engine.hours.items()):
                end_ns = start_ns + HOUR_NS
                is_complete = min(engine.energy_until_ns, engine.tokens_until_ns) >= end_ns and now_ns >= end_ns + 5 * NS_PER_S
                if is_complete or now_ns >= end_ns + PATIENCE_NS:
                    if hour.devices:  # without energy there is nothing to divide
                        engine.final.append(_view(name, engine, hour, errors, final=True))
                    del engine.hours[start_ns]
            if now_ns - engine.seen_ns > HOURS_KEPT * HOUR_NS:
                del self._engines[name]

    def views(self, errors: Mapping[str, SensorError]) -> tuple[EngineHour, ...]:
        """Of each engine the final hours, oldest first, and then the open one."""
        engine_hours: list[EngineHour] = []
        for name, engine in sorted(self._engines.items()):
            engine_hours += engine.final
            hours = [hour for _, hour in sorted(engine.hours.items()) if hour.devices]
            engine_hours += [_view(name, engine, hour, errors, final=False) for hour in hours]
        return tuple(engine_hours)

    def restart(self) -> None:
        """UTC was set back: open hours begin again, final ones stay."""
        for engine in self._engines.values():
            engine.hours.clear()
            engine.energy_until_ns = engine.tokens_until_ns = 0

    def _hour(self, name: str | None, start_ns: int, end_ns: int) -> _Hour | None:
        """The open hour in which something began; None where it is no engine's, or its hour is final already."""
        if name is None or (name not in self._engines and len(self._engines) >= _ENGINES_MAX):
            return None
        engine = self._engines.setdefault(name, _Engine())
        begin_ns = start_ns - start_ns % HOUR_NS
        if engine.final and engine.final[-1].start_ns >= begin_ns:
            return None
        engine.seen_ns = max(engine.seen_ns, end_ns)
        hour = engine.hours.setdefault(begin_ns, _Hour(start_ns, end_ns))
        hour.start_ns, hour.end_ns = min(hour.start_ns, start_ns), max(hour.end_ns, end_ns)
        return hour


def _view(name: str, engine: _Engine, hour: _Hour, errors: Mapping[str, SensorError], *, final: bool) -> EngineHour:
    of = [errors[device] for device in hour.devices if device in errors]
    share, low, high = prompt_shares(hour.usage, engine.split)
    prompts = hour.lengths.get("computed_per_request") or (
        None if hour.usage.cached else hour.lengths.get("prompt_per_request")
    )
    outputs = hour.lengths.get("generation_per_request")
    no_lengths = NO_COMPUTED if prompts is None and "prompt_per_request" in hour.lengths else ""
    if hour.has_pools:
        prompts, outputs, no_lengths = None, None, POOLS
    return EngineHour(
        engine=name,
        model=next(iter(hour.models)) if len(hour.models) == 1 else "",
        start_ns=hour.start_ns,
        end_ns=hour.end_ns,
        active_uj=hour.active_uj,
        idle_uj=hour.idle_uj,
        usage=hour.usage,
        prompt_share=share,
        prompt_share_low=low,
        prompt_share_high=high,
        gain_ratio=max((each.gain_ratio for each in of), default=0.0),
        edge_uj=2 * sum(each.edge_uj for each in of),
        final=final,
        requests=None if hour.has_pools else hour.requests,
        prompts=prompts,
        outputs=outputs,
        no_lengths=no_lengths,
    )
