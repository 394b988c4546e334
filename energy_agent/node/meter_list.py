"""The configured meters of the node, ready to be polled."""

from collections.abc import Iterator
from functools import partial

from energy_agent.config.node_meters import NodeMeters
from energy_agent.core import plugin
from energy_agent.core.meters.reading import MeterError, Scope
from energy_agent.core.ports import Clock
from energy_agent.node.meter_source import NodeSource
from energy_agent.runtime.meter_poller import MeterPoller, MeterSchedule, Readings

STILL_READINGS = 6


class _Moving:
    """A package that runs this very code draws something: a counter that does not move at all is broken."""

    def __init__(self) -> None:
        self._still: dict[str, tuple[int, int]] = {}  # domain -> (counter, how often it read the same)

    def __call__(self, readings: Readings) -> None:
        for reading in readings:
            if reading.energy_uj is None or reading.scope is Scope.DRAM or reading.power_mw is not None:
                continue
            counter, times = self._still.get(reading.domain, (-1, 0))
            times = times + 1 if counter == reading.energy_uj else 0
            self._still[reading.domain] = (reading.energy_uj, times)
            if times >= STILL_READINGS:
                raise MeterError(f"{reading.domain}: its counter does not advance")


def node_poller(clock: Clock, config: NodeMeters) -> MeterPoller:
    """All meters of the node that `config` has."""
    return MeterPoller(clock, "node", _meters(clock, config))


def _meters(clock: Clock, config: NodeMeters) -> Iterator[MeterSchedule]:
    import energy_agent.node.meters as package

    specs: dict[str, NodeSource] = plugin.discover(package)
    for name, spec in specs.items():
        period_s = spec.period_s(config)
        if period_s is not None:
            yield MeterSchedule(name, period_s, partial(spec.open, config, clock), _Moving())
