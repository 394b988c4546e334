"""The site process's published state after a commit: immutable, read by scrapes only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from energy_agent.core.energy import Identity, SourceHealth
from energy_agent.core.meters.facility import MeterFacts
from energy_agent.core.selection import ALL, Selection
from energy_agent.core.snapshot import LedgerStats, ProcessCost
from energy_agent.site.building.pue import Pue


@dataclass(frozen=True, slots=True)
class FacilityView:
    """One meter. `power_mw` has the value None while the meter does not answer or its readings are not plausible."""

    facts: MeterFacts
    energy_uj: int | None  # None before its first reading
    gap_bound_uj: int | None  # None: nothing bounds it
    power_mw: int | None


@dataclass(frozen=True, slots=True)
class Intensity:
    """Carbon intensity of the grid now, as decimal text in g per kWh."""

    zone: str
    basis: str
    grams_per_kwh: str


@dataclass(frozen=True, slots=True)
class SiteSnapshot:
    """Everything that a scrape of the site shows."""

    sequence: int
    t_ns: int
    identity: Identity
    site: str
    meters: tuple[FacilityView, ...] = ()
    pue: Mapping[tuple[str, str], Pue] = field(default_factory=dict)  # by category (1, 2, 3, stated) and window
    grid: tuple[Intensity, ...] = ()
    health: tuple[SourceHealth, ...] = ()
    ledger: LedgerStats = field(default_factory=LedgerStats)
    config_reload_ok: bool = True
    config_reload_success_ns: int | None = None
    processes: tuple[ProcessCost, ...] = ()
    selection: Selection = ALL
    boot_ns: int = 0  # `t_ns` on the boot clock: how old it is

    @property
    def summary(self) -> str:
        """How it stands, in a few words."""
        up = sum(h.up for h in self.health if h.source.startswith("facility:"))
        return f"{up} of {len(self.meters)} meters respond"
