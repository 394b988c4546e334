"""Records of the inputs as the report prints them: each key that has a value, and that value as text. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from energy_agent.core.meters.facility import MeterFacts
from energy_agent.core.units import J_PER_KWH
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.config.site import DeclaredPue
from reports.statement import ELECTRICITY, ReportedPeriod, StatedInput
from wattlens.report.inputs.model import PeriodTotals, ReportingOrganisation

_J_PER_MWH = Decimal(J_PER_KWH * 1000)
_G_PER_T = Decimal(10**6)
_TOTALS = (
    ("electricity_mwh", ELECTRICITY, _J_PER_MWH),
    ("co2e_location_t", "co2e.location", _G_PER_T),
    ("co2e_market_t", "co2e.market", _G_PER_T),
    ("cost", "cost", Decimal(1)),
)
"""Keys of earlier totals, the figures that they are, and what makes their unit the figure's."""
_NAME_KEYS = {
    "contract": "id",
    "supplier_rate": "supplier",
    "tariff": "id",
    "invoice": "number",
    "reading": "meter",
    "price": "price_class",
    "embodied": "sku",
    "host": "node",
}
"""Kind of a record -> the key that names it."""


def of_site(
    site: str,
    meters: Iterable[tuple[MeterFacts, MeterConfig]],
    pue: DeclaredPue,
    rows: Mapping[str, Iterable[BaseModel]],
) -> tuple[StatedInput, ...]:
    """Every record of a site: its meters and PUE, then `rows` by their kind. How a meter is reached is left out."""
    records = [_record(site, "meter", meter.id, config, _meter(meter, config)) for meter, config in meters]
    if pue.value is not None:
        records.append(_record(site, "pue", "", pue, _values(pue)))
    return (*records, *_records(site, rows))


def of_organisation(about: ReportingOrganisation, rows: Mapping[str, Iterable[BaseModel]]) -> tuple[StatedInput, ...]:
    """Every record that belongs to no site: names of beneficiaries, then `rows` by their kind."""
    names = [(name, "legal entity") for name in about.legal_entities] + [(name, "accepted") for name in about.beneficiaries]
    records = [StatedInput("", "beneficiary", name, {"as": role}) for name, role in names]
    return (*records, *_records("", rows))


def reported_period(row: PeriodTotals) -> ReportedPeriod:
    """Earlier totals in the units of the figures."""
    totals = []
    for key, figure, unit in _TOTALS:
        value = getattr(row, key)
        if value is not None:
            exponent = value.as_tuple().exponent
            assert isinstance(exponent, int)
            totals.append((figure, value * unit, Decimal(5).scaleb(exponent - 1) * unit))
    return ReportedPeriod(row.period, tuple(totals), row.source, row.reason)


def _records(site: str, rows: Mapping[str, Iterable[BaseModel]]) -> Iterator[StatedInput]:
    """Records by their kind, each without the deliveries of a contract and under the key that names it."""
    for kind, listed in rows.items():
        key = _NAME_KEYS.get(kind, "")
        for each in listed:
            yield _record(site, kind, getattr(each, key) if key else "", each, _values(each, key, "deliveries"))


def _record(site: str, kind: str, name: str, given: BaseModel, values: Mapping[str, str]) -> StatedInput:
    """A record whose keys without a value in the inputs are marked as defaults."""
    defaults = (key for key in values if key in type(given).model_fields and key not in given.model_fields_set)
    return StatedInput(site, kind, name, values, tuple(defaults))


def _meter(meter: MeterFacts, config: MeterConfig) -> dict[str, str]:
    labels = dict(meter.labels)
    if config.calibration is None:
        labels.pop("calibration", None)
    ppm, milliwatts = labels.pop("accuracy_ppm", "0"), labels.pop("max_mw", "")
    more = {"accuracy_percent": _text(Decimal(ppm) / 10_000)}
    plate = {key: getattr(config, key) for key in ("accuracy_class", "serial_number", "calibrated")}
    more |= {key: _text(value) for key, value in plate.items() if value}
    return labels | more | ({"max_power_w": _text(Decimal(milliwatts) / 1000)} if milliwatts else {})


def _values(record: BaseModel, *left_out: str) -> dict[str, str]:
    return {key: _text(value) for key, value in record if key not in left_out and value not in (None, "", ())}


def _text(value: Any) -> str:
    """A value as it was given; a file by its name, and prices by time as a list."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, BaseModel):
        return ", ".join(_text(part) for _, part in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(_text, value))
    if isinstance(value, float | Decimal):
        return format(Decimal(str(value)).normalize(), "f")
    return value.isoformat() if isinstance(value, date) else str(value)
