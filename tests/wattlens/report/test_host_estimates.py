"""Hosts outside the inventory: what meters counted, and CodeCarbon's estimates, worked out by hand, apart from every total."""

import importlib
import json
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.boundary import host
from energy_agent.core.energy import State, WorkloadFacts
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.series import Piece
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.inputs.organisation import HostHardware, Organisation, PowerEstimate, SiteInputs
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.golden import at, cells
from tests.wattlens.report.books import AS_OF_NS, END_NS, START_NS, book
from wattlens.cli import main
from wattlens.report.inputs.codecarbon_tables import CodeCarbonTables
from wattlens.report.inputs.org import load_organisation

START = at("2026-07-01")
H = 3600
# Two processors of 360 W: half of 720 W, between a tenth and all of it. 1536 GB are 12 modules: 20 + 4 x 4.5 + 4 x 4 = 54 W.
CPU_W, RAM_W = 360, 54
ORG = """
least_coverage_percent: 0
sites:
  - {{site: {{name: lab}}, grid: {{country: DEU}}{more}}}
hosts:
  - {{node: "n1", cpu: "AMD EPYC 9654 96-Core Processor", sockets: 2, ram_gb: 1536}}
  - {{node: "n*", cluster: other, cpu_tdp_w: 100, ram_gb: 8}}
teams:
  - {{match: {{pod: "red*"}}, team: red}}
  - {{match: {{pod: "blue*"}}, team: blue}}
"""


def ledger(folder: Path, *metered: str, successor: str = "", quarters: int = 4, scope: str = "gpu:stated") -> Path:
    """An hour of nodes n1 (red for 30 min, blue for 15 min, then free), n2 (no declared hardware), n3 (a meter of its host).

    `metered` are further meters of n1 of 0.1 kWh per quarter of an hour. `successor` replaces them after 30 min.
    """
    first = 2 if successor else quarters
    quarter = chains.CELL
    entries = [
        *cells(START, "GPU-1", "r", State.ACTIVE, ["0.1"] * 2),
        *cells(START + 2 * quarter, "GPU-1", "b", State.IDLE, ["0.1"]),
        *cells(START + 3 * quarter, "GPU-1", "", State.UNALLOCATED, ["0.1"]),
        *(cell for meter in metered for cell in cells(START, meter, "", State.UNALLOCATED, ["0.1"] * first)),
        *(cells(START + 2 * quarter, successor, "", State.UNALLOCATED, ["0.1"] * 2) if successor else ()),
    ]
    metadata = Batch(
        facts=[WorkloadFacts("r", START, "pod", {"pod": "red-1"}), WorkloadFacts("b", START, "pod", {"pod": "blue-1"})],
        devices=[DeviceFacts("GPU-1", "NVIDIA GB200", 0.01, START, scope)],
    )
    chains.write(folder, "lab", "n1", [metadata, Batch(entries)])
    for number in (2, 3):
        gpu, node = f"GPU-{number}", f"n{number}"
        meter = cells(START, host("lab", node), "r", State.ACTIVE, ["0.3"] * 4) if number == 3 else []
        rows = [*cells(START, gpu, "r", State.ACTIVE, ["0.1"] * 4), *meter]
        chains.write(folder, "lab", node, [Batch(devices=[DeviceFacts(gpu, "H100", 0.01, START)]), Batch(rows)])
    return folder


def inputs(folder: Path, more: str = "") -> Path:
    """The organisation's file."""
    path = folder / "org.yaml"
    path.write_text(ORG.format(more=more))
    return path


def report(folder: Path, org: Path, end: str = "2026-07-01T03:00") -> dict[str, dict[str, object]]:
    words = ["report", "--ledger", str(folder / "segments"), "--org", str(org), "--formats", "html",
             "--from", "2026-07-01T00:00", "--to", end, "--out", str(folder / "report")]  # fmt: skip
    assert main(words) == 0
    facts = json.loads((folder / "report" / "facts.json").read_text())
    return {figure["id"]: figure for figure in facts["figures"]}


def number(figures: dict[str, dict[str, object]], identity: str, end: str = "value") -> Fraction:
    return Fraction(str(figures[identity][end]))


def test_a_node_without_a_meter_is_estimated_and_stays_out_of_every_total(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """414 W for an hour: red 30 of 60 minutes, blue 15, 15 unallocated."""
    ledger(tmp_path / "segments")
    figures = report(tmp_path, inputs(tmp_path))
    whole = (CPU_W + RAM_W) * H
    assert number(figures, "estimate.host.energy") == number(figures, "estimate.host.energy/site/lab") == whole
    assert number(figures, "estimate.host.energy/component/cpu") == CPU_W * H
    assert number(figures, "estimate.host.energy/component/ram") == RAM_W * H
    assert number(figures, "estimate.host.energy/team/red") == whole / 2
    assert number(figures, "estimate.host.energy/team/blue") == whole / 4
    assert number(figures, "estimate.host.energy.unattributed") == whole / 4
    total = figures["estimate.host.energy/site/lab"]
    assert number(figures, "estimate.host.energy", "low") == Fraction(72 * H + 162 * H // 10)
    assert number(figures, "estimate.host.energy", "high") == (720 + 108) * H
    dims = total["dims"]
    assert isinstance(dims, dict)
    assert dims["quality"] == "6: software estimate"
    assert "CodeCarbon" in dims["stand_in"]
    inventory = Fraction("1.2") * 3_600_000
    assert number(figures, "energy.inventory") == number(figures, "energy.gpu") == inventory
    per_j = number(figures, "co2e.location") / inventory
    assert float(number(figures, "estimate.host.co2e.location")) == pytest.approx(float(per_j * whole))
    assert float(number(figures, "estimate.host.co2e.location/team/red")) == pytest.approx(float(per_j * whole / 2))
    assert node_kinds(figures) == {"metered": 1, "partly_estimated": 0, "estimated": 1, "incomplete": 1}
    n3 = Fraction("1.2") * 3_600_000
    assert number(figures, "energy.outside_inventory/site/lab") == n3
    assert float(number(figures, "co2e.location.outside_inventory/site/lab")) == pytest.approx(float(per_j * n3))
    assert number(figures, "energy.with_estimates") == inventory + n3 + whole
    assert figures["energy.with_estimates"]["sources"] == ["ledger", "hosts"]
    page = " ".join(re.sub("<[^>]*>", " ", (tmp_path / "report" / "report.html").read_text()).split())
    assert "Sites Metered Metered and estimated Estimated Incomplete Metered energy, kWh" in page
    assert "lab 1 0 1 1 1.200 349.2 The inventory" in page
    assert "Teams: estimated energy and CO2e of processors and memory without a meter" in page
    assert "2 \u00d7 AMD EPYC 9654 (TDP 360 W): 360 W [72, 720]; 1536 GB: 54 W [16.2, 108]; CodeCarbon " in page
    capsys.readouterr()
    assert main(["report", "verify", str(tmp_path / "report"), "--ledger", str(tmp_path / "segments"), "--org",
                 str(tmp_path / "org.yaml")]) == 0  # fmt: skip


@pytest.mark.smoke
def test_a_replaced_gpu_does_not_shorten_the_time_of_its_host(tmp_path: Path) -> None:
    """GPU-1 is metered for the whole hour, GPU-4 for its first half and GPU-5 for its second."""
    ledger(tmp_path / "segments", "GPU-4", successor="GPU-5")
    figures = report(tmp_path, inputs(tmp_path))
    assert number(figures, "estimate.host.energy/site/lab") == (CPU_W + RAM_W) * H
    dims = figures["estimate.host.power/cpu/*/n1"]["dims"]
    assert isinstance(dims, dict)
    assert dims["node_hours"] == "1"


def test_hosts_have_no_co2e_where_the_intensity_of_the_grid_is_unknown(tmp_path: Path) -> None:
    """The intensity is known for the first half of the hour only."""
    ledger(tmp_path / "segments")
    power = PowerEstimate(Decimal(100), Decimal(50), Decimal(200))
    pieces = (Piece(0, START + 2 * chains.CELL, Decimal(100), estimated=False),)
    source = IntensitySource("half", Basis(EmissionBoundary.DIRECT), 4, pieces)
    site = SiteInputs("lab", ZoneInfo("UTC"), location=(source,), location_lacking="")
    organisation = Organisation(
        sites={"lab": site}, hosts=(HostHardware("n1", "*", power, power, "stated"),), least_coverage=Fraction(0)
    )
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", organisation.stays("lab"))
    figures = chains.facts(days, organisation, PeriodRequest("2026Q3")).figures
    assert figures["estimate.host.energy"].value == 200 * H
    assert figures["estimate.host.co2e.location"].value is None
    assert figures["estimate.host.co2e.location"].reason == figures["co2e.location/site/lab"].reason
    assert "carbon intensity of the grid is unknown for 0.5 h" in str(figures["co2e.location/site/lab"].reason)


def node_kinds(figures: dict[str, dict[str, object]]) -> dict[str, int]:
    dims = figures["energy.outside_inventory/site/lab"]["dims"]
    assert isinstance(dims, dict)
    assert dims["nodes"] == "3"
    return {name: int(dims[f"nodes_{name}"]) for name in ("metered", "partly_estimated", "estimated", "incomplete")}


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("domains", "quarters", "cpu_h", "ram_h"),
    [
        (("package-0",), 4, 0, 1),
        (("package-0", "package-1"), 4, 0, 1),
        (("dram-0",), 4, 1, 0),
        (("package-0",), 2, 0.5, 1),
        (("package-0", "dram-0"), 3, 0.25, 0.25),
    ],
)
def test_a_component_is_estimated_for_the_time_without_its_meter(
    tmp_path: Path, domains: tuple[str, ...], quarters: int, cpu_h: float, ram_h: float
) -> None:
    """Each domain of n1 counts 0.1 kWh per quarter of an hour, which is in no total of the site, and n3's host 1.2 kWh."""
    ledger(tmp_path / "segments", *(f"{host('lab', 'n1')}/{domain}" for domain in domains), quarters=quarters)
    figures = report(tmp_path, inputs(tmp_path))
    assert number(figures, "estimate.host.energy/component/cpu") == CPU_W * H * Fraction(cpu_h)
    assert number(figures, "estimate.host.energy/component/ram") == RAM_W * H * Fraction(ram_h)
    assert node_kinds(figures) == {"metered": 1, "partly_estimated": 1, "estimated": 0, "incomplete": 1}
    metered = (Fraction("1.2") + Fraction(quarters * len(domains), 10)) * 3_600_000
    assert number(figures, "energy.outside_inventory/site/lab") == metered
    assert number(figures, "energy.inventory") == number(figures, "energy.gpu")
    parts = ("energy.inventory", "energy.outside_inventory/site/lab", "estimate.host.energy")
    assert number(figures, "energy.with_estimates") == sum(number(figures, part) for part in parts)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("domains", "scope"), [(("package-0", "dram-0"), "gpu:stated"), (("package-0", "dram-0"), "unknown"), ((), "module:stated")]
)
def test_a_node_with_meters_of_all_components_is_not_estimated(tmp_path: Path, domains: tuple[str, ...], scope: str) -> None:
    """The counter of a GPU meters processor and memory, where it is stated to include its module."""
    ledger(tmp_path / "segments", *(f"{host('lab', 'n1')}/{domain}" for domain in domains), scope=scope)
    figures = report(tmp_path, inputs(tmp_path))
    assert "estimate.host.energy" not in figures
    assert figures["estimate.host.energy/site/lab"]["reason"] == (
        "no input describes processors and memory of a node without a meter"
    )
    assert node_kinds(figures) == {"metered": 2, "partly_estimated": 0, "estimated": 0, "incomplete": 1}
    assert "energy.with_estimates" not in figures


@pytest.mark.parametrize("scope", ["unknown", "", "no such scope"])
def test_a_counter_of_unknown_scope_may_contain_the_processors_whatever_its_gpu_is_called(tmp_path: Path, scope: str) -> None:
    """Contained: nothing beyond the GPU; apart: 720 W and 108 W, for an hour, of which red has half."""
    ledger(tmp_path / "segments", scope=scope)
    figures = report(tmp_path, inputs(tmp_path))
    for identity, part in (("estimate.host.energy", 1), ("estimate.host.energy/team/red", 2)):
        assert number(figures, identity) == Fraction((CPU_W + RAM_W) * H, part)
        assert number(figures, identity, "low") == 0
        assert number(figures, identity, "high") == Fraction((720 + 108) * H, part)
    assert number(figures, "estimate.host.co2e.location", "low") == 0
    dims = figures["estimate.host.energy"]["dims"]
    assert isinstance(dims, dict)
    assert {name: dims[f"nodes_{name}"] for name in ("gpu:stated", "module:stated", "unknown")} == {
        "gpu:stated": "0", "module:stated": "0", "unknown": "1",
    }  # fmt: skip
    page = " ".join(re.sub("<[^>]*>", " ", (tmp_path / "report" / "report.html").read_text()).split())
    assert "the GPU alone: 0 measured, 0 stated; its module (no estimate): 0 measured, 0 stated; 1 unknown." in page


def test_metered_hosts_outside_the_inventory_are_stated_without_declared_hardware(tmp_path: Path) -> None:
    ledger(tmp_path / "segments", f"{host('lab', 'n1')}/package-0")
    org = inputs(tmp_path)
    org.write_text(re.sub(r"hosts:\n(  - .*\n)+", "", org.read_text()))
    figures = report(tmp_path, org)
    assert number(figures, "energy.outside_inventory/site/lab") == Fraction("1.6") * 3_600_000
    assert node_kinds(figures) == {"metered": 1, "partly_estimated": 0, "estimated": 0, "incomplete": 2}
    page = " ".join(re.sub("<[^>]*>", " ", (tmp_path / "report" / "report.html").read_text()).split())
    assert "lab 1 0 0 2 1.600 465.6 The inventory" in page


@pytest.mark.smoke
def test_site_with_hosts_in_its_invoices_has_no_host_estimate(tmp_path: Path) -> None:
    ledger(tmp_path / "segments")
    invoiced = ", invoices: [{number: R-7, start: 2026-07-01, end: 2026-07-01, kwh: 3}]"
    figures = report(tmp_path, inputs(tmp_path, invoiced), "2026-07-02")
    assert figures["estimate.host.energy/site/lab"]["reason"] == "the energy of its building contains its hosts"
    assert "energy.with_estimates" not in figures


def test_a_report_is_rebuilt_with_the_values_that_its_manifest_records() -> None:
    """Another version of CodeCarbon may have another table: recorded answers are used without it."""
    tables = CodeCarbonTables()
    assert tables.tdp("AMD EPYC 9654 96-Core Processor") == ("AMD EPYC 9654", Decimal(360))
    recorded = tables.recorded.replace('"360.0"', '"333"')
    assert CodeCarbonTables(recorded).tdp("AMD EPYC 9654 96-Core Processor") == ("AMD EPYC 9654", Decimal(333))
    assert CodeCarbonTables().recorded == ""


def test_the_power_of_memory_follows_its_modules() -> None:
    """512 GB: 8 modules, 4 x 5 + 4 x 4.5 = 38 W; 1.5 W per module is the lower bound, 10 W the upper one."""
    power = CodeCarbonTables().ram_power(Decimal(512))
    assert (power.w, power.low_w, power.high_w) == (Decimal(38), Decimal("11.4"), Decimal(76))


def test_the_power_of_processors_is_that_of_codecarbons_constant_mode() -> None:
    """Its tracker gives its class of processors the TDP of all sockets, and asks it for the power."""
    from codecarbon.external.hardware import CPU

    power = CodeCarbonTables().cpu_power(Decimal(360), 2, "AMD EPYC 9654")
    tracked = CPU(output_dir=".", mode="constant", model="AMD EPYC 9654", tdp=720)
    assert (float(power.w), power.low_w, power.high_w) == (tracked.total_power().W, Decimal(72), Decimal(720))


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        ("codecarbon.core.cpu:TDP", "_get_matching_cpu", "another interface (type object 'TDP' has no attribute"),
        ("codecarbon.core.cpu", "TDP", "another interface (cannot import name 'TDP' from 'codecarbon.core.cpu')"),
        ("codecarbon.external.hardware:CPU", "total_power", "another interface ('NoneType' object has no attribute"),
        ("codecarbon.external.ram:RAM", "_calculate_ram_power", "another interface (RAM.total_power gives 0 W)"),
    ],
)
def test_a_codecarbon_with_another_interface_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, owner: str, name: str, error: str
) -> None:
    module, _, class_name = owner.partition(":")
    target = importlib.import_module(module)
    monkeypatch.delattr(getattr(target, class_name) if class_name else target, name)
    tables = CodeCarbonTables()
    with pytest.raises(WattlensError, match=re.escape(error)):
        _ = (tables.tdp("AMD EPYC 9654"), tables.cpu_power(Decimal(1), 1, ""), tables.ram_power(Decimal(1)))


def test_codecarbon_matches_the_name_that_a_system_reports() -> None:
    """A release without this private function of CodeCarbon fails here."""
    assert CodeCarbonTables().tdp("Intel(R) Xeon(R) Platinum 8480+ CPU @ 2.00GHz")[1] == 350


def test_a_processor_that_the_table_does_not_have_is_refused_with_its_cell(tmp_path: Path) -> None:
    sheets = {
        "Sites": [["name"], ["lab"]],
        "Hosts": [["node", "cpu", "cpu_tdp_w", "sockets", "ram_gb"], ["a*", "Intel(R) Xeon(R) Platinum 8480C", None, 2, 2048],
                  ["b*", "Intel(R) Xeon(R) Platinum 8480C", 350, 2, 2048]],
    }  # fmt: skip
    with pytest.raises(UsageError) as caught:
        load_organisation(book(tmp_path / "org.xlsx", sheets), START_NS, END_NS, AS_OF_NS)
    text = str(caught.value)
    assert "host 'a*': CodeCarbon's table of processors does not have 'Intel(R) Xeon(R) Platinum 8480C'; nearest: " in text
    assert "or enter its TDP as cpu_tdp_w (sheet Hosts, cell B2)" in text
    assert "'b*'" not in text
    sheets["Hosts"][1][2] = 350
    hosts = load_organisation(book(tmp_path / "org.xlsx", sheets), START_NS, END_NS, AS_OF_NS).hosts
    assert hosts[0].cpu.w == 350


@pytest.mark.parametrize(
    ("region", "zone", "country"),
    [("gcp/europe-west3", "", "DEU"), ("gcp/us-west1", "US-OR", "USA"), ("gcp/us-east4", "", "USA")],
)
def test_a_cloud_region_gives_country_and_state(tmp_path: Path, region: str, zone: str, country: str) -> None:
    """The state of us-east4 is called Northern Virginia, which is no state: its country is used."""
    path = tmp_path / "org.yaml"
    path.write_text(f"sites: [{{site: {{name: c}}, grid: {{cloud_region: {region}}}}}]")
    site = load_organisation(path, START_NS, END_NS, AS_OF_NS).sites["c"]
    assert (site.grid_zone, site.country) == (zone, country)
    assert {str(source.basis.boundary) for source in site.location} == {"direct"}


@pytest.mark.parametrize(
    ("grid", "error"),
    [
        (
            "cloud_region: aws/us-east-1",
            "does not have 'aws/us-east-1'; it has regions of gcp; or enter the zone and country",
        ),
        ("cloud_region: gcp/europe-west33", "nearest: gcp/europe-west3, "),
        ("cloud_region: gcp/europe-west3, country: FRA", "gcp/europe-west3 is in DEU, but grid.country is FRA"),
        ("cloud_region: frankfurt", "cloud_region"),
    ],
)
def test_a_wrong_cloud_region_is_refused(tmp_path: Path, grid: str, error: str) -> None:
    path = tmp_path / "org.yaml"
    path.write_text(f"sites: [{{site: {{name: c}}, grid: {{{grid}}}}}]")
    with pytest.raises(UsageError, match=re.escape(error)):
        load_organisation(path, START_NS, END_NS, AS_OF_NS)
