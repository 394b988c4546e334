"""Every set of factors there is, ours and a user's own, and which factor a zone and year get, with the reasons.

A set is two files in a folder (set_file.py says which): dropping them in is all. Sets that may not be redistributed (AIB, IEA,
WattTime) come from a user's own folder.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.factors import bounded_file, set_file
from energy_agent.factors.basis import Basis, Gases
from energy_agent.factors.record import Factor
from energy_agent.factors.set_file import FactorSet

FILE_MAX_B: Final = 4 << 20
OLD_YEARS: Final = 5
"""A factor of a year that lies further back than this is used only when that is accepted explicitly."""
SETS_MAX: Final = 200
SUPPLY: Final = "add a factor file (grid.factors) or an hourly source (grid.sources), see docs/factors.md"
"""What a user can do where no table has a factor."""
_STATE: Final = re.compile(r"US-[A-Z]{2}")


@dataclass(frozen=True, slots=True)
class FactorMatch:
    """The factor for a zone and year.

    Args:
        csv_sha256: of the set's table; with the factor's id it pins what a report used.
        reasons: why no better factor was chosen; empty where it matches the requested zone and year.
    """

    factor: Factor
    csv_sha256: str
    reasons: tuple[str, ...] = ()


class Catalogue:
    """Sets, of which no two have the same id."""

    def __init__(self, sets: Iterable[FactorSet], *, accept_old: bool = False) -> None:
        """Take the sets.

        Args:
            sets: all of them.
            accept_old: also use factors that are more than OLD_YEARS older than the energy.

        Raises:
            UsageError: an id is there twice; the line names both files.
        """
        self.accept_old = accept_old
        self.sets: tuple[FactorSet, ...] = tuple(sorted(sets, key=lambda s: (not s.is_custom, s.id)))
        by_id: dict[str, FactorSet] = {}
        for each in self.sets:
            if other := by_id.get(each.id):
                raise UsageError(f"{each.file} and {other.file} have the same id {each.id!r}; each set needs a unique id")
            by_id[each.id] = each

    def factor(self, zone: str, year: int, basis: Basis, country: str = "") -> FactorMatch:
        """The factor of a zone in a year.

        In this order: the zone before its country; a user's own set before one of ours; the year itself, then the newest before
        it, then the oldest after it; the set that was published last; the better quality; the id. Only sets of `basis` count,
        and no factor that is more than OLD_YEARS older than the energy unless the catalogue accepts it.

        Args:
            zone: a zone's name as the sets write it, such as DEU, US-CA or SE-SE3; any case.
            year: the year of the energy.
            basis: of the total that it is for.
            country: the country that stands in where no set has the zone; "": none.

        Raises:
            UsageError: no set of this basis has the zone or its country, or only a value that is too old; the line names
                other bases or the nearest zones, and what to supply.
        """
        reasons: list[str] = []
        for name in dict.fromkeys(z.upper() for z in (zone, country) if z):
            matches = [(s, f) for s in self.sets if s.basis == basis for (z, _), f in s.factors.items() if z == name]
            recent = [(s, f) for s, f in matches if self.accept_old or year - f.year <= OLD_YEARS]
            if recent:
                chosen, factor = min(recent, key=lambda pair: _order(pair[0], pair[1], year))
                skipped = (reason.partition("; nearest: ")[0] for reason in reasons)
                others = [s for s, f in recent if f.year == factor.year and s is not chosen]
                why = (
                    *_why_this_year(factor, year),
                    *_why_this_set(chosen, others),
                    "" if chosen.is_custom else subregion_advice(name),
                )
                return FactorMatch(factor, chosen.csv_sha256, (*skipped, *filter(None, why)))
            reasons.append(_too_old(name, [f for _, f in matches], year) if matches else self._why_none(name, basis))
        if not reasons:
            raise UsageError("no zone is set")
        raise UsageError("; ".join([*reasons, SUPPLY]))

    def by_id(self, identity: str) -> FactorMatch:
        """The factor that a report named, even if newer ones exist.

        Raises:
            UsageError: no such factor.
        """
        for each in self.sets:
            for factor in each.factors.values():
                if factor.id == identity:
                    return FactorMatch(factor, each.csv_sha256)
        raise UsageError(f"factor {identity[:120]!r} not found: its set is missing; restore the two files of the set")

    def refuse_unknown(self, zone: str) -> None:
        """Check that at least one set has a zone, on any basis.

        Raises:
            UsageError: no set has it; the message names the nearest zones.
        """
        name = zone.upper()
        if not any(z == name for s in self.sets for z in (*(z for z, _ in s.factors), *(z for z, _ in s.missing))):
            hint = self._nearest(zone) or "docs/factor-tables.md lists all factors"
            raise UsageError(f"{zone[:40]!r} is not in any table of factors; {hint}")

    def _why_none(self, zone: str, basis: Basis) -> str:
        if any(s.basis == basis and z == zone for s in self.sets for z, _ in s.missing):
            return f"{zone}: the publisher states no value ({basis})"
        others = sorted({str(s.basis) for s in self.sets for z, _ in s.factors if z == zone})
        hint = f"there is one that is {' / '.join(others)}" if others else self._nearest(zone, basis)
        if basis.gases is not Gases.CO2 and str(replace(basis, gases=Gases.CO2)) in others:
            hint += "; grid.gases: CO2 uses the one of CO2 alone"
        return "; ".join(filter(None, (f"{zone[:40]}: no factor that is {basis}", hint)))

    def _nearest(self, zone: str, basis: Basis | None = None) -> str:
        """Hint with zones of the same level that have a similar code or name; "" if no zone is similar.

        Parts of a country are suggested only for a zone within that country: DE is not Delaware, and IN is not Indiana.
        """
        within, part, _ = zone.upper().partition("-")
        every = {f.zone: f.zone_name for s in self.sets if basis in (None, s.basis) for f in s.factors.values()}
        names = {z: n for z, n in every.items() if (z.partition("-")[0] == within if part else "-" not in z)}
        wanted = zone.lower()
        by_name = {n.lower(): z for z, n in names.items()}
        prefixed = [z for z in sorted(names) if len(wanted) > 1 and z.lower().startswith(wanted)]
        alike = [by_name[n] for n in difflib.get_close_matches(wanted, by_name, n=2, cutoff=0.8)]
        starts = [z for n, z in sorted(by_name.items()) if len(wanted) > 1 and n.startswith(wanted)]
        same_start = [z for z in names if z[:1] == zone[:1].upper()]  # IN is not Finland
        codes = difflib.get_close_matches(zone.upper(), same_start, n=3, cutoff=0.5)
        hits = list(dict.fromkeys([*prefixed, *alike, *starts, *codes]))[:3]
        return f"nearest: {', '.join(f'{z} ({names[z]})' for z in hits)}" if hits else ""


def _order(factor_set: FactorSet, factor: Factor, year: int) -> tuple[bool, int, int, int, int, str]:
    when = 0 if factor.year == year else 1 if factor.year < year else 2
    return (
        not factor_set.is_custom,
        when,
        abs(factor.year - year),
        -int(factor_set.published.replace("-", "")),
        factor.quality,
        factor_set.id,
    )


def _why_this_year(factor: Factor, year: int) -> tuple[str, ...]:
    if factor.year == year:
        return ()
    if factor.year < year:
        which = f"that of {factor.year} is the newest before it"
    else:
        which = f"that of {factor.year} is the oldest after it"
    return ("; ".join((f"{factor.zone}: no factor of {year}", which)),)


def _why_this_set(chosen: FactorSet, others: Sequence[FactorSet]) -> tuple[str, ...]:
    if not others:
        return ()
    names = ", ".join(sorted(s.id for s in others))
    if chosen.is_custom and not any(s.is_custom for s in others):
        return (f"{chosen.id} is one of your own files, which are used before {names}",)
    return (f"{chosen.id} is the newest publication ({chosen.published})", f"the same year is also in {names}")


def subregion_advice(zone: str) -> str:
    """What to take instead of a state of the USA; "" for other zones."""
    return f"{zone} is a state: EPA recommends the eGRID subregion, such as US-ERCT" if _STATE.fullmatch(zone) else ""


def _too_old(zone: str, factors: Sequence[Factor], year: int) -> str:
    newest = max(f.year for f in factors)
    which = f"{zone}: the newest factor is of {newest}, more than {OLD_YEARS} years before {year}"
    return "; ".join((which, "add a newer one or accept it with --accept-old"))


def factor(zone: str, year: int, basis: Basis, country: str = "", folder: Path | None = None) -> FactorMatch:
    """As `Catalogue.factor`, of our sets and those of a user's `folder`."""
    return catalogue(folder).factor(zone, year, basis, country)


def catalogue(folder: Path | None = None, *, accept_old: bool = False) -> Catalogue:
    """Our sets, and those of a user's own folder; `accept_old` as in `Catalogue`.

    Raises:
        UsageError: a file of the folder is wrong or has no partner, or an id is there twice.
    """
    return Catalogue([*shipped(), *(_load_folder(folder) if folder is not None else ())], accept_old=accept_old)


@cache
def shipped() -> Sequence[FactorSet]:
    """The sets that come with Wattlens."""
    data = files("energy_agent.factors").joinpath("data")
    names = sorted(each.name.removesuffix(".json") for each in data.iterdir() if each.name.endswith(".json"))
    return [set_file.parse(data.joinpath(f"{n}.json").read_bytes(), data.joinpath(f"{n}.csv").read_bytes(), n) for n in names]


def _load_folder(folder: Path) -> Iterator[FactorSet]:
    try:
        names = sorted(each.name for each in folder.iterdir() if each.suffix in (".csv", ".json"))
    except OSError as error:
        raise UsageError(f"folder of factors {folder}: {error.strerror}") from None
    stems = sorted({Path(name).stem for name in names})
    if len(stems) > SETS_MAX:
        raise UsageError(f"folder of factors {folder} has more than {SETS_MAX} sets")
    for stem in stems:
        missing = [f"{stem}{end}" for end in (".csv", ".json") if f"{stem}{end}" not in names]
        if missing:
            raise UsageError(f"folder of factors {folder}: {missing[0]} is missing; a set consists of a .csv and a .json file")
        page, table = (bounded_file.read(folder / f"{stem}{end}", FILE_MAX_B) for end in (".json", ".csv"))
        yield set_file.parse(page, table, str(folder / stem), is_custom=True)
