"""The sheets of the workbook of inputs, in their order. Template, reader and docs are made of them.

It holds only what a table needs and a file of keys does not: the site of a row, units and examples.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Final

from pydantic import BaseModel

from energy_agent.site.config.site import DeclaredPue
from reports.inputs.invoices import ElectricityInvoice, RegisterReading
from reports.inputs.records import EmbodiedDeclaration, GpuHourPrice, ModelName, TeamRule
from reports.inputs.supplier import SupplierRateConfig
from reports.inputs.tariffs import HourlyPrice, Tariff
from reports.inputs.water import WaterRecord
from wattlens.report.inputs import model
from wattlens.report.inputs.workbook.columns import KILOWATTS, KWH, LITERS, PER_KWH, WATTS, Sheet, SheetColumn


def _site(says: str = "name of the site, as in sheet Sites") -> SheetColumn:
    return SheetColumn("site", None, says, needed=True, names="Sites")


def _labels(*names: str) -> tuple[SheetColumn, ...]:
    return tuple(SheetColumn(name, f"match.{name}", f"glob that the label {name} must match, such as team-*") for name in names)


def _columns(
    model_: type[BaseModel], *, without: Collection[str] = (), last: Sequence[str] = (), **changed: SheetColumn
) -> tuple[SheetColumn, ...]:
    """Columns of a model's keys in their order, except those `without` one; the keys `last` follow the others."""
    keys = {name: field.alias or name for name, field in model_.model_fields.items()}
    first = [name for name in keys if name not in (*without, *last)]
    return tuple(changed.get(name, SheetColumn(keys[name])) for name in (*first, *last))


def _bought(*kinds: str, without: Sequence[str] = ()) -> tuple[SheetColumn, ...]:
    """Columns of a contract or certificate."""
    return (
        _site(),
        *_columns(
            model.BoughtContract,
            without=("deliveries", *without),
            last=("g_per_kwh", "g_source", "g_boundary", "biogenic_g_per_kwh", "biogenic_source"),
            kind=SheetColumn("kind", says="instrument", choices=kinds),
            zone=SheetColumn("zone", says="bidding zone or grid of the generation, named as grid_zone in sheet Sites"),
            volume_kwh=SheetColumn("volume", "volume_kwh", units=KWH),
        ),
    )


# fmt: off
_PUE_BOUND: Final = f"bound of its error; empty: {DeclaredPue.model_fields['uncertainty_percent'].default:g}"
_NAMEPLATE: Final = ("accuracy_class", "serial_number", "calibrated")
_BASE: Final = "required in the row without times"
_WIND: Final = {"zone": "DE", "technology": "wind", "granularity": "hour", "commissioned": date(2021, 5, 1)}

SHEETS: Final = (
    Sheet(
        "Organisation",
        model.OrgFile,
        "The reporting organisation, in one row.",
        (
            *(SheetColumn(name, f"organisation.{name}") for name in model.ReportingOrganisation.model_fields),
            SheetColumn("least_coverage_percent"),
            SheetColumn("variance_percent"),
            SheetColumn("inventory_file", "inventory", "CSV file with the inventory, instead of sheet Inventory"),
            SheetColumn("estimates_file", "estimates"),
        ),
        ({"name": "Example AI GmbH", "contact": "esg@example.com", "least_coverage_percent": 95},),
    ),
    Sheet(
        "Sites",
        model.OrgSite,
        "One row per site. For a site with its own file (docs/site.md), fill in file and leave out everything that the "
        "file contains.",
        (
            SheetColumn("name", "site.name", needed=True),
            SheetColumn("time_zone", "site.time_zone"),
            SheetColumn("grid_zone", "grid.zone"),
            SheetColumn("country", "grid.country"),
            SheetColumn("cloud_region", "grid.cloud_region"),
            SheetColumn("boundary", "grid.boundary"),
            SheetColumn("gases", "grid.gases"),
            SheetColumn("factors", "grid.factors"),
            SheetColumn("factor_uncertainty_percent", "grid.factor_uncertainty_percent"),
            SheetColumn("on_site_certificates", "grid.on_site_certificates"),
            SheetColumn("market_boundary", "grid.market_boundary"),
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
        place="sites[]",
    ),
    Sheet(
        "Inventory",
        model.InventoryLine,
        "Every GPU that should have been measured; coverage is computed from these. Days are UTC.",
        _columns(model.InventoryLine, site=SheetColumn("site", names="Sites")),
        (
            {
                "cluster": "prod", "node": "gpu-node-01", "uuid": "GPU-00000000-0000-0000-0000-000000000001",
                "sku": "NVIDIA H100 80GB HBM3", "site": "fra1", "from": date(2026, 1, 1),
            },
        ),
        place="inventory.csv",
    ),
    Sheet(
        "Hosts",
        model.NodeHardware,
        "Processors and memory of nodes without a power meter. CodeCarbon estimates their power; the report shows the "
        "estimates apart from its totals.",
        _columns(model.NodeHardware),
        ({"node": "gpu-node-*", "cpu": "AMD EPYC 9654 96-Core Processor", "sockets": 2, "ram_gb": 1536},),
        name="node",
        place="hosts[]",
    ),
    Sheet(
        "Meters",
        model.RegisteredMeter,
        "The building's meters, so that missing readings are reported by meter. The source of a meter's readings is in "
        "the site's file.",
        (
            _site(),
            *_columns(
                model.RegisteredMeter, without=("period_s", "timeout_s"), last=_NAMEPLATE,
                max_power_w=SheetColumn("max_power", "max_power_w", units=WATTS),
            ),
        ),
        (
            {
                "site": "fra1", "id": "main", "role": "total", "accuracy_percent": 0.5, "max_power": 2.5,
                "max_power_unit": "MW", "source": "modbus", "accuracy_class": "0.5S", "calibrated": date(2025, 3, 14),
            },
        ),
        name="id",
        place="sites[].meters[]",
    ),
    Sheet(
        "Contracts",
        model.BoughtContract,
        "Power purchase agreements and similar contracts. Give a volume with start and end, rows in sheet Deliveries, or "
        "an hourly_file. Only energy whose certificates are retired for the site counts.",
        _bought("ppa", "other"),
        (
            {
                "site": "fra1", "id": "wind-north", "kind": "ppa", **_WIND, "start": date(2026, 7, 1),
                "end": date(2026, 9, 30), "volume": 1200, "volume_unit": "MWh", "g_per_kwh": 0,
                "retired": date(2026, 10, 2), "retirement_id": "R-2026-000122",
                "registry": "HKNR", "serials": "DE-000001..DE-001200", "plant": "Windpark Nord",
                "beneficiary": "Example AI GmbH",
            },
            {"site": "fra1", "id": "solar-east", "kind": "ppa", "zone": "DE", "technology": "solar"},
        ),
        name="id",
        place="sites[].contracts[]",
    ),
    Sheet(
        "Certificates",
        model.BoughtContract,
        "Guarantees of origin and renewable energy certificates. Only certificates that are retired for the site count.",
        _bought("go", "rec", "i-rec", without=["hourly_file"]),
        (
            {
                "site": "fra1", "id": "go-2026-07", "kind": "go", **_WIND, "granularity": "month",
                "start": date(2026, 7, 1), "end": date(2026, 7, 31), "volume": 150, "volume_unit": "MWh",
                "retired": date(2026, 9, 1), "retirement_id": "R-2026-000123",
                "registry": "HKNR", "serials": "DE-002001..DE-002150", "plant": "Windpark Nord",
                "beneficiary": "Example AI GmbH", "g_per_kwh": 0,
            },
        ),
        name="id",
        place="sites[].contracts[]",
    ),
    Sheet(
        "Supplier rates",
        SupplierRateConfig,
        "Emission rate of the electricity supplier, for energy that no contract or certificate covers. It is used only if "
        "every quality criterion is met.",
        (
            _site(),
            *_columns(
                SupplierRateConfig,
                zone=SheetColumn("zone", says="bidding zone or grid of the delivery, named as grid_zone in sheet Sites"),
            ),
        ),
        (
            {
                "site": "fra1", "supplier": "Stadtwerke Beispiel", "zone": "DE", "start": date(2026, 1, 1),
                "end": date(2026, 12, 31), "g_per_kwh": 310, "source": "electricity label 2025, published 1 July 2026",
                "of_delivered": "yes", "certificates_retired": "yes", "sold_at_residual_mix": "yes",
            },
        ),
        name="supplier",
        place="sites[].supplier_rates[]",
    ),
    Sheet(
        "Deliveries",
        model.Delivery,
        "Energy that a contract delivered in each hour or quarter of an hour, for the strictest matching.",
        (
            _site(), SheetColumn("contract", None, "id of its contract or certificate", needed=True),
            *_columns(model.Delivery, kwh=SheetColumn("volume", "kwh", units=KWH)),
        ),
        (
            {
                "site": "fra1", "contract": "solar-east", "start_utc": datetime(2026, 7, 1, 9, 15), "minutes": 15,  # noqa: DTZ001
                "volume": 812.5, "volume_unit": "kWh",
            },
        ),
        name="start_utc",
        place="sites[].contracts[].deliveries[]",
    ),
    Sheet(
        "Tariffs",
        Tariff,
        "Electricity prices. Rows with times give the price at those times; the row of the same id without times gives "
        "the price at all other times. All prices are without taxes on sales such as VAT.",
        (
            _site(),
            *_columns(
                Tariff, last=("demand_per_kw", "source"),
                currency=SheetColumn("currency", says=f"ISO 4217, such as EUR; {_BASE}", needed=False),
                default_per_kwh=SheetColumn(
                    "price", "default_per_kwh", "price per unit of energy, without taxes such as VAT", units=PER_KWH
                ),
                prices=SheetColumn(
                    "times", None, f"{HourlyPrice.model_fields['times'].description}; separate several with ;"
                ),
                valid_from=SheetColumn("valid_from", says=f"first day, in the site's time zone; {_BASE}", needed=False),
                demand_per_kw=SheetColumn("demand_price", "demand_per_kw"),
                source=SheetColumn(
                    "source", says=f"source of the prices: a contract, a page of the supplier; {_BASE}", needed=False
                ),
            ),
        ),
        (
            {
                "site": "fra1", "id": "2026", "currency": "EUR", "price": 182, "price_unit": "MWh",
                "valid_from": date(2026, 1, 1), "source": "contract with the supplier, 3.1",
            },
            {"site": "fra1", "id": "2026", "price": 214, "price_unit": "MWh", "times": "Mon-Fri 08:00-20:00"},
        ),
        name="id",
        place="sites[].tariffs[]",
    ),
    Sheet(
        "Invoices",
        ElectricityInvoice,
        "Electricity invoices of the supplier or landlord, one row per invoice and metering point. The report compares them "
        "with meter and ledger; a site without agents is reported from them alone. A site without tariffs takes its cost from "
        "their amounts.",
        (
            _site(),
            *_columns(
                ElectricityInvoice,
                kwh=SheetColumn("energy", "kwh", units=KWH),
                peak_kw=SheetColumn("peak", "peak_kw", units=KILOWATTS),
            ),
        ),
        (
            {
                "site": "fra1", "number": "R-2026-07", "start": date(2026, 7, 1), "end": date(2026, 7, 31), "energy": 412.5,
                "energy_unit": "MWh", "basis": "read", "accuracy_percent": 1, "peak": 640, "peak_unit": "kW",
                "amount": 75075, "currency": "EUR", "tax": "excluded",
            },
        ),
        name="number",
        place="sites[].invoices[]",
    ),
    Sheet(
        "Readings",
        RegisterReading,
        "Readings of the site's supply meters, such as one per month. The energy between two readings of a meter is compared "
        "with the invoices and the ledger, and takes the place of a missing or estimated invoice.",
        (_site(), *_columns(RegisterReading, kwh=SheetColumn("register", "kwh", units=KWH))),
        (
            {"site": "fra1", "meter": "Z-4711", "day": date(2026, 7, 1), "register": 88120, "register_unit": "kWh",
             "multiplier": 60, "source": "photo of 1 July"},
            {"site": "fra1", "meter": "Z-4711", "day": date(2026, 8, 1), "register": 94990, "register_unit": "kWh",
             "multiplier": 60, "source": "photo of 1 August"},
        ),
        name="meter",
        place="sites[].readings[]",
    ),
    Sheet(
        "Water",
        WaterRecord,
        "Water use of the site between two meter readings, or from a bill.",
        (_site(), *_columns(WaterRecord, liters=SheetColumn("amount", "liters", units=LITERS))),
        (
            {
                "site": "fra1", "start": date(2026, 7, 1), "end": date(2026, 9, 30), "amount": 4100, "amount_unit": "m3",
                "accuracy_percent": 2, "category": 1, "source": "bill 4711",
            },
        ),
        name="source",
        place="sites[].water[]",
    ),
    Sheet(
        "Teams",
        TeamRule,
        "Owner of a workload. The first matching row applies; * matches any characters. All globs of a row must match.",
        (
            *_labels("namespace", "owner", "pod", "account", "user", "partition", "model"),
            SheetColumn("kind", "match.kind", "kind of workload: container, pod, unit, slurm, process"),
            SheetColumn("workload", "match.workload", "glob that the workload's name must match"),
            SheetColumn("labels", None, "globs of other labels: key=glob; key=glob"),
            *_columns(TeamRule, without=["match"]),
        ),
        (
            {"namespace": "nlp-*", "team": "language", "project": "search"},
            {"partition": "spot*", "price_class": "spot"},
        ),
        place="teams[]",
    ),
    Sheet(
        "Prices",
        GpuHourPrice,
        "Price per GPU hour, by price class.",
        _columns(GpuHourPrice),
        ({"price_class": "spot", "currency": "EUR", "per_gpu_hour": 0.9},),
        name="price_class",
        place="prices[]",
    ),
    Sheet(
        "Hardware",
        EmbodiedDeclaration,
        "Emissions from the production of a GPU board, if you have better figures than those shipped with Wattlens.",
        _columns(EmbodiedDeclaration),
        (
            {
                "sku": "*H100*", "low_kg": 164, "high_kg": 575.1, "life_years": 5, "boundary": "cradle to gate, GPU board only",
                "source": "manufacturer's data sheet (low), a model (high)",
            },
        ),
        name="sku",
        place="embodied[]",
    ),
    Sheet(
        "Models",
        ModelName,
        "Names of models in the report.",
        _columns(ModelName),
        ({"model": "llama-3.1-70b-instruct-fp8", "display": "Llama 3.1 70B", "precision": "fp8", "parameters_billion": 70.6},),
        name="model",
        place="models[]",
    ),
    Sheet(
        "Reported",
        model.PeriodTotals,
        "Totals of earlier periods as your earlier reports stated them: for comparison, for a base year before the ledger, and "
        "for restatements.",
        _columns(model.PeriodTotals),
        ({"period": "2025Q3", "electricity_mwh": 16.2, "co2e_location_t": 7.41, "co2e_market_t": 6.9,
          "source": "report of 2025Q3, edition 1, 2025-10-12"},),
        name="period",
        place="reported[]",
    ),
)
# fmt: on
BY_TITLE: Final = {sheet.title: sheet for sheet in SHEETS}
