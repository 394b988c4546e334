"""Ledger sums -> facts: one typed, versioned document from which every form of the report is made. Pure.

The same sums, factor and savings give the same document, byte for byte, on any machine: no clock is read, integers are summed
as integers and each quotient is rounded once. An input that is not there leaves an absent figure with its reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from energy_agent.core.boundary import UNBOUNDED, Boundary, boundary
from energy_agent.core.errors import WattlensError
from energy_agent.core.types import State, WorkloadFacts
from energy_agent.core.units import NS_PER_S, UJ_PER_KWH, decimal
from energy_agent.factors.record import Factor
from reports.energy_per_token import token_figures
from reports.figures import BOUNDARY, LEDGER, Figure, Interval, energy_bounds, energy_text, quotient_bounds, quotient_text
from reports.intervals import of_devices, of_holders, of_rows
from reports.period import utc_text
from reports.savings import Savings
from reports.sums import HELD, Chain, Selection, Sums

SCHEMA = "wattlens.report.facts/1"
NO_COUNTRY = "no country given"

Bounds = Callable[[Sums, Selection], Interval | None]


@dataclass(frozen=True, slots=True)
class Conservation:
    """The check that every joule is booked once: the four buckets against the devices' energy, in uJ."""

    active_uj: int
    idle_uj: int
    unheld_uj: int
    unattributed_uj: int
    device_uj: int

    @property
    def buckets_uj(self) -> int:
        """Sum of the four buckets."""
        return self.active_uj + self.idle_uj + self.unheld_uj + self.unattributed_uj

    @property
    def holds(self) -> bool:
        """Equal to the last microjoule."""
        return self.buckets_uj == self.device_uj


@dataclass(frozen=True, slots=True)
class DeviceName:
    """Where a device is and what it is."""

    node: str
    sku: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The document. `workloads` maps each workload to what a person calls it."""

    simulated: bool
    period_start: str  # ISO 8601 UTC, whole seconds
    period_end: str
    period_start_ns: str  # UTC ns since 1970, exact
    period_end_ns: str
    chains: tuple[Chain, ...]
    figures: Mapping[str, Figure]
    factors: tuple[Factor, ...]
    conservation: Conservation
    devices: Mapping[str, DeviceName]
    workloads: Mapping[str, str]
    missing: Mapping[str, str]  # what the report does not hold -> reason
    status: str = "interim"
    schema: str = SCHEMA

    def by_prefix(self, prefix: str) -> list[Figure]:
        """Figures whose id starts with `prefix`, in id order."""
        return [self.figures[i] for i in sorted(self.figures) if i.startswith(prefix)]


_NODE = {"facility energy, PUE, water": "no facility source in this ledger; CO2e and J/token are at the GPU boundary"}

MISSING = {
    "node and facility energy, PUE, water": "no node or facility source in this ledger; every figure is at the GPU boundary",
    "market-based CO2e": "no contracts, certificates or residual mix given",
    "embodied CO2e": "no inventory of devices with their life spans given",
}


def build_facts(sums: Sums, factor: Factor | None = None, savings: Savings | None = None) -> Facts:
    """The facts of `sums`.

    Args:
        sums: sums of the period.
        factor: grid factor for location-based CO2e; None leaves it absent.
        savings: DVFS savings statement; None leaves it absent.

    Raises:
        WattlensError: the buckets do not add up to the devices' energy, so no figure may be published.
    """
    conservation = _conservation(sums)
    if not conservation.holds:
        raise WattlensError(
            f"the ledger does not add up: buckets hold {conservation.buckets_uj} uJ, devices {conservation.device_uj} uJ; "
            "run `wattlens ledger verify`"
        )
    coverage = _coverage(sums)
    figures = [
        *_energy(sums, coverage),
        *_gaps(sums),
        *_around(sums),
        *token_figures(sums, coverage),
        *_carbon(sums, factor, coverage),
        *_saving(savings),
        *(_action(key, count) for key, count in sorted(sums.actions.items())),
        *_quality(sums, coverage),
    ]
    return Facts(
        simulated=sums.simulated,
        period_start=utc_text(sums.start_ns),
        period_end=utc_text(sums.end_ns),
        period_start_ns=str(sums.start_ns),
        period_end_ns=str(sums.end_ns),
        chains=tuple(sorted(sums.chains, key=lambda c: (c.cluster, c.node))),
        figures={f.id: f for f in figures},
        factors=(factor,) if factor else (),
        conservation=conservation,
        devices={
            d: DeviceName(sums.nodes.get(d, ""), sums.devices[d].sku if d in sums.devices else "") for d in sums.device_uj
        },
        workloads={w: _called(w, sums.labels.get(w)) for w in sums.by_workload()},
        missing=MISSING if sums.around is None else _NODE | dict(list(MISSING.items())[1:]),
    )


def _conservation(sums: Sums) -> Conservation:
    by_state = {state: part.energy_uj for state, part in sums.everything().grouped(lambda k: k.state.value).items()}
    unattributed = sum(by_state.get(s.value, 0) for s in State if s.unattributed_reason)
    active, idle, unheld = (by_state.get(s.value, 0) for s in (State.ACTIVE, State.IDLE, State.UNHELD))
    return Conservation(active, idle, unheld, unattributed, sum(sums.device_uj.values()))


def _energy(sums: Sums, coverage: str) -> list[Figure]:
    def figure(identity: str, part: Selection, bounds: Bounds, **dims: str) -> Figure:
        low, high = energy_bounds(bounds(sums, part))
        return Figure(
            identity, energy_text(part.energy_uj), "J", part.methods(), BOUNDARY, coverage, low, high, LEDGER, dims=dims
        )

    everything = sums.everything()
    figures = [figure("energy.total", everything, of_devices)]
    for device, part in everything.grouped(lambda k: k.device).items():
        figures.append(figure(f"energy.device/{device}", part, of_devices, device=device))
    for w, part in sums.by_workload().items():
        figures.append(figure(f"energy.workload/{w}", part, of_holders, workload=w))
        for state in HELD:
            held = part.held(state)
            figures.append(figure(f"energy.workload.{state}/{w}", held, of_rows, workload=w, state=state.value))
    figures.append(figure("energy.unheld", everything.held(State.UNHELD), of_rows, state=State.UNHELD.value))
    for state in State:
        if reason := state.unattributed_reason:
            figures.append(figure(f"energy.unattributed/{reason}", everything.held(state), of_rows, reason=reason))
    return figures


def _gaps(sums: Sums) -> list[Figure]:
    """Unseen energy: its value is absent by definition, what is known are its bounds, 0 and the device's possible draw."""
    return [
        Figure(
            f"gap/{device}/{reason}",
            None,
            "J",
            "bound",
            BOUNDARY,
            low="0",
            high=energy_text(gap.bound_uj),
            sources=LEDGER,
            dims={"device": device, "reason": reason, "seconds": decimal(gap.duration_ns, NS_PER_S)},
            reason="no sensor saw this energy; it is in no sum",
        )
        for (device, reason), gap in sorted(sums.gaps.items())
    ]


def _around(sums: Sums) -> list[Figure]:
    """Energy around the GPUs where a meter of the node was booked: never in a figure at the GPU boundary."""
    around = sums.around
    if around is None:
        return []
    everything, coverage = around.everything(), _coverage(around, sums.end_ns - sums.start_ns)
    figures = []

    def add(identity: str, part: Selection, bounds: Bounds, within: Boundary, **dims: str) -> None:
        low, high = energy_bounds(bounds(around, part))
        value, methods = energy_text(part.energy_uj), part.methods()
        figures.append(Figure(identity, value, "J", methods, within, coverage, low, high, LEDGER, dims=dims))

    for device, part in everything.grouped(lambda k: k.device).items():
        add(f"energy.host/{device}", part, of_devices, boundary([device]), device=device)
    within = boundary(around.device_uj)
    for workload, part in around.by_workload().items():
        add(f"energy.host.workload/{workload}", part, of_holders, within, workload=workload)
    add("energy.host.unheld", everything.held(State.UNHELD), of_rows, within, state=State.UNHELD.value)
    for (device, reason), gap in sorted(around.gaps.items()):
        unknown = reason.startswith(UNBOUNDED)
        dims = {"device": device, "reason": reason, "seconds": decimal(gap.duration_ns, NS_PER_S)}
        low, high = (None, None) if unknown else ("0", energy_text(gap.bound_uj))
        why = "no meter saw this energy; it is in no sum"
        gap_id = f"gap/{device}/{reason}"
        figures.append(Figure(gap_id, None, "J", "bound", boundary([device]), None, low, high, LEDGER, dims=dims, reason=why))
    return figures


def _carbon(sums: Sums, factor: Factor | None, coverage: str) -> list[Figure]:
    """Location-based CO2e. Its interval is that of the energy alone where the factor's publisher states no error."""
    parts: list[tuple[str, Selection, Bounds, dict[str, str]]] = [("co2e.location.total", sums.everything(), of_devices, {})]
    for w, held in sums.by_workload().items():
        parts.append((f"co2e.location.workload/{w}", held, of_holders, {"workload": w}))
    figures = []
    for identity, part, bounds, dims in parts:
        if factor is None:
            figures.append(Figure(identity, None, "g", "location-based", BOUNDARY, dims=dims, reason=NO_COUNTRY))
            continue
        grams_per_uj = Fraction(factor.value) / UJ_PER_KWH
        low, high = quotient_bounds(bounds(sums, part), grams_per_uj)
        value = quotient_text(part.energy_uj * grams_per_uj)
        figures.append(
            Figure(identity, value, "g", "location-based", BOUNDARY, coverage, low, high, LEDGER, (factor.id,), dims)
        )
    return figures


def _saving(savings: Savings | None) -> list[Figure]:
    if savings is None:
        return [Figure("dvfs.saved", None, "J", "paired blocks", BOUNDARY, reason="no savings statement given")]
    low, high = quotient_bounds(Interval(savings.low_j, savings.high_j))
    saved = Figure("dvfs.saved", quotient_text(savings.saved_j), "J", savings.method, BOUNDARY, None, low, high, ("savings",))
    if savings.slowdown_ratio is None:
        return [saved]
    slowdown = Figure(
        "dvfs.slowdown", quotient_text(savings.slowdown_ratio), "ratio", savings.method, BOUNDARY, sources=("savings",)
    )
    return [saved, slowdown]


def _action(key: tuple[str, str, str], count: int) -> Figure:
    policy, action, outcome = key
    dims = {"policy": policy, "action": action, "outcome": outcome}
    return Figure(
        f"dvfs.actions/{policy}/{action}/{outcome}", str(count), "actions", "count", BOUNDARY, sources=LEDGER, dims=dims
    )


def _quality(sums: Sums, coverage: str) -> list[Figure]:
    """Coverage of the period, the active share, and the share of the energy that each method measured."""
    figures = [Figure("quality.coverage", coverage, "ratio", "device time metered", BOUNDARY, sources=LEDGER)]
    total = sum(sums.device_uj.values())
    if not total:
        why = "no energy in the period"
        return [*figures, Figure("share.active", None, "ratio", "none", BOUNDARY, sources=LEDGER, reason=why)]
    everything = sums.everything()
    active = quotient_text(Fraction(everything.held(State.ACTIVE).energy_uj, total))
    figures.append(Figure("share.active", active, "ratio", everything.methods(), BOUNDARY, coverage, sources=LEDGER))
    for method, part in everything.grouped(lambda k: k.method.value).items():
        share, dims = quotient_text(Fraction(part.energy_uj, total)), {"method": method}
        figures.append(Figure(f"quality.method/{method}", share, "ratio", method, BOUNDARY, sources=LEDGER, dims=dims))
    return figures


def _coverage(sums: Sums, period_ns: int | None = None) -> str:
    """Share of devices x period that was metered; every device counts for the whole period."""
    expected = len(sums.device_uj) * (sums.end_ns - sums.start_ns if period_ns is None else period_ns)
    metered = sum(sums.metered_ns.values())
    return quotient_text(min(Fraction(1), Fraction(metered, expected))) if expected > 0 else "0"


def _called(workload: str, facts: WorkloadFacts | None) -> str:
    """A workload's name for people: namespace/pod where there is one, else the name in its labels, else its identity."""
    labels = facts.labels if facts else {}
    pod = "/".join(labels[k] for k in ("namespace", "pod") if labels.get(k))
    return pod or labels.get("name") or workload
