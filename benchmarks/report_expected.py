"""The figures of a fleet's quarter, computed from the generator's sums alone and compared with a report's facts.json.

This module does not use the ledger, the report's SQL or its formulas: integers and fractions, rounded by the standard library.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from importlib.resources import files
from typing import Any, Final

from benchmarks.report_fleet import GPUS, SITES, edge_uj, site_of
from benchmarks.report_ledger import HOURLY, CompactedLedger, intensity
from benchmarks.report_segments import GAIN_PPM
from benchmarks.report_truth import ACTIVE, HOST, IDLE, NOBODY, OTHER, ExpectedTotals

_NINE: Final = Context(prec=9, rounding=ROUND_HALF_EVEN)
_J, _KWH, _HOUR_NS = 1_000_000, 3_600_000_000_000, 3_600_000_000_000
Sums = list[int]


def expected(ledger: CompactedLedger) -> Iterator[tuple[str, Fraction]]:
    """(id of a figure, its value, exactly)."""
    truth = ledger.truth
    every = [0, 0, 0, 0]
    for name in truth.cells:
        of = _plus(sums for cell in truth.cells[name].values() for sums in cell.values())
        every = [a + b for a, b in zip(every, of, strict=True)]
        yield from _energies(f"/site/{name}", of)
        yield f"energy.node/site/{name}", Fraction(sum(of), _J)
        for quantity, meter in (("facility", "main"), ("it", "it")):
            yield f"energy.{quantity}/site/{name}", Fraction(sum(ledger.meters[name][meter].values()), _J)
        yield f"co2e.lifecycle.location/site/{name}", _grams(name, ledger.meters[name]["main"])
    yield from _energies("", every)
    yield "energy.host", Fraction(every[HOST], _J)
    yield "energy.node", Fraction(sum(every), _J)
    yield "energy.facility", Fraction(sum(sum(m["main"].values()) for m in ledger.meters.values()), _J)
    yield "co2e.lifecycle.location", sum((_grams(name, m["main"]) for name, m in ledger.meters.items()), Fraction(0))
    yield "gpu_hours", Fraction(truth.gpu_ns, _HOUR_NS)
    yield from _groups(ledger)
    yield from _tokens(truth)


def _energies(suffix: str, sums: Sums) -> Iterator[tuple[str, Fraction]]:
    yield f"energy.gpu{suffix}", Fraction(sums[ACTIVE] + sums[IDLE] + sums[OTHER], _J)
    for name, what in (("active", ACTIVE), ("idle", IDLE), ("unheld", OTHER)):
        yield f"energy.gpu.{name}{suffix}", Fraction(sums[what], _J)
    yield f"energy.gpu.unattributed{suffix}", Fraction(0)


def _plus(rows: Iterator[Sums]) -> Sums:
    total = [0, 0, 0, 0]
    for row in rows:
        for i, value in enumerate(row):
            total[i] += value
    return total


def factor(country: str) -> Fraction:
    """A country's yearly factor in g/kWh, out of the table as it was published."""
    with files("energy_agent.factors").joinpath("data/ember_countries.csv").open(encoding="utf-8") as table:
        return next(Fraction(row["g_per_kwh"]) for row in csv.DictReader(table) if row["zone"] == country)


def _worth(site: str) -> Callable[[int], Fraction]:
    if site == HOURLY:
        return lambda cell: Fraction(intensity(cell))
    grams = factor(next(s.country for s in SITES if s.name == site))
    return lambda cell: grams


def _grams(site: str, cells: Mapping[int, int]) -> Fraction:
    worth = _worth(site)
    return sum((uj * worth(cell) for cell, uj in cells.items()), Fraction(0)) / _KWH


def _groups(ledger: CompactedLedger) -> Iterator[tuple[str, Fraction]]:
    """Totals of workloads, overall and by owner: energy, and grams of their own cells times the site's PUE."""
    parts: dict[str, Sums] = {}
    grams: dict[str, Fraction] = {}
    for site, cells in ledger.truth.cells.items():
        worth, meters = _worth(site), ledger.meters[site]
        pue = Fraction(sum(meters["main"].values()), sum(meters["it"].values()))
        of_site: dict[str, Fraction] = {}
        for cell, rows in cells.items():
            per_kwh = worth(cell)
            for part, sums in rows.items():
                if part != NOBODY:
                    total = parts.setdefault(f"{part}|{site}", [0, 0, 0, 0])
                    for i, value in enumerate(sums):
                        total[i] += value
                    of_site[part] = of_site.get(part, Fraction(0)) + sum(sums) * per_kwh
        for part, amount in of_site.items():
            grams[f"{part}|{site}"] = amount * pue / _KWH
    names: dict[str, Callable[[list[str]], str]] = {
        "": lambda of: "",
        "site": lambda of: of[5],
        "team": lambda of: of[0],
        "project": lambda of: f"{of[0]}/{of[1]}",
        "model": lambda of: f"{of[2]} ({of[3]})" if of[2] else "",
        "kind": lambda of: "pod",
    }
    for dimension, name_of in names.items():
        groups: dict[str, list[str]] = {}
        for key in parts:
            groups.setdefault(name_of(key.split("|")), []).append(key)
        if dimension and groups.keys() == {""}:
            continue  # no source reported it, and the report does not divide by it
        for name, keys in groups.items():
            suffix = f"/{dimension}/{name}" if dimension else ""
            sums = _plus(parts[key] for key in keys)
            yield f"energy.held{suffix}", Fraction(sums[ACTIVE] + sums[IDLE], _J)
            yield f"energy.held.active{suffix}", Fraction(sums[ACTIVE], _J)
            yield f"energy.held.idle{suffix}", Fraction(sums[IDLE], _J)
            yield f"energy.held.node{suffix}", Fraction(sum(sums), _J)
            yield f"co2e.lifecycle.held.location{suffix}", sum((grams[key] for key in keys), Fraction(0))


def _tokens(truth: ExpectedTotals) -> Iterator[tuple[str, Fraction]]:
    counts: dict[str, int] = {}
    for key, tokens in truth.tokens.items():
        _, part, _, phase = key.split("/")
        team, _, model, precision, _ = part.split("|")
        for suffix in ("", f"/team/{team}", f"/model/{model} ({precision})"):
            counts[f"tokens.{phase}{suffix}"] = counts.get(f"tokens.{phase}{suffix}", 0) + tokens
    for identity, tokens in counts.items():
        yield identity, Fraction(tokens)


def bounds(truth: ExpectedTotals) -> dict[str, tuple[int, int]]:
    """Lower and upper bound of the energy of a site's GPUs, and of all GPUs, uJ.

    A GPU's gain error is at most g of the true energy, hence E x g / (1 - g) of the metered energy E. Of the errors of its
    readings, those at both ends of an interval without a hole remain. Unmetered energy can only add to it.
    """
    totals: dict[str, list[int]] = {}
    for board, (uj, runs) in truth.boards.items():
        node, gpu = map(int, board.split("/"))
        if gpu < GPUS:
            gain_uj = -(-uj * GAIN_PPM // (1_000_000 - GAIN_PPM))
            edges_uj = 2 * runs * edge_uj(node, gpu)
            for key in ("", f"/site/{site_of(node).name}"):
                sums = totals.setdefault(key, [0, 0, 0])
                sums[0] += uj
                sums[1] += gain_uj + edges_uj
    for key, (bound_uj, _) in truth.gaps.items():
        for suffix in ("", f"/site/{key.partition('/')[0]}"):
            totals[suffix][2] += bound_uj
    return {f"energy.gpu{key}": (uj - wrong, uj + wrong + unseen) for key, (uj, wrong, unseen) in totals.items()}


def differences(facts: Mapping[str, Any], ledger: CompactedLedger) -> tuple[list[str], int, int]:
    """(unequal figures, number of figures equal to the last digit, number of these that are quotients of nine digits)."""
    figures: dict[str, Mapping[str, Any]] = {f["id"]: f for f in facts["figures"]}
    wrong, equal, rounded = [], 0, 0
    for identity, value in expected(ledger):
        figure = figures.get(identity)
        said = None if figure is None or figure["value"] is None else Fraction(figure["value"])
        nine = Fraction(_NINE.divide(Decimal(value.numerator), Decimal(value.denominator)))
        exact = identity.startswith(("energy.gpu", "energy.host", "tokens", "energy.held")) and ".node" not in identity
        if said == value or (said == nine and not exact):
            equal += 1
            rounded += said != value
        else:
            wrong.append(f"{identity}: {said} is not {value}")
    for identity, (low, high) in bounds(ledger.truth).items():
        figure = figures[identity]
        if Fraction(figure["low"]) * _J == low and Fraction(figure["high"]) * _J == high:
            equal += 2
        else:
            wrong.append(f"{identity}: bounds {figure['low']} to {figure['high']} are not {low} to {high}")
    held = facts["conservation"]
    every = _plus(sums for cells in ledger.truth.cells.values() for cell in cells.values() for sums in cell.values())[:HOST]
    amounts = [int(held[name]) for name in ("active_uj", "idle_uj", "unheld_uj")]
    if amounts != every or {int(held["device_uj"]), int(held["cells_uj"])} != {sum(every)}:
        wrong.append(f"conservation: {held} is not {every}")
    return wrong, equal, rounded
