"""The sheets of the workbook of inputs, in their order. Template, reader and docs are made of them.

It holds only what a table needs and a file of keys does not: the site of a row, units and examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final

from energy_agent.site.config.site import DeclaredPue
from reports.inputs.tariffs import HourlyPrice
from wattlens.report.inputs.model import ReportingOrganisation
from wattlens.report.inputs.workbook.columns import KILOWATTS, KWH, LITERS, PER_KWH, WATTS, Sheet, SheetColumn, section_at


def _sheet(
    title: str,
    place: str,
    says: str,
    *examples: Mapping[str, Any],
    name: str = "",
    first: Sequence[SheetColumn] = (),
    without: Sequence[str] = (),
    last: Sequence[str] = (),
    **changed: SheetColumn,
) -> Sheet:
    """A sheet with a column for each key of its section, in their order.

    A row of a site begins with the site's name, then come the columns `first`. Keys `without` one have no column; the keys
    `last` follow the others; those in `changed` have another column.
    """
    sheet = Sheet(title, place, says, (), examples, name)
    site = [SheetColumn("site", None, "name of the site, as in sheet Sites", needed=True, names="Sites")]
    columns = [*(site if place.startswith("sites[].") else ()), *first]
    fields = section_at(place).model_fields
    for key in (*(key for key in fields if key not in (*without, *last)), *last):
        column = changed.get(key, SheetColumn(fields[key].alias or key))
        columns.append(replace(column, key=key) if key in changed and column.key == "" else column)
    return replace(sheet, columns=tuple(columns))


def _contracts(title: str, says: str, *examples: Mapping[str, Any], kinds: Sequence[str], without: Sequence[str] = ()) -> Sheet:
    """A sheet of contracts or certificates."""
    return _sheet(
        title,
        "sites[].contracts[]",
        says,
        *examples,
        name="id",
        without=("deliveries", *without),
        last=("g_per_kwh", "g_source", "g_boundary", "biogenic_g_per_kwh", "biogenic_source"),
        kind=SheetColumn("kind", says="instrument", choices=tuple(kinds)),
        zone=SheetColumn("zone", says="bidding zone or grid of the generation, named as grid_zone in sheet Sites"),
        volume_kwh=SheetColumn("volume", units=KWH),
    )


def _at(keys: Mapping[str, str]) -> list[SheetColumn]:
    """Columns by their heads and the keys that they are."""
    return [SheetColumn(label, key) for label, key in keys.items()]


# fmt: off
_PUE_BOUND: Final = f"bound of its error; empty: {DeclaredPue.model_fields['uncertainty_percent'].default:g}"
_BASE: Final = "required in the row without times"
_WIND: Final = {"zone": "DE", "technology": "wind", "granularity": "hour", "commissioned": date(2021, 5, 1)}

SHEETS: Final = (
    Sheet(
        "Organisation",
        "",
        "The reporting organisation, in one row.",
        (
            *_at({name: f"organisation.{name}" for name in ReportingOrganisation.model_fields}),
            SheetColumn("least_coverage_percent"),
            SheetColumn("variance_percent"),
            SheetColumn("inventory_file", "inventory", "CSV file with the inventory, instead of sheet Inventory"),
            SheetColumn("estimates_file", "estimates"),
        ),
        ({"name": "Example AI GmbH", "contact": "esg@example.com", "least_coverage_percent": 95},),
    ),
    Sheet(
        "Sites",
        "sites[]",
        "One row per site. For a site with its own file (docs/site.md), fill in file and leave out everything that the "
        "file contains.",
        (
            SheetColumn("name", "site.name", needed=True),
            *_at({"time_zone": "site.time_zone", "grid_zone": "grid.zone"}),
            *_at({
                key: f"grid.{key}" for key in (
                    "country", "cloud_region", "boundary", "gases", "factors", "factor_uncertainty_percent",
                    "on_site_certificates", "market_boundary",
                )
            }),
            SheetColumn("hours_file", None, "CSV file with hourly grid intensities: ts_utc,zone,g_per_kwh,kind"),
            SheetColumn("hours_publisher", None, "publisher of these intensities; required with hours_file"),
            SheetColumn("hours_licence", None, "licence of these intensities; required with hours_file"),
            SheetColumn("pue", "pue.value"),
            SheetColumn("pue_uncertainty_percent", "pue.uncertainty_percent", _PUE_BOUND),
            SheetColumn("pue_source", "pue.source"),
            SheetColumn("it_power", "it_power_kw", units=KILOWATTS),
            SheetColumn("floor_m2"),
            SheetColumn("file", says="the site's own YAML file, such as fra1.yaml, with its meters and their sources"),
            SheetColumn("state"),
        ),
        (
            {
                "name": "fra1", "time_zone": "Europe/Berlin", "grid_zone": "DE", "country": "DEU", "boundary": "direct",
                "gases": "CO2e", "pue": 1.28, "pue_uncertainty_percent": 5, "pue_source": "the operator, 2026",
                "it_power": 800, "it_power_unit": "kW", "floor_m2": 1200,
            },
        ),
        name="name",
    ),
    _sheet(
        "Inventory",
        "devices[]",
        "Every GPU that should have been measured; coverage is computed from these. Days are UTC.",
        {
            "cluster": "prod", "node": "gpu-node-01", "uuid": "GPU-00000000-0000-0000-0000-000000000001",
            "sku": "NVIDIA H100 80GB HBM3", "site": "fra1", "from": date(2026, 1, 1),
        },
        site=SheetColumn("site", names="Sites"),
    ),
    _sheet(
        "Hosts",
        "hosts[]",
        "Processors and memory of nodes without a power meter. CodeCarbon estimates their power; the report shows the "
        "estimates apart from its totals.",
        {"node": "gpu-node-*", "cpu": "AMD EPYC 9654 96-Core Processor", "sockets": 2, "ram_gb": 1536},
        name="node",
    ),
    _sheet(
        "Meters",
        "sites[].meters[]",
        "The building's meters, so that missing readings are reported by meter. The source of a meter's readings is in "
        "the site's file.",
        {
            "site": "fra1", "id": "main", "role": "total", "accuracy_percent": 0.5, "max_power": 2.5,
            "max_power_unit": "MW", "source": "modbus", "accuracy_class": "0.5S", "calibrated": date(2025, 3, 14),
        },
        name="id",
        without=("period_s", "timeout_s"),
        last=("accuracy_class", "serial_number", "calibrated"),
        max_power_w=SheetColumn("max_power", units=WATTS),
    ),
    _contracts(
        "Contracts",
        "Power purchase agreements and similar contracts. Give a volume with start and end, rows in sheet Deliveries, or "
        "an hourly_file. Only energy whose certificates are retired for the site counts.",
        {
            "site": "fra1", "id": "wind-north", "kind": "ppa", **_WIND, "start": date(2026, 7, 1),
            "end": date(2026, 9, 30), "volume": 1200, "volume_unit": "MWh", "g_per_kwh": 0,
            "retired": date(2026, 10, 2), "retirement_id": "R-2026-000122",
            "registry": "HKNR", "serials": "DE-000001..DE-001200", "plant": "Windpark Nord",
            "beneficiary": "Example AI GmbH",
        },
        {"site": "fra1", "id": "solar-east", "kind": "ppa", "zone": "DE", "technology": "solar"},
        kinds=("ppa", "other"),
    ),
    _contracts(
        "Certificates",
        "Guarantees of origin and renewable energy certificates. Only certificates that are retired for the site count.",
        {
            "site": "fra1", "id": "go-2026-07", "kind": "go", **_WIND, "granularity": "month",
            "start": date(2026, 7, 1), "end": date(2026, 7, 31), "volume": 150, "volume_unit": "MWh",
            "retired": date(2026, 9, 1), "retirement_id": "R-2026-000123",
            "registry": "HKNR", "serials": "DE-002001..DE-002150", "plant": "Windpark Nord",
            "beneficiary": "Example AI GmbH", "g_per_kwh": 0,
        },
        kinds=("go", "rec", "i-rec"),
        without=["hourly_file"],
    ),
    _sheet(
        "Supplier rates",
        "sites[].supplier_rates[]",
        "Emission rate of the electricity supplier, for energy that no contract or certificate covers. It is used only if "
        "every quality criterion is met.",
        {
            "site": "fra1", "supplier": "Stadtwerke Beispiel", "zone": "DE", "start": date(2026, 1, 1),
            "end": date(2026, 12, 31), "g_per_kwh": 310, "source": "electricity label 2025, published 1 July 2026",
            "of_delivered": "yes", "certificates_retired": "yes", "sold_at_residual_mix": "yes",
        },
        name="supplier",
        zone=SheetColumn("zone", says="bidding zone or grid of the delivery, named as grid_zone in sheet Sites"),
    ),
    _sheet(
        "Deliveries",
        "sites[].contracts[].deliveries[]",
        "Energy that a contract delivered in each hour or quarter of an hour, for the strictest matching.",
        {
            "site": "fra1", "contract": "solar-east", "start_utc": datetime(2026, 7, 1, 9, 15), "minutes": 15,  # noqa: DTZ001
            "volume": 812.5, "volume_unit": "kWh",
        },
        name="start_utc",
        first=[SheetColumn("contract", None, "id of its contract or certificate", needed=True)],
        kwh=SheetColumn("volume", units=KWH),
    ),
    _sheet(
        "Tariffs",
        "sites[].tariffs[]",
        "Electricity prices. Rows with times give the price at those times; the row of the same id without times gives "
        "the price at all other times. All prices are without taxes on sales such as VAT.",
        {
            "site": "fra1", "id": "2026", "currency": "EUR", "price": 182, "price_unit": "MWh",
            "valid_from": date(2026, 1, 1), "source": "contract with the supplier, 3.1",
        },
        {"site": "fra1", "id": "2026", "price": 214, "price_unit": "MWh", "times": "Mon-Fri 08:00-20:00"},
        name="id",
        last=("demand_per_kw", "source"),
        currency=SheetColumn("currency", says=f"ISO 4217, such as EUR; {_BASE}", needed=False),
        default_per_kwh=SheetColumn("price", says="price per unit of energy, without taxes such as VAT", units=PER_KWH),
        prices=SheetColumn("times", None, f"{HourlyPrice.model_fields['times'].description}; separate several with ;"),
        valid_from=SheetColumn("valid_from", says=f"first day, in the site's time zone; {_BASE}", needed=False),
        demand_per_kw=SheetColumn("demand_price"),
        source=SheetColumn("source", says=f"source of the prices: a contract, a page of the supplier; {_BASE}", needed=False),
    ),
    _sheet(
        "Invoices",
        "sites[].invoices[]",
        "Electricity invoices of the supplier or landlord, one row per invoice and metering point. The report compares them "
        "with meter and ledger; a site without agents is reported from them alone. A site without tariffs takes its cost from "
        "their amounts.",
        {
            "site": "fra1", "number": "R-2026-07", "start": date(2026, 7, 1), "end": date(2026, 7, 31), "energy": 412.5,
            "energy_unit": "MWh", "basis": "read", "accuracy_percent": 1, "peak": 640, "peak_unit": "kW",
            "amount": 75075, "currency": "EUR", "tax": "excluded",
        },
        name="number",
        kwh=SheetColumn("energy", units=KWH),
        peak_kw=SheetColumn("peak", units=KILOWATTS),
    ),
    _sheet(
        "Readings",
        "sites[].readings[]",
        "Readings of the site's supply meters, such as one per month. The energy between two readings of a meter is compared "
        "with the invoices and the ledger, and takes the place of a missing or estimated invoice.",
        {"site": "fra1", "meter": "Z-4711", "day": date(2026, 7, 1), "register": 88120, "register_unit": "kWh",
         "multiplier": 60, "source": "photo of 1 July"},
        {"site": "fra1", "meter": "Z-4711", "day": date(2026, 8, 1), "register": 94990, "register_unit": "kWh",
         "multiplier": 60, "source": "photo of 1 August"},
        name="meter",
        kwh=SheetColumn("register", units=KWH),
    ),
    _sheet(
        "Water",
        "sites[].water[]",
        "Water use of the site between two meter readings, or from a bill.",
        {
            "site": "fra1", "start": date(2026, 7, 1), "end": date(2026, 9, 30), "amount": 4100, "amount_unit": "m3",
            "accuracy_percent": 2, "category": 1, "source": "bill 4711",
        },
        name="source",
        liters=SheetColumn("amount", units=LITERS),
    ),
    _sheet(
        "Teams",
        "teams[]",
        "Owner of a workload. The first matching row applies; * matches any characters. All globs of a row must match.",
        {"namespace": "nlp-*", "team": "language", "project": "search"},
        {"partition": "spot*", "price_class": "spot"},
        first=[
            *(
                SheetColumn(label, f"match.{label}", f"glob that the label {label} must match, such as team-*")
                for label in ("namespace", "owner", "pod", "account", "user", "partition", "model")
            ),
            SheetColumn("kind", "match.kind", "kind of workload: container, pod, unit, slurm, process"),
            SheetColumn("workload", "match.workload", "glob that the workload's name must match"),
            SheetColumn("labels", None, "globs of other labels: key=glob; key=glob"),
        ],
        without=["match"],
    ),
    _sheet(
        "Prices",
        "prices[]",
        "Price per GPU hour, by price class.",
        {"price_class": "spot", "currency": "EUR", "per_gpu_hour": 0.9},
        name="price_class",
    ),
    _sheet(
        "Hardware",
        "embodied[]",
        "Emissions from the production of a GPU board, if you have better figures than those shipped with Wattlens.",
        {
            "sku": "*H100*", "low_kg": 164, "high_kg": 575.1, "life_years": 5, "boundary": "cradle to gate, GPU board only",
            "source": "manufacturer's data sheet (low), a model (high)",
        },
        name="sku",
    ),
    _sheet(
        "Models",
        "models[]",
        "Names of models in the report.",
        {"model": "llama-3.1-70b-instruct-fp8", "display": "Llama 3.1 70B", "precision": "fp8", "parameters_billion": 70.6},
        name="model",
    ),
    _sheet(
        "Reported",
        "reported[]",
        "Totals of earlier periods as your earlier reports stated them: for comparison, for a base year before the ledger, and "
        "for restatements.",
        {"period": "2025Q3", "electricity_mwh": 16.2, "co2e_location_t": 7.41, "co2e_market_t": 6.9,
         "source": "report of 2025Q3, edition 1, 2025-10-12"},
        name="period",
    ),
)
# fmt: on
BY_TITLE: Final = {sheet.title: sheet for sheet in SHEETS}
