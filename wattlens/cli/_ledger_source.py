"""Options of commands that read energy from a ledger, compacted days or Prometheus, and what they select."""

import argparse
import re
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energy_agent.core.errors import UsageError
from wattlens.cli._options import Pairs

if TYPE_CHECKING:
    from wattlens.prometheus.access import PrometheusAccess
    from wattlens.usage.rates import ElectricityPrice


def add_source(parser: argparse.ArgumentParser) -> None:
    """`SOURCE`, `--prometheus` and its access."""
    source = parser.add_argument_group("source")
    source.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="an agent's state folder, a folder of segments, or compacted days of a fleet (default: this machine's agent)",
    )
    source.add_argument("--prometheus", metavar="URL", help="read the agents' counters from this Prometheus instead")
    source.add_argument(
        "--match",
        action=Pairs,
        default={},
        metavar="LABEL=VALUE",
        help="Prometheus: read only series with this label; may be repeated",
    )
    source.add_argument(
        "--token-file", type=Path, metavar="FILE", help="Prometheus: file that holds a bearer token on one line"
    )
    source.add_argument(
        "--user-file", type=Path, metavar="FILE", help="Prometheus: file that holds user:password on one line, for basic auth"
    )
    source.add_argument("--ca-file", type=Path, metavar="FILE", help="Prometheus: CA certificates for the server's certificate")
    source.add_argument("--insecure", action="store_true", help="Prometheus: send the secret over unencrypted http://")


SITE_CARBON: Final = re.compile(r"site(?:=([\w.-]{1,64}))?", re.ASCII)
"""`--carbon site`: as a site process exports it, of the only zone or of the one that is named."""


def add_rates(group: argparse._ArgumentGroup, *, of_site: bool = False) -> None:
    """`--price` and `--carbon`; with `of_site` the latter may be `site` or `site=ZONE`."""
    group.add_argument("--price", metavar="PRICE", help="price of electricity, such as 0.18EUR/kWh")
    text = "grid carbon intensity in g CO2e per kWh, such as 380"
    more = "; with --prometheus also site or site=ZONE: the mean that `wattlens site` exported while the job ran"
    group.add_argument("--carbon", metavar="GRAMS", help=text + (more if of_site else ""))


def electricity_price(arguments: argparse.Namespace) -> "ElectricityPrice | None":
    """`--price`; None where it was not given."""
    from wattlens.usage.rates import parse_price

    try:
        return None if arguments.price is None else parse_price(arguments.price)
    except ValueError as error:
        raise UsageError(f"--price: {error}") from None


def carbon_intensity(arguments: argparse.Namespace) -> Fraction | None:
    """`--carbon` in g CO2e per kWh; None where it was not given."""
    from wattlens.usage.rates import parse_carbon

    try:
        return None if arguments.carbon is None else parse_carbon(arguments.carbon)
    except ValueError as error:
        raise UsageError(f"--carbon: {error}") from None


def prometheus_access(arguments: argparse.Namespace) -> "PrometheusAccess":
    """Access to `--prometheus`."""
    from wattlens.prometheus.access import PrometheusAccess

    if arguments.source is not None:
        raise UsageError(f"--prometheus: cannot be combined with a SOURCE ({arguments.source})")
    return PrometheusAccess(
        arguments.prometheus,
        ca_file=arguments.ca_file,
        token_file=arguments.token_file,
        user_file=arguments.user_file,
        insecure=arguments.insecure,
    )


def ledger_source(arguments: argparse.Namespace) -> str:
    """The ledger: SOURCE, else this machine's agent.

    Raises:
        UsageError: an option of Prometheus without it, no such source, or no agent's ledger.
    """
    for name in ("match", "token_file", "user_file", "ca_file", "insecure"):
        if getattr(arguments, name):  # ignored, it would give the energy of everything under the name of a part
            raise UsageError(f"--{name.replace('_', '-')}: expected together with --prometheus")
    source = arguments.source if arguments.source is not None else str(_agent_state())
    if "://" not in source and not Path(source).exists():
        raise UsageError(f"{source}: no such file or folder")
    return source


def holds_days(source: str) -> bool:
    """Whether a source is compacted days: a URL, or a folder that has some."""
    from reports.ledger.scratch import is_compacted

    return "://" in source or (not (Path(source) / "journal.db").exists() and is_compacted(Path(source)))


def _agent_state() -> Path:
    from wattlens.state_folder import default_state_dir

    state = default_state_dir()
    if not (state / "journal.db").exists():
        raise UsageError(f"{state}: no agent's ledger found; give a SOURCE or --prometheus URL")
    return state
