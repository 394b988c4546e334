"""Metered share of the expected device time, so that a dead agent does not look like a saving. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from energy_agent.site.building.spans import merged
from reports.inputs.organisation import ExpectedDevice, Organisation
from reports.ledger.sums import LedgerSums, MeteredDevice, SiteWindow

NOT_LISTED = "without an inventory, devices that were never seen are not expected"
_EVERY: Final = "every device of "


@dataclass(frozen=True, slots=True)
class UncoveredDevice:
    """A device that was not metered for a part of the period."""

    site: str
    node: str
    device: str
    missing_ns: int
    expected_ns: int


@dataclass(frozen=True, slots=True)
class DeviceCoverage:
    """Metered share of the expected device time, of one site or of all.

    Args:
        observed_ns: device time that was metered, of devices that were expected.
        expected_ns: device time that there was.
        missed: what is missing by device, the most first.
        unlisted: devices that were seen and are in no inventory.
        listed: an inventory says what was to be expected; else it is what was seen at all.
        unseen_nodes: nodes of the inventory that were never seen and of whose boards it says nothing.
        usual_boards: boards that each of them is taken to have, at most.
    """

    observed_ns: int
    expected_ns: int
    missed: tuple[UncoveredDevice, ...] = ()
    unlisted: tuple[str, ...] = ()
    listed: bool = False
    unseen_nodes: int = 0
    usual_boards: int = 0

    @property
    def share(self) -> Fraction | None:
        """Observed over expected; None: nothing was expected."""
        return Fraction(self.observed_ns, self.expected_ns) if self.expected_ns else None


@dataclass(frozen=True, slots=True)
class _Stay:
    """Where a device, or all `boards` of a node, stood last, and when: times that do not overlap."""

    node: str
    count: int
    times: tuple[tuple[int, int], ...]

    @property
    def length_ns(self) -> int:
        return self.count * sum(end - start for start, end in self.times)


def coverage(sums: LedgerSums, organisation: Organisation) -> dict[str, DeviceCoverage]:
    """Coverage of every site of the report, by its name."""
    first = dict[str, dict[str, int]]()  # device -> site -> when it was seen there first
    for row in sums.metered_devices:
        at = first.setdefault(row.device, {})
        at[row.site] = min(row.first_ns, at.get(row.site, row.first_ns))
    return {site: _of_site(sums, organisation, site, window, first) for site, window in sorted(sums.windows.items())}


def together(parts: Mapping[str, DeviceCoverage]) -> DeviceCoverage:
    """Of all sites."""
    missed = sorted((m for p in parts.values() for m in p.missed), key=lambda m: (-m.missing_ns, m.site, m.device))
    return DeviceCoverage(
        sum(p.observed_ns for p in parts.values()),
        sum(p.expected_ns for p in parts.values()),
        tuple(missed),
        tuple(sorted(d for p in parts.values() for d in p.unlisted)),
        all(p.listed for p in parts.values()),
        sum(p.unseen_nodes for p in parts.values()),
        max((p.usual_boards for p in parts.values()), default=0),
    )


def _of_site(
    sums: LedgerSums, organisation: Organisation, site: str, window: SiteWindow, first: Mapping[str, Mapping[str, int]]
) -> DeviceCoverage:
    devices = _devices(row for row in sums.metered_devices if row.site == site)
    no_gpus = sums.site_processes  # enrolled for its key, as an inventory may list a site's process too
    rows = [e for e in organisation.expected if e.site == site and (e.uuid or (site, e.cluster, e.node) not in no_gpus)]
    usual = _usual_count(rows, devices)
    expected = _expected(rows, devices, window, usual) if rows else _seen_here(devices, window, first)
    observed = wanted = 0
    missed = []
    for device, stay in sorted(expected.items()):
        had_ns = _observed(devices[device], stay, window) if device in devices else 0
        observed, wanted = observed + had_ns, wanted + stay.length_ns
        if had_ns < stay.length_ns:
            missed.append(UncoveredDevice(site, stay.node, device, stay.length_ns - had_ns, stay.length_ns))
    missed.sort(key=lambda m: (-m.missing_ns, m.device))
    unlisted = tuple(sorted(devices.keys() - expected.keys())) if rows else ()
    dark = sum(device.startswith(_EVERY) for device in expected)
    return DeviceCoverage(observed, wanted, tuple(missed), unlisted, bool(rows), dark, usual if dark else 0)


def _observed(row: MeteredDevice, stay: _Stay, window: SiteWindow) -> int:
    """Time that a device was metered within its stay: at least so much.

    When it was metered is known as a total, from a first reading to a last one. What of that time lies outside of the stay can
    all have been metered, and is taken off.
    """
    first_ns, last_ns = max(row.first_ns, window.start_ns), min(row.last_ns, window.end_ns)
    inside_ns = sum(max(0, min(end, last_ns) - max(start, first_ns)) for start, end in stay.times)
    outside_ns = max(0, last_ns - first_ns - inside_ns)
    return max(0, min(row.metered_ns - outside_ns, stay.length_ns))


def _usual_count(rows: Iterable[ExpectedDevice], metered: Mapping[str, MeteredDevice]) -> int:
    """The most boards that were seen on a node of a site's inventory; 1 where none was seen."""
    listed = {(row.cluster, row.node) for row in rows}
    nodes = Counter((s.cluster, s.node) for s in metered.values())
    return max((boards for node, boards in nodes.items() if node in listed), default=1)


def _devices(rows: Iterable[MeteredDevice]) -> dict[str, MeteredDevice]:
    """What was seen by device: one that moved was metered on each of its nodes, and stands on the one where it was most."""
    devices: dict[str, MeteredDevice] = {}
    for row in sorted(rows, key=lambda row: (row.metered_ns, row.cluster, row.node)):
        had = devices.get(row.device)
        both = (0, 0) if had is None else (had.metered_ns, had.gap_ns)
        devices[row.device] = replace(row, metered_ns=row.metered_ns + both[0], gap_ns=row.gap_ns + both[1])
    return devices


def _expected(
    rows: list[ExpectedDevice], metered: Mapping[str, MeteredDevice], window: SiteWindow, usual: int
) -> dict[str, _Stay]:
    """Stays by device; a row of a whole node stands for the devices seen there that no row names.

    A node of which none was seen has as many boards as the site's usual node, which is that with the most. Of a node of which
    some were seen nothing is guessed.
    """
    expected: dict[str, _Stay] = {}
    listed = {row.uuid for row in rows}
    with_boards = {(row.cluster, row.node) for row in rows if row.uuid}
    unlisted: dict[tuple[str, str], list[str]] = {}
    for device, reading in metered.items():
        if device not in listed:
            unlisted.setdefault((reading.cluster, reading.node), []).append(device)
    for row in rows:
        start_ns, end_ns = max(row.start_ns, window.start_ns), min(row.end_ns, window.end_ns)
        if end_ns <= start_ns:
            continue
        devices = [row.uuid] if row.uuid else unlisted.get((row.cluster, row.node), [])
        count = 1
        if not devices and (row.cluster, row.node) not in with_boards:
            devices, count = [f"{_EVERY}{row.node}"], usual
        for device in devices:
            before = expected[device].times if device in expected else ()
            expected[device] = _Stay(row.node, count, merged([*before, (start_ns, end_ns)]))
    return expected


def _seen_here(
    metered: Mapping[str, MeteredDevice], window: SiteWindow, first: Mapping[str, Mapping[str, int]]
) -> dict[str, _Stay]:
    """Stays without an inventory: all of the period; one that moved was at each site until it was seen at the next."""
    stays = {}
    for device, row in metered.items():
        here_ns = first[device][row.site]
        came = any(t < here_ns for t in first[device].values())
        start_ns = max(window.start_ns, here_ns) if came else window.start_ns
        left_ns = min((t for t in first[device].values() if t > here_ns), default=window.end_ns)
        stays[device] = _Stay(row.node, 1, ((start_ns, max(start_ns, min(left_ns, window.end_ns))),))
    return stays
