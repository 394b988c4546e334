"""`wattlens site`: one process a site that polls its facility meters, keeps their ledger and serves its PUE."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from wattlens.cli._command import Command, CommandOptions, print_lines
from wattlens.cli._options import add_simulate, simulated_node

if TYPE_CHECKING:
    from energy_agent.core.meters.facility import MeterFacts


def _configure(add: CommandOptions) -> None:
    add("--config FILE", "YAML file of the site (docs/site.md)", required=True)
    add("--state DIR", "journal and segments (default: /var/lib/wattlens-site as root, else the XDG state folder)")
    add("--listen ADDR:PORT", "address of /metrics (default: web.listen of the file, else 127.0.0.1:9480)")
    add("--check", "validate the file, print its meter tree and exit")
    add_simulate(
        add, "read the meters of the simulated node that runs in DIR (see wattlens sim); segments are marked as simulated"
    )


def _run(args: Namespace) -> int:
    if args.check:
        from zoneinfo import ZoneInfo

        from energy_agent.factors.sets import catalogue
        from wattlens.site.file import load_site

        config = load_site(args.config)
        for contract in config.contracts:
            contract.deliveries_by_time(ZoneInfo(config.site.time_zone))  # reads the files that they name
        catalogue(config.the_grid.factors)
        print_lines(_format_tree([meter.meter_facts for meter in config.all_meters]))
        print(f"{args.config}: OK; site {config.site.name}, {len(config.all_meters)} meters, no double counting")
        return 0
    from wattlens.site.run import SiteOptions, run_site
    from wattlens.state_folder import default_state_dir

    state = args.state or default_state_dir("wattlens-site")
    return run_site(SiteOptions(args.config, state, args.listen, simulated_node(args.simulate)))


def _format_tree(meters: "Sequence[MeterFacts]") -> Iterator[str]:
    """Yield one line per meter, below its parent."""
    for top in (m for m in meters if not m.parent):
        yield from _branch(top, meters, 0)


def _branch(meter: "MeterFacts", meters: "Sequence[MeterFacts]", depth: int) -> Iterator[str]:
    facts = [str(meter.role)] + ([f"at {meter.position}, category {meter.position.category}"] if meter.position else [])
    facts += [f"zone {meter.zone}"] if meter.zone else []
    facts += [f"within {meter.accuracy_ppm / 10_000:g} %", f"by {meter.source}"]
    yield f"{'  ' * depth}{meter.id}: {', '.join(facts)}"
    for child in (m for m in meters if m.parent == meter.id):
        yield from _branch(child, meters, depth + 1)


SPEC = Command("run the site process: facility meters, PUE, grid carbon; one per site", _configure, _run)
