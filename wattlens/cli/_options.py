"""Types of options and groups of options that commands share. A wrong value is the parser's error: one line, exit code 2."""

import argparse
import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from energy_agent.core.errors import UsageError
from energy_agent.query.port import EMBEDDED, LEAST_MB
from wattlens.cli._command import CommandOptions

if TYPE_CHECKING:
    from wattlens.agent_access import AgentAccess

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
T = TypeVar("T", int, float, Decimal)


def number(kind: Callable[[str], T], low: float, high: float, *, above: bool = False) -> Callable[[str], T]:
    """A number from `low` to `high`; with `above` it must be more than `low`."""

    def parse(text: str) -> T:
        try:
            value = kind(text)
            fits = low <= value <= high and not (above and value == low)
        except (ValueError, ArithmeticError):
            fits = False
        if not fits:
            least = f"above {low:.10g} and at most" if above else f"from {low:.10g} to"
            whole = "whole " if cast("object", kind) is int else ""
            raise argparse.ArgumentTypeError(f"expected a {whole}number {least} {high:.10g}, got {quoted(text)}")
        return value

    return parse


def share(low: float = 0, high: float = 1, *, above: bool = False) -> Callable[[str], Fraction]:
    """A share: 5% or 0.05.

    Args:
        low: lower bound; the value must be more than it with `above`.
        high: upper bound.
        above: see `low`.
    """
    least, most = Fraction(str(low)), Fraction(str(high))  # as written: the float 0.001 is above 1/1000

    def parse(text: str) -> Fraction:
        match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*(%?)", text.strip())
        value = Fraction(match[1]) if match else Fraction(-1)
        value /= 100 if match and match[2] else 1
        if not least <= value <= most or (above and value == least):
            limits = f"{'above' if above else 'from'} {100 * low:.10g}% {'and at most' if above else 'to'} {100 * high:.10g}%"
            raise argparse.ArgumentTypeError(f"expected a share such as 5% or 0.05, {limits}, got {quoted(text)}")
        return value

    return parse


def duration(low_s: float = 0.001, high_s: float = 1e9) -> Callable[[str], float]:
    """A duration in seconds from `low_s` to `high_s`, written with its unit: 90s, 10m, 2h, 1d."""
    example = "30s, 15m or 2h" if high_s >= 30 else duration_text(high_s)

    def parse(text: str) -> float:
        match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])", text)
        seconds = float(match[1]) * _UNITS_S[match[2]] if match else -1.0
        if not low_s <= seconds <= high_s:
            raise argparse.ArgumentTypeError(
                f"expected a duration such as {example}{_limits(low_s, high_s)}, got {quoted(text)}"
            )
        return seconds

    return parse


def _limits(low_s: float, high_s: float) -> str:
    if high_s >= 1e9:
        return ""
    return f", from {duration_text(low_s)} to {duration_text(high_s)}" if low_s >= 0.1 else f", at most {duration_text(high_s)}"


def duration_text(seconds: float) -> str:
    """A duration as an option takes it, in the largest unit that needs no fraction."""
    unit, size = next(((u, s) for u, s in reversed(_UNITS_S.items()) if seconds >= s and seconds % s == 0), ("s", 1))
    return f"{seconds / size:.10g}{unit}"


def quoted(text: str) -> str:
    """A value in a message; a number or a word of letters and digits needs no quotes."""
    return text if re.fullmatch(r"[-+]?[A-Za-z0-9.]{1,40}%?", text) else repr(text[:80])


def moment(text: str) -> datetime:
    """A UTC day or time, with an offset if it has one; today, yesterday or monday; or how long ago: 24h, 7d."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = _moment_of_words(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant


def moment_text(text: str) -> str:
    """The same as ISO 8601, for commands that check it themselves."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return _moment_of_words(text).isoformat()
    return text


def _moment_of_words(text: str) -> datetime:
    from energy_agent.core.units import NS_PER_S
    from wattlens.usage.period import EXAMPLES, parse_time

    try:
        return datetime.fromtimestamp(parse_time(text, time.time_ns(), "") // NS_PER_S, UTC)
    except UsageError:
        raise argparse.ArgumentTypeError(
            f"expected a UTC time such as {EXAMPLES} or 2026-01-31T12:15, got {quoted(text)}"
        ) from None


def memory_size(text: str) -> int:
    """Megabytes of an amount of memory such as 512MB or 8GB, from 200MB to 4000GB."""
    match = re.fullmatch(r"([0-9]{1,7})(MB|GB)", text.strip().upper())
    size_mb = int(match[1]) * (1000 if match[2] == "GB" else 1) if match else 0
    if not LEAST_MB <= size_mb <= 4_000_000:
        expected = f"an amount of memory such as 1GB, from {LEAST_MB}MB to 4000GB"
        raise argparse.ArgumentTypeError(f"expected {expected}, got {quoted(text)}")
    return size_mb


_THREADS = number(int, 1, 1024)


def add_store_limits(add: CommandOptions) -> None:
    """`--threads`, `--memory` and `--engine` of commands that read compacted days."""
    what = "for reading the ledger; the result is the same with any"
    cpus = "the CPUs that affinity and cgroup allow, with 125MB each"
    add("--threads N", f"threads {what} (default: {cpus})", type=_THREADS, default=0)
    half = "half of the machine's, or of the cgroup's limit"
    add("--memory SIZE", f"memory {what} (default: {half}); more spills to disk", type=memory_size, default=0)
    engines = "duckdb (default), datafusion, or a master of Spark such as spark://HOST:7077 or local[4]"
    add("--engine ADDRESS", f"what sums the ledger: {engines}; no figure depends on it", default=EMBEDDED)


def add_period(add: CommandOptions, kind: Callable[[str], Any] = moment, *, start: str = "all", end: str = "all") -> None:
    """`--from` (or `--since`) and `--to`, in `start` and `end`.

    Args:
        add: declares them.
        kind: the type of both.
        start: the default of the first, in words.
        end: the default of the second, in words.
    """
    what = "start of the period, UTC: 2026-01-31, 2026-01-31T12:15, yesterday, monday, or 7d for seven days ago"
    add("--from --since TIME", f"{what} (default: {start})", dest="start", type=kind)
    add("--to TIME", f"end of the period, exclusive, in the form of --from (default: {end})", dest="end", type=kind)


def day(text: str) -> date:
    """A UTC day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a UTC day such as 2026-01-31, got {text!r}") from None


class Pairs(argparse.Action):
    """Collects KEY=VALUE of a repeated option into a dictionary."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add one."""
        key, equals, value = str(values).partition("=")
        pairs = dict(getattr(namespace, self.dest) or {})
        if not key or not equals or key in pairs:
            what = "one value per key" if key in pairs else "KEY=VALUE"
            raise argparse.ArgumentError(self, f"expected {what}, got {str(values)[:80]!r}")
        setattr(namespace, self.dest, pairs | {key: value})


def add_simulate(add: CommandOptions, what: str) -> None:
    """`--simulate [DIR]`; `what` is its help. `simulated_node` reads its value."""
    add("--simulate DIR", what, nargs="?", const=Path())


def simulated_node(value: Path | None) -> Path | None:
    """The folder of the node that `--simulate` names: this user's own where it names none; None without the option."""
    if value != Path():
        return value
    from energy_agent.sim.node import default_directory

    return default_directory()


def enter_simulated_node(value: Path | None) -> Path | None:
    """As `simulated_node`; this process and those it starts then use the node's NVML."""
    node = simulated_node(value)
    if node is not None:
        from energy_agent.sim.node import SimulatedNode

        os.environ.update(SimulatedNode.attach(node).environ())
    return node


def add_actuator_socket(add: CommandOptions, option: str = "--socket") -> None:
    """Where the actuator listens."""
    add(f"{option} PATH", "the actuator's socket (default: /run/wattlens/actuator/actuator.sock as root)")


AGENT_URL = "http://127.0.0.1:9479/metrics"
AGENT_FILES = ("ca_file", "user_file", "token_file", "cert_file", "key_file")


def add_agent_files(add: CommandOptions) -> None:
    """Certificates and credentials for the agent's page, in the words of `wattlens.agent_access.AgentAccess`."""
    add("--ca-file FILE", "CA certificates for the agent's certificate")
    add("--cert-file FILE", "client certificate, if the agent requires one")
    add("--key-file FILE", "key of the client certificate, if not in the same file")
    add("--user-file FILE", "file that holds user:password on one line, for basic auth")
    add("--token-file FILE", "file that holds a bearer token on one line")


def agent_access(args: argparse.Namespace, url: str) -> "tuple[AgentAccess, bool]":
    """Access to the agent at `--url`, or at `url`; and whether a private one may start, as no option is about another."""
    from wattlens.agent_access import AgentAccess

    files = [getattr(args, name) for name in AGENT_FILES]
    return AgentAccess(args.url or url, *files), args.url is None and not any(files)


def strip_separator(command: list[str]) -> list[str]:
    """The program after `--`."""
    return command[1:] if command[:1] == ["--"] else command


def write_new(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file; raises UsageError if it exists, unless `force`, or cannot be written."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, 0o644), "wb") as file:
            file.write(content)
    except FileExistsError:
        raise UsageError(f"{path} already exists; choose another file with --out, or overwrite it with --force") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
