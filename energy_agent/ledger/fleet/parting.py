"""Divide a segment's rows by day and by the site of their device; each part gets the labels of its workloads."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

from energy_agent.core.boundary import is_meter, site_and_meter
from energy_agent.ledger.claims import ROWS, Refused
from energy_agent.ledger.fleet.index import DAY_NS
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.rows.kinds import INT64_MAX, KINDS
from energy_agent.ledger.segments.table import Columns, SegmentTable

_FACTS = tuple(kind.name for kind in KINDS.values() if kind.is_fact)
_TIME = {kind.name: "cell_start_ns" if "cell_start_ns" in kind.forms else kind.interval[0] for kind in KINDS.values()}
"""The field that says which day a row is of."""


class DayLocations:
    """Where things stood on one day. Asked once for each thing, if nothing moves within a day, as in an inventory of days."""

    def __init__(self, sites: Sites, start_ns: int) -> None:
        self._sites, self.start_ns, self.end_ns = sites, start_ns, start_ns + DAY_NS
        self.skus = sites.skus
        edges = (t for stays in sites.stays.values() for stay in stays for t in (stay.from_ns, stay.to_ns))
        self._by_day = all(t % DAY_NS == 0 or t == INT64_MAX for t in edges)
        self.any_known = bool(sites.stays) or sites.default is not None
        self._whose: tuple[str, str] | None = None
        self._site_cache: dict[tuple[str, int], str] = {}

    def sites_of(self, cluster: str, node: str, devices: Sequence[str], times: Sequence[int]) -> list[str]:
        """The site of each device at each time of the day; a single site if all devices are there.

        Raises:
            UsageError: the inventory has no site for a device.
        """
        if self._whose != (cluster, node):
            self._whose, self._site_cache = (cluster, node), {}
        if not self._by_day:
            return [self._site_of(device, t_ns) for device, t_ns in zip(devices, times, strict=True)]
        by_device = {device: self._site_of(device, self.start_ns) for device in dict.fromkeys(devices)}
        sites = list(dict.fromkeys(by_device.values()))
        return sites if len(sites) == 1 else [by_device[device] for device in devices]

    def _site_of(self, device: str, t_ns: int) -> str:
        assert self._whose is not None
        site = self._site_cache.get((device, t_ns))
        if site is None:
            site = self._site_cache[device, t_ns] = self._sites.site_of(*self._whose, device, t_ns)
        return site


def part(table: SegmentTable, places: DayLocations) -> dict[str, dict[str, Columns]]:
    """The day's rows by site and kind.

    Raises:
        UsageError: the inventory has no site for a device, or a meter names a site that cannot be a folder.
    """
    parted: dict[str, dict[str, Columns]] = {}
    who = table.header
    for kind, columns in table.columns.items():
        if kind in _FACTS:
            continue
        times = columns[_TIME[kind]]
        if min(times) < places.start_ns or max(times) >= places.end_ns:
            columns = _filter_rows(columns, [places.start_ns <= t < places.end_ns for t in times])
            times = columns[_TIME[kind]]
        if not times:
            continue
        sites = places.sites_of(who.cluster, who.node, columns.get("device") or [""] * len(times), times)
        distinct_sites = list(dict.fromkeys(sites))
        for site in distinct_sites:
            mine = columns if len(distinct_sites) == 1 else _filter_rows(columns, [one == site for one in sites])
            parted.setdefault(site, {})[kind] = mine
    for site, kinds in parted.items():
        kinds.update(_facts(table.columns, site, kinds))
    return parted


def without(table: SegmentTable, refused: Refused) -> SegmentTable:
    """A segment without the rows of cells that do not count."""
    kept = {}
    for kind, columns in table.columns.items():
        if kind in ROWS:
            cells = zip(columns["device"], columns["cell_start_ns"], strict=True)
            flags = [cell not in refused.get(device, ()) for device, cell in cells]
            if not all(flags):
                columns = _filter_rows(columns, flags)
        if len(next(iter(columns.values()))):
            kept[kind] = columns
    return replace(table, columns=kept)


def _facts(table: Mapping[str, Columns], site: str, kinds: Mapping[str, Columns]) -> dict[str, Columns]:
    """The facts of what a site's rows name, and of every meter of the site."""
    devices = {device for columns in kinds.values() for device in columns.get("device", ())}
    named = {"device": devices, "workload": devices | {w for columns in kinds.values() for w in columns.get("workload", ())}}
    facts = {}
    for kind in _FACTS:
        columns = table.get(kind, {})
        wanted = [n in named[kind] or (is_meter(n) and site_and_meter(n)[0] == site) for n in columns.get(kind, ())]
        if any(wanted):
            facts[kind] = columns if all(wanted) else _filter_rows(columns, wanted)
    return facts


def _filter_rows(columns: Columns, flags: list[Any]) -> Columns:
    return {name: list(compress(values, flags)) for name, values in columns.items()}
