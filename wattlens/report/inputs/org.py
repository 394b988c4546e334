"""Read the inputs of an organisation for a report: `org.yaml`, or a workbook, and every file that it names."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

from energy_agent.config import agent as configuration
from energy_agent.config.messages import shorten
from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S
from energy_agent.factors import bounded_file
from energy_agent.factors.sets import shipped, subregion_advice
from energy_agent.runtime.files import yaml_file
from reports.inputs.beneficiaries import Beneficiaries
from reports.inputs.organisation import HostHardware, Organisation, SiteInputs, SoftwareEstimate
from reports.inputs.serials import Retirement, refuse_double_use
from reports.statement import ReportStatement
from wattlens.report.inputs import codecarbon, stated
from wattlens.report.inputs.codecarbon_tables import CodeCarbonTables
from wattlens.report.inputs.files import InputFiles
from wattlens.report.inputs.grid import GridPeriod
from wattlens.report.inputs.inventory import Line, csv_lines, expected
from wattlens.report.inputs.model import NodeHardware, OrgFile
from wattlens.report.inputs.site import site_inputs
from wattlens.report.inputs.text import limited
from wattlens.report.inputs.workbook.rows import ParsedInputs, also_at, read_workbook
from wattlens.report.plausibility import G_PER_KWH, implausible

FILE_MAX_B = 20 << 20
YAML, WORKBOOK = (".yaml", ".yml"), (".xlsx", ".xlsm")


def load_organisation(
    path: Path,
    start_ns: int,
    end_ns: int,
    as_of_ns: int,
    *,
    accept_old: bool = False,
    tables: CodeCarbonTables | None = None,
) -> Organisation:
    """Return everything in an input file and in the files that it names.

    Args:
        path: `org.yaml`, or a workbook; paths in it are relative to its folder.
        start_ns: start of the report's time, UTC ns: the earliest of its sites' and of its comparisons.
        end_ns: end of that time, UTC ns.
        as_of_ns: the grid is used as known at this time.
        accept_old: also use yearly factors that are more than five years older than the energy.
        tables: lookups in CodeCarbon's tables, which keep their answers; None: those of the installed version.

    Raises:
        UsageError: a file is invalid; one line with the file, the key, row or cell, and the correction.
        JournalError: a file of a grid's series is damaged.
    """
    raw = bounded_file.read(path, FILE_MAX_B)
    inputs = parse(raw, path)
    tables = tables or CodeCarbonTables()
    files = InputFiles(path.parent)
    files.note(path.name, raw)
    document = inputs.organisation
    about = document.organisation
    estimates = _estimates(document, files)
    retired: list[Retirement] = []
    sites = _sites(inputs, files, GridPeriod(start_ns, end_ns, as_of_ns, accept_old), path, tables, retired)
    doubts = [f"{text}{also_at(text, inputs.cells)}" for text in (*refuse_double_use(retired), *_odd_factors(sites))]
    today = datetime.fromtimestamp(as_of_ns // NS_PER_S, UTC).date()
    oddities = (f"{inputs.where(place)}: {text}" for place, text in implausible(document, today))
    warning_texts = (f"{path.name}: {text}" for text in (*oddities, *_unmatched(sites, inputs), *_states(sites), *doubts))
    return Organisation(
        about.name,
        about.contact,
        Fraction(document.least_coverage_percent) / 100,
        sites,
        expected(_inventory(inputs, files, path), list(sites)),
        document.teams,
        document.prices,
        document.embodied,
        {each.model: each for each in document.models},
        files.read_so_far,
        ReportStatement(
            about.prepared_by,
            about.approved_by,
            "" if about.issued is None else about.issued.isoformat(),
            about.consolidation,
            about.base_year,
        ),
        tuple(map(stated.reported_period, document.reported)),
        stated.of_organisation(about, {"price": document.prices, "embodied": document.embodied, "host": document.hosts}),
        estimates=estimates,
        hosts=_hosts(inputs, path, tables),
        variance=Fraction(document.variance_percent) / 100,
        warnings=tuple(warning_texts),
    )


def _estimates(document: OrgFile, files: InputFiles) -> tuple[SoftwareEstimate, ...]:
    given = document.estimates
    return () if given is None else codecarbon.read_estimates(files.read(given, codecarbon.FILE_MAX_B), str(given))


def _odd_factors(sites: Mapping[str, SiteInputs]) -> Iterator[str]:
    """Yield the user's own factors and hourly intensities that no grid has, such as kg as g."""
    published = {factor.id for table in shipped() for factor in table.factors.values()}
    least, most = G_PER_KWH
    for name, site in sites.items():
        for source in (*site.location, *site.residual):
            highest = max((piece.g_per_kwh for piece in source.pieces), default=0)
            if source.id not in published and highest and not least <= highest <= 2 * most:
                yield f"site {name}: {source.id} has at most {highest:f} g/kWh; grids have {least} to {most}; check its unit"


def _unmatched(sites: Mapping[str, SiteInputs], inputs: ParsedInputs) -> Iterator[str]:
    """Yield the contracts that cover nothing in the period, or less than their volume, each with its cell and the reason."""
    for name, site in sites.items():
        for contract, (reason, what) in limited(site).items():
            label = "serials" if not reason else "beneficiary" if (contract, reason) in site.refused_beneficiaries else ""
            cell = inputs.contract_cells.get((name, contract, label))
            where = f" ({cell})" if cell else also_at(f"{contract!r}", inputs.cells)
            yield f"contract {contract!r} of site {name} {what}{where}"


def _states(sites: Mapping[str, SiteInputs]) -> Iterator[str]:
    """Yield the sites whose factor is that of a state of the USA."""
    for name, site in sites.items():
        advice = subregion_advice(site.grid_zone.upper())
        if any(advice in source.reasons for source in site.location):
            yield f"grid.zone of site {name}: {advice}"


def fiscal_year_start(path: Path) -> int | None:
    """Return the first month of the organisation's fiscal year; None if its file does not state it.

    Raises:
        UsageError: the file is invalid.
    """
    return parse(bounded_file.read(path, FILE_MAX_B), path).organisation.organisation.fiscal_year_start


def parse(raw: bytes, path: Path) -> ParsedInputs:
    """The file itself, without what it names; raises UsageError as `load_organisation` does."""
    if path.suffix.lower() in YAML:
        if len(raw) > yaml_file.MAX_BYTES:
            raise UsageError(f"{path}: expected at most {yaml_file.MAX_BYTES} bytes")
        document = configuration.parse_as(OrgFile, raw, str(path))
        return ParsedInputs(document)
    if path.suffix.lower() in WORKBOOK:
        return read_workbook(raw, path.name)
    raise UsageError(f"{path}: expected an input file that ends in {' or '.join((*YAML, '.xlsx'))}")


def _inventory(inputs: ParsedInputs, files: InputFiles, path: Path) -> Iterable[Line]:
    """The lines of the inventory, of the one place that they stand in."""
    given, where = inputs.organisation.inventory, f"{path}: {inputs.where(('inventory',))}"
    if given is None:
        return inputs.lines
    if inputs.lines:
        first = inputs.lines[0][0].removeprefix(f"{path.name}: ")
        raise UsageError(f"{where}: names {given}, and {first} contains an inventory as well; keep one of the two")
    try:
        return csv_lines(given, files)
    except UsageError as error:
        raise UsageError("\n".join(f"{where}: {line}" for line in str(error).splitlines())) from None


def _hosts(inputs: ParsedInputs, path: Path, tables: CodeCarbonTables) -> tuple[HostHardware, ...]:
    hosts, faults = [], []
    for index, each in enumerate(inputs.organisation.hosts):
        try:
            hosts.append(_host(each, tables))
        except UsageError as error:  # only a cpu that the table does not have
            cell = f" ({inputs.where(('hosts', index, 'cpu'))})" if inputs.cells else ""
            faults.append(f"{path}: host {each.node!r}: {error}{cell}")
    if faults:
        raise UsageError("\n".join(shorten(faults)))
    return tuple(hosts)


def _host(row: NodeHardware, tables: CodeCarbonTables) -> HostHardware:
    name, tdp_w = (row.cpu, row.cpu_tdp_w) if row.cpu_tdp_w is not None else tables.tdp(row.cpu)
    cpu, ram = tables.cpu_power(tdp_w, row.sockets, name), tables.ram_power(row.ram_gb)
    tdp = f"TDP {tdp_w.normalize():f} W" + (", cpu_tdp_w" if row.cpu_tdp_w is not None else "")
    parts = (f"{row.sockets} \u00d7 {f'{name} ({tdp})' if name else tdp}", cpu), (f"{row.ram_gb.normalize():f} GB", ram)
    texts = (f"{part}: {power.w:f} W [{power.low_w:f}, {power.high_w:f}]" for part, power in parts)
    basis = f"{'; '.join(texts)}; CodeCarbon {tables.version()}"
    return HostHardware(row.node, row.cluster, cpu, ram, basis)


def _sites(
    inputs: ParsedInputs,
    files: InputFiles,
    span: GridPeriod,
    path: Path,
    tables: CodeCarbonTables,
    retired: list[Retirement],
) -> dict[str, SiteInputs]:
    about = inputs.organisation.organisation
    beneficiaries = Beneficiaries((*filter(None, [about.name]), *about.legal_entities), about.beneficiaries)
    sites: dict[str, SiteInputs] = {}
    faults: list[str] = []
    for entry in inputs.organisation.sites:
        try:
            site = site_inputs(entry, files, span, retired, tables, beneficiaries)
        except UsageError as error:
            faults += str(error).splitlines()
            continue
        if site.name in sites:
            faults.append(f"duplicate site {site.name!r}")
        sites[site.name] = site
    if faults:
        raise UsageError("\n".join(shorten([f"{path}: {text}{also_at(text, inputs.cells)}" for text in faults])))
    return sites
