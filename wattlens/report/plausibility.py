"""Values of inputs that are valid but far from anything seen in practice, such as a price per kWh that is one per MWh. Pure.

They are warnings, never errors: a price may be odd and right.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from energy_agent.site.config.invoices import credit_positions

if TYPE_CHECKING:
    from wattlens.report.inputs.model import OrgFile, OrgSite

Loc = tuple[int | str, ...]
"""Keys and positions that lead to a value."""

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
PUE_MOST: Final = 3.0
NO_INVOICES: Final = (
    "the site has no invoices, unlike other sites: without a ledger its energy, and so each total, is not known"
)


def implausible(document: "OrgFile") -> Iterator[tuple[Loc, str]]:
    """Yield (place, what is odd about it) of each odd value."""
    invoiced = any(site.invoices for site in document.sites)
    lines = getattr(document, "devices", ())  # the inventory of a workbook
    for number, site in enumerate(document.sites):
        yield from _site(site, ("sites", number))
        agents = (
            site.file or site.meters or document.inventory or any(line.site == site.site.name for line in lines if site.site)
        )
        if invoiced and not (site.invoices or site.readings or agents):
            yield ("sites", number), NO_INVOICES


def _site(site: "OrgSite", at: Loc) -> Iterator[tuple[Loc, str]]:
    if site.pue is not None and site.pue.value is not None and site.pue.value > PUE_MOST:
        yield (*at, "pue", "value"), f"a PUE of {site.pue.value:g} is unusual: data centres are between 1.05 and 2.5"
    grid = site.grid
    if grid is not None and grid.zone is not None and grid.zone != grid.zone.upper():
        yield (
            (*at, "grid", "zone"),
            f"zones are written in capitals: {grid.zone.upper()!r}, got {grid.zone!r}, which matches nothing",
        )
    for number, tariff in enumerate(site.tariffs):
        place = (*at, "tariffs", number)
        if text := odd_price(tariff.default_per_kwh, tariff.currency):
            yield (*place, "default_per_kwh"), text
        for index, band in enumerate(tariff.prices):
            if text := odd_price(band.per_kwh, tariff.currency):
                yield (*place, "prices", index, "per_kwh"), text
    credit_notes = credit_positions(site.invoices)
    first_of: dict[str, int] = {}
    for number, invoice in enumerate(site.invoices):
        place = (*at, "invoices", number)
        if number not in credit_notes and first_of.setdefault(invoice.number, number) != number:
            yield (*place, "number"), f"invoice {invoice.number!r} is listed before with other days or another meter"
        priced = number not in credit_notes and invoice.kwh > 0
        if invoice.amount is not None and priced and (text := odd_price(invoice.amount / invoice.kwh, invoice.currency)):
            yield (*place, "amount"), f"amount over energy: {text}"
        hours = 24 * ((invoice.end - invoice.start).days + 1)
        if invoice.peak_kw is not None and invoice.kwh > invoice.peak_kw * hours:
            yield (*place, "peak_kw"), f"the mean power of the invoice is {invoice.kwh / hours:,.0f} kW, above its peak"
        if hours > 24 * 92:
            yield (*place, "end"), f"an invoice of {hours // 24} days is unusual; expected a month or a quarter"


def odd_price(per_kwh: float, currency: str) -> str:
    """Return why a price per kWh is far from plausible; "": it is plausible, or the currency is not in `PER_EURO`."""
    rate = PER_EURO.get(currency)
    if rate is None or LEAST * rate <= per_kwh <= MOST * rate:
        return ""
    usual = f"prices are usually {LEAST * rate:g} to {MOST * rate:g} {currency}/kWh"
    return f"{per_kwh:g} {currency}/kWh is far from plausible; {usual}; check the unit"
