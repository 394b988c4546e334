"""Values of inputs that are valid but far from anything seen in practice, such as a price per kWh that is one per MWh. Pure.

They are warnings, never errors: a price may be odd and right.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from statistics import median
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from energy_agent.factors.countries import ISO3
from reports.inputs.invoices import ElectricityInvoice, credit_positions

if TYPE_CHECKING:
    from wattlens.report.inputs.model import OrgFile, OrgSite

Loc = tuple[int | str, ...]
"""Keys and positions that lead to a value."""
Oddity = tuple[Loc, object, str]
"""(place, whether the value there is odd, what is odd about it)."""

PER_EURO: Final = {
    "AED": 4, "ARS": 1500, "AUD": 1.7, "BGN": 2, "BRL": 6, "CAD": 1.6, "CHF": 1, "CLP": 1100, "CNY": 8, "COP": 4500, "CZK": 25,
    "DKK": 7.5, "EGP": 55, "EUR": 1, "GBP": 0.85, "HKD": 9, "HUF": 400, "IDR": 19_000, "ILS": 4, "INR": 100, "ISK": 145,
    "JPY": 170, "KRW": 1650, "KZT": 600, "MXN": 21, "MYR": 5, "NOK": 11.5, "NZD": 2, "PHP": 66, "PKR": 320, "PLN": 4.3,
    "RON": 5, "RSD": 117, "SAR": 4.3, "SEK": 11, "SGD": 1.5, "THB": 38, "TRY": 48, "TWD": 35, "UAH": 48, "USD": 1.15,
    "VND": 30_000, "ZAR": 20,
}  # fmt: skip
"""Roughly one euro in each currency, as of 2026: a price is only judged to a factor of some ten."""
LEAST, MOST = 0.01, 1.5
"""EUR per kWh between which prices of electricity for business use lie, worldwide and over the last years."""
USUAL: Final = {
    "g_per_kwh": (2, 1500, "g/kWh; check that the unit is not kg"),
    "biogenic_g_per_kwh": (2, 2500, "g/kWh; check that the unit is not kg"),
    "value": (1.02, 3, "as a PUE"),
    "uncertainty_percent": (0.5, 30, "percent"),
    "factor_uncertainty_percent": (0.5, 60, "percent"),
    "accuracy_percent": (0.05, 20, "percent"),
    "least_coverage_percent": (2, 100, "percent"),
    "variance_percent": (0.5, 50, "percent"),
    "electricity_share_percent": (2, 300, "percent"),
    "low_kg": (5, 5000, "kg of CO2e per GPU; check that the unit is not t or g"),
    "high_kg": (5, 5000, "kg of CO2e per GPU; check that the unit is not t or g"),
    "life_years": (2, 12, "years"),
    "ram_gb": (4, 16_384, "GB; check that the unit is not TB or MB"),
}  # fmt: skip
"""Key of a number -> (least, most, unit) of what is usual; 0 is a statement of its own."""
G_PER_KWH: Final = USUAL["g_per_kwh"][:2]
NO_INVOICES: Final = (
    "the site has no invoices, unlike other sites: without a ledger its energy, and so each total, is not known"
)
WATER_MOST: Final = 20.0
"""Liters per kWh of a building, an order of magnitude above what evaporative cooling takes."""
UNLIKE: Final = 20.0
"""Ratio of two powers of one meter or site that differ by more than load does: 1,000 if kWh and MWh are mixed up."""
JOINT_ZONE: Final = ("DE-LU", "LUX")
"""The one bidding zone of two countries, and the country that its name has second."""
_COUNTRY: Final = re.compile(r"[A-Z]{2,3}(?![A-Z])")


def implausible(document: "OrgFile", today: date) -> Iterator[tuple[Loc, str]]:
    """Yield (place, what is odd about it) of each odd value."""
    yield from _unusual(document, ())
    invoiced = any(site.invoices for site in document.sites)
    metered = {line.site for line in getattr(document, "devices", ())}  # the inventory of a workbook
    checks = list(_reported(document))
    for number, site in enumerate(document.sites):
        at, name = ("sites", number), "" if site.site is None else site.site.name
        is_known = site.invoices or site.readings or site.file or site.meters or document.inventory or name in metered
        checks.append((at, invoiced and not is_known, NO_INVOICES))
        checks += _site(site, at, today)
    yield from ((place, text) for place, is_odd, text in checks if is_odd)


def _unusual(record: BaseModel, at: Loc) -> Iterator[tuple[Loc, str]]:
    """Yield each number of a record and of those within it that is not as `USUAL` has it."""
    for key, value in record:
        within: Iterable[tuple[Loc, object]] = [((*at, key), value)]
        if isinstance(value, tuple):
            within = (((*at, key, number), each) for number, each in enumerate(value))
        for place, each in within:
            if isinstance(each, BaseModel):
                yield from _unusual(each, place)
            elif key in USUAL and isinstance(each, int | float | Decimal) and each:
                least, most, unit = USUAL[key]
                if not least <= float(each) <= most:
                    yield place, f"{float(each):g} is unusual; expected {least:g} to {most:g} {unit}"


def _site(site: "OrgSite", at: Loc, today: date) -> Iterator[Oddity]:
    grid = site.grid
    if grid is not None and grid.country and site.site is not None:
        is_default = "time_zone" not in site.site.model_fields_set
        yield (*at, "site", "time_zone"), is_default, "no time zone is stated: days and quarters begin at midnight in UTC"
    if grid is not None and grid.zone is not None:
        upper, place = grid.zone.upper(), (*at, "grid", "zone")
        yield place, grid.zone != upper, f"zones are written in capitals: {upper!r}, got {grid.zone!r}, which matches nothing"
        country = country_of(grid.zone)
        text = f"zone {grid.zone!r} is of {country}, but the country is {grid.country}: factors of both would be mixed"
        yield place, grid.country and country not in ("", grid.country) and (upper, grid.country) != JOINT_ZONE, text
    for number, tariff in enumerate(site.tariffs):
        place = (*at, "tariffs", number)
        prices = [((*place, "default_per_kwh"), tariff.default_per_kwh)]
        prices += [((*place, "prices", index, "per_kwh"), band.per_kwh) for index, band in enumerate(tariff.prices)]
        yield from ((where, text := odd_price(float(price), tariff.currency), text) for where, price in prices)
    credit_notes = credit_positions(site.invoices)
    bills = {number: each for number, each in enumerate(site.invoices) if number not in credit_notes}
    yield from _invoices(site, bills, at, today)
    yield from _powers(site, bills, at)


def _invoices(site: "OrgSite", bills: Mapping[int, ElectricityInvoice], at: Loc, today: date) -> Iterator[Oddity]:
    first_of: dict[str, int] = {}
    values: dict[tuple[object, ...], str] = {}
    following = {(each.meter, each.end + timedelta(1)) for each in bills.values()}
    first = {each.meter: each.start for each in sorted(bills.values(), key=lambda each: each.start, reverse=True)}
    for number, each in enumerate(site.invoices):
        place, is_bill, hours = (*at, "invoices", number), number in bills, _hours(each)
        twice = is_bill and first_of.setdefault(each.number, number) != number
        yield (*place, "number"), twice, f"invoice {each.number!r} is listed before with other days or another meter"
        same = values.setdefault((each.meter, each.kwh, each.amount), each.number) if is_bill and each.amount else each.number
        text = f"its energy and amount are those of invoice {same!r}; check that it is not a copy"
        yield (*place, "amount"), same != each.number and each.basis == "read", text
        if is_bill and each.amount is not None:
            price = odd_price(float(each.amount / each.kwh), each.currency) if each.kwh else ""
            yield (*place, "amount"), price, f"amount over energy: {price}"
            text = f"0 kWh, and an amount of {float(each.amount):g} {each.currency}"
            yield (*place, "kwh"), not each.kwh and each.amount > 0, text
        if each.peak_kw is not None:
            mean, peak_kw = float(each.kwh) / hours, float(each.peak_kw)
            yield (*place, "peak_kw"), mean > peak_kw, f"the mean power of the invoice is {mean:,.0f} kW, above its peak"
            text = f"the mean power of the invoice is {mean:,.3g} kW, less than a twentieth of its peak; check both units"
            yield (*place, "peak_kw"), peak_kw > mean * UNLIKE and each.kwh, text
        yield (*place, "end"), hours > 24 * 92, f"an invoice of {hours // 24} days is unusual; expected a month or a quarter"
        yield (*place, "end"), each.end > today, f"ends after {today}, the day of the report; check the year"
        is_gap = is_bill and each.start != first[each.meter] and (each.meter, each.start) not in following
        yield (
            (*place, "start"),
            is_gap and not site.readings,
            "no invoice of the day before; check the year, or add the missing one",
        )


def _powers(site: "OrgSite", bills: Mapping[int, ElectricityInvoice], at: Loc) -> Iterator[Oddity]:
    """Mean powers of one site that have to be alike: of invoices, readings, contracts, IT; and water per kWh."""
    powers: dict[str, list[float]] = {}
    for each in bills.values():
        powers.setdefault(each.meter, []).append(float(each.kwh) / _hours(each))
    usual = {meter: median([kw for kw in powers_kw if kw] or [0]) for meter, powers_kw in powers.items()}
    for number, each in bills.items():
        kw, normal = float(each.kwh) / _hours(each), usual[each.meter]
        text = f"a mean power of {kw:,.3g} kW; the meter's other invoices have about {normal:,.3g} kW; check the unit"
        yield (*at, "invoices", number, "kwh"), _is_unlike(kw, normal), text
    total = sum(usual.values())
    it_kw = float(site.it_power_kw or 0)
    site_kw = total or it_kw
    text = f"the site's invoices have a mean power of {total:,.3g} kW; check the unit"
    yield (*at, "it_power_kw"), _is_unlike(it_kw, total), text
    for number, contract in enumerate(site.contracts):
        if contract.start and contract.end and contract.volume_kwh:
            kw = float(contract.volume_kwh) / (24 * ((contract.end - contract.start).days + 1))
            text = f"a mean power of {kw:,.3g} kW; the site's is {site_kw:,.3g} kW; check the unit"
            yield (*at, "contracts", number, "volume_kwh"), site_kw and kw > site_kw * UNLIKE, text
    for number, row in enumerate(site.water):
        per_kwh = float(row.liters) / ((row.end + timedelta(1) - row.start).days * 24 * site_kw) if site_kw else 0.0
        text = f"{per_kwh:,.3g} L/kWh of the site is unusual; expected at most {WATER_MOST:g}; check the unit"
        yield (*at, "water", number, "liters"), per_kwh > WATER_MOST, text


def _reported(document: "OrgFile") -> Iterator[Oddity]:
    """Emissions of earlier periods per kWh."""
    for number, row in enumerate(document.reported):
        for key in ("co2e_location_t", "co2e_market_t"):
            grams = float((getattr(row, key) or 0) * 1000 / row.electricity_mwh) if row.electricity_mwh else 0.0
            text = f"{grams:g} g/kWh of its electricity is unusual; check that the unit is t"
            yield ("reported", number, key), grams and not G_PER_KWH[0] <= grams <= G_PER_KWH[1], text


def _hours(invoice: ElectricityInvoice) -> int:
    return 24 * ((invoice.end - invoice.start).days + 1)


def _is_unlike(kw: float, usual: float) -> bool:
    """Whether two powers, both above 0, differ by more than a load does."""
    return bool(kw and usual) and not usual / UNLIKE <= kw <= usual * UNLIKE


def country_of(zone: str) -> str:
    """Return the country that a zone names first, as ISO 3166-1 alpha-3; "" if it names none."""
    match = _COUNTRY.match(zone)
    code = "" if match is None else match[0]
    return ISO3.get(code, code if code in ISO3.values() else "")


def odd_price(per_kwh: float, currency: str) -> str:
    """Return why a price per kWh is far from plausible; "": it is plausible, or the currency is not in `PER_EURO`."""
    rate = PER_EURO.get(currency)
    if rate is None or LEAST * rate <= per_kwh <= MOST * rate:
        return ""
    usual = f"prices are usually {LEAST * rate:g} to {MOST * rate:g} {currency}/kWh"
    return f"{per_kwh:g} {currency}/kWh is far from plausible; {usual}; check the unit"
