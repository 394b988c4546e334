"""RAPL by the kernel's powercap files: energy counters of processor packages and of their memory.

`/sys/class/powercap/intel-rapl:N` (AMD's too) is a package, `intel-rapl:N:M` a domain within it. `energy_uj` counts to
`max_energy_range_uj` and goes on at 0. Only `dram` lies outside of its package; `core` and `uncore` lie within, and `psys`
contains the packages, so those are not read. Since CVE-2020-8694 the counters are readable by root alone.
Source: kernel documentation, power/powercap/powercap.rst.
"""

from dataclasses import dataclass
from pathlib import Path

from energy_agent.config.node_meters import NodeMeters
from energy_agent.core.meters.reading import MeterError, MeterReading, Scope
from energy_agent.core.ports import Clock
from energy_agent.node.meter_source import NodeSource, read_number, read_text

PACKAGE_MAX_MW = 2_000_000
"""More than a socket of 2026 and its memory draw: what the counter can have counted at most, where nobody says."""
AGE_NS = 2_000_000  # the hardware updates about every ms


@dataclass(frozen=True, slots=True)
class _Zone:
    domain: str
    scope: Scope
    folder: Path
    wrap_uj: int | None


class RaplMeter:
    """The zones that are there."""

    def __init__(self, zones: list[_Zone], clock: Clock) -> None:
        self._zones, self._clock = zones, clock

    def read(self) -> tuple[MeterReading, ...]:
        """Every zone's counter."""
        readings = []
        for zone in self._zones:
            try:
                energy_uj = read_number(zone.folder / "energy_uj")
            except OSError as error:
                raise MeterError(_reason(zone.folder / "energy_uj", error)) from None
            if energy_uj < 0 or (zone.wrap_uj is not None and energy_uj > zone.wrap_uj):
                raise MeterError(f"{zone.domain}: implausible counter {energy_uj}")
            t_ns, boot_ns = self._clock.utc_ns(), self._clock.boot_ns()
            readings.append(
                MeterReading(
                    zone.domain, zone.scope, t_ns, boot_ns, energy_uj, zone.wrap_uj, None, PACKAGE_MAX_MW, 100, 1, AGE_NS
                )
            )
        return tuple(readings)

    def close(self) -> None:
        """Nothing is held."""


def open_rapl(config: NodeMeters, clock: Clock) -> RaplMeter:
    """Find the zones.

    Raises:
        MeterError: none is there, or they cannot be read, with the reason.
    """
    packages = zones(config.sysfs)
    if not packages:
        raise MeterError(f"no RAPL package in {config.sysfs / 'class/powercap'}")
    meter = RaplMeter(packages, clock)
    meter.read()
    return meter


def zones(sysfs: Path) -> list[_Zone]:
    """Packages and memory; a zone that MMIO shows a second time (`intel-rapl-mmio`) is the same one and left out."""
    packages, drams = [], []
    for folder in sorted((sysfs / "class/powercap").glob("intel-rapl:*")):
        name, numbers = read_text(folder / "name"), folder.name.split(":")[1:]
        if name.startswith("package-"):
            packages.append(_zone(name, Scope.PACKAGE, folder))
        elif name == "dram" and len(numbers) == 2:
            socket = read_text(folder.parent / f"intel-rapl:{numbers[0]}" / "name").removeprefix("package-") or numbers[0]
            drams.append(_zone(f"dram-{socket}", Scope.DRAM, folder))
    # A package of several dies may be shown once a die under one name: each keeps its own.
    domain_counts: dict[str, int] = {}
    named = []
    for zone in packages + drams:
        domain_counts[zone.domain] = domain_counts.get(zone.domain, 0) + 1
        again = domain_counts[zone.domain]
        named.append(zone if again == 1 else _Zone(f"{zone.domain}-{again}", zone.scope, zone.folder, zone.wrap_uj))
    return named


def _zone(domain: str, scope: Scope, folder: Path) -> _Zone:
    try:
        wrap_uj = read_number(folder / "max_energy_range_uj")
    except (OSError, MeterError):
        wrap_uj = 0
    return _Zone(domain[:64], scope, folder, wrap_uj if wrap_uj > 0 else None)


def _reason(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"only root can read {path}; run the agent as root, or set sources.node.rapl.enabled: false"
    return f"{path}: {error.strerror}"


def _period_s(config: NodeMeters) -> float | None:
    """Off where the kernel shows none, which is no fault: containers and virtual machines have none."""
    return config.rapl.period_s if config.rapl.enabled and zones(config.sysfs) else None


SPEC = NodeSource("processor packages and memory, by RAPL", _period_s, open_rapl)
