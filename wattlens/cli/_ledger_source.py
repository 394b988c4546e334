"""Options of commands that read energy from a ledger, compacted days or Prometheus, and what they select."""

import re
from argparse import Namespace
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from energy_agent.core.errors import UsageError
from wattlens.cli._command import CommandOptions
from wattlens.cli._options import Pairs

if TYPE_CHECKING:
    from wattlens.prometheus.access import PrometheusAccess
    from wattlens.usage.rates import ElectricityPrice
    from wattlens.usage.source import EnergySource


def add_source(add: CommandOptions) -> None:
    """`SOURCE`, `--prometheus` and its access."""
    source = add.group("source")
    source(
        "source SOURCE",
        "an agent's state folder, a folder of segments, or compacted days of a fleet (default: this machine's agent)",
        nargs="?",
    )
    source("--prometheus URL", "read the agents' counters from this Prometheus instead")
    source("--match LABEL=VALUE", "Prometheus: read only series with this label; may be repeated", action=Pairs, default={})
    source("--token-file FILE", "Prometheus: file that holds a bearer token on one line")
    source("--user-file FILE", "Prometheus: file that holds user:password on one line, for basic auth")
    source("--ca-file FILE", "Prometheus: CA certificates for the server's certificate")
    source("--insecure", "Prometheus: send the secret over unencrypted http://")


SITE_CARBON: Final = re.compile(r"site(?:=([\w.-]{1,64}))?", re.ASCII)
"""`--carbon site`: as a site process exports it, of the only zone or of the one that is named."""


def add_rates(add: CommandOptions, *, of_site: bool = False) -> None:
    """`--price` and `--carbon`; with `of_site` the latter may be `site` or `site=ZONE`."""
    add("--price PRICE", "price of electricity, such as 0.18EUR/kWh")
    text = "grid carbon intensity in g CO2e per kWh, such as 380"
    more = "; with --prometheus also site or site=ZONE: the mean that `wattlens site` exported while the job ran"
    add("--carbon GRAMS", text + (more if of_site else ""))


def electricity_price(arguments: Namespace) -> "ElectricityPrice | None":
    """`--price`; None where it was not given."""
    from wattlens.usage.rates import parse_price

    try:
        return None if arguments.price is None else parse_price(arguments.price)
    except ValueError as error:
        raise UsageError(f"--price: {error}") from None


def carbon_intensity(arguments: Namespace) -> Fraction | None:
    """`--carbon` in g CO2e per kWh; None where it was not given."""
    from wattlens.usage.rates import parse_carbon

    try:
        return None if arguments.carbon is None else parse_carbon(arguments.carbon)
    except ValueError as error:
        raise UsageError(f"--carbon: {error}") from None


def prometheus_access(arguments: Namespace) -> "PrometheusAccess":
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


def energy_source(arguments: Namespace) -> "EnergySource":
    """`--prometheus`, else SOURCE or this machine's agent.

    Raises:
        UsageError: an option of Prometheus without it, no such source, or no agent's ledger.
    """
    from wattlens.usage.source import EnergySource, local_ledger

    if arguments.prometheus is not None:
        return EnergySource(prometheus_access(arguments), arguments.match)
    for name in ("match", "token_file", "user_file", "ca_file", "insecure"):
        if getattr(arguments, name):  # ignored, it would give the energy of everything under the name of a part
            raise UsageError(f"--{name.replace('_', '-')}: expected together with --prometheus")
    return EnergySource(local_ledger(arguments.source))
