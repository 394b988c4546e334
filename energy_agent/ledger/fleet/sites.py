"""The inventory: which device stood at which site from when to when. A CSV file with one header line:

`cluster,node,uuid,sku,site,from,to` - `from` and `to` are UTC days (`to` is the first day it was gone; empty: open). A
line with an empty uuid is for the whole node. A column `key` may follow: the public key, as hex, that signs the node's
segments from the day `from` on. The same file is the denominator of coverage.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Final

from energy_agent.core.boundary import host, is_gpu, is_meter, site_and_meter
from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from energy_agent.core.text import separator_hint
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.rows.kinds import INT64_MAX
from energy_agent.ledger.signing import KEY_FILE, Keys, available, is_small_order

COLUMNS: Final = ("cluster", "node", "uuid", "sku", "site", "from", "to")
KEY_COLUMN: Final = "key"
_KEY: Final = re.compile("[0-9a-f]{64}")
_LINES_MAX: Final = 2_000_000
_NAME_MAX_B: Final = 200


@dataclass(frozen=True, slots=True)
class DeviceLocation:
    """A device (or a node, uuid "") at a site over [from_ns, to_ns)."""

    site: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Sites:
    """Answers where something stood.

    Args:
        stays: of (cluster, node, device), where and when.
        default: for what the inventory does not know; None: that is an error.
        keys: that sign the nodes' segments.
        skus: names of GPUs, by UUID.
        notices: lines about the inventory for the operator.
    """

    stays: Mapping[tuple[str, str, str], tuple[DeviceLocation, ...]]
    default: str | None = None
    keys: Keys = field(default_factory=Keys)
    skus: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    _of_node: dict[tuple[str, str], list[DeviceLocation]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for (cluster, node, _), stays in self.stays.items():
            self._of_node.setdefault((cluster, node), []).extend(stays)

    def is_assigned(self, who: tuple[str, str], device: str, t_ns: int) -> bool:
        """Whether a device belongs to a node (cluster, node) at an instant.

        A GPU does by its line in the inventory, a host by its name, and a meter to the site's process, by the line of the node
        that has the site's name.
        """
        if is_meter(device):
            return who[1] == site_and_meter(device)[0] and self._stays(*who, "", t_ns)
        return self._stays(*who, device, t_ns) if is_gpu(device) else host(*who) == device.partition("/")[0]

    def _stays(self, cluster: str, node: str, device: str, t_ns: int) -> bool:
        return any(stay.from_ns <= t_ns < stay.to_ns for stay in self.stays.get((cluster, node, device), ()))

    def site_of(self, cluster: str, node: str, device: str, t_ns: int) -> str:
        """The site at an instant, UTC ns.

        Raises:
            UsageError: the inventory does not say, and there is no default.
        """
        if is_meter(device):  # a meter of a building never moves
            return checked_site(site_and_meter(device)[0])
        for key in ((cluster, node, device), (cluster, node, "")):
            for stay in self.stays.get(key, ()):
                if stay.from_ns <= t_ns < stay.to_ns:
                    return stay.site
        if not device or not is_gpu(device):  # what belongs to a node, and its host, stand where its GPUs stand
            stays = self._of_node.get((cluster, node), ())
            sites = {s.site for s in stays if s.from_ns <= t_ns < s.to_ns} or {s.site for s in stays}
            if len(sites) == 1:
                return sites.pop()
        if self.default is None:
            day = datetime.fromtimestamp(t_ns // NS_PER_S, UTC).date()
            what = f"{cluster}/{node}" + (f"/{device}" if device else "")
            raise UsageError(f"no site for {what} on {day}: add it to the inventory, or set a default with --site")
        return self.default


def checked_site(site: str) -> str:
    """A site's name, which becomes a folder.

    Raises:
        UsageError: it cannot be one.
    """
    if not 0 < len(site.encode("utf-8", "replace")) <= _NAME_MAX_B or site.startswith(".") or re.search("[/\0]", site):
        limits = f"it must not be empty, contain a slash, begin with a dot or exceed {_NAME_MAX_B} bytes"
        raise UsageError(f"site {site[:80]!r}: the name of a site is also a folder name; {limits}")
    return site


def read_inventory(path: Path, default: str | None = None) -> Sites:
    """Read an inventory file.

    Raises:
        UsageError: not readable, or a line that does not make sense; the message names file and line.
    """
    stays: dict[tuple[str, str, str], list[DeviceLocation]] = {}
    keys: dict[tuple[str, str], set[tuple[int, int, str]]] = {}
    skus: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            if sorted({*columns, KEY_COLUMN}) != sorted({*COLUMNS, KEY_COLUMN}) or len(columns) > len(set(columns)):
                hint = separator_hint(columns)
                raise UsageError(
                    f"{path}:1: expected the columns {','.join(COLUMNS)}, optionally followed by {KEY_COLUMN}{hint}"
                )
            for row in reader:
                if reader.line_num > _LINES_MAX:
                    raise UsageError(f"{path}: has more than {_LINES_MAX} lines")
                where = f"{path}:{reader.line_num}"
                if None in row or None in row.values() or not row["site"]:
                    raise UsageError(f"{where}: expected {len(columns)} fields with a site")
                stay = DeviceLocation(row["site"], _day(row["from"], 0, where), _day(row["to"], INT64_MAX, where))
                stays.setdefault((row["cluster"], row["node"], row["uuid"]), []).append(stay)
                if row["uuid"] and row["sku"]:
                    skus[row["uuid"]] = row["sku"]
                key = row.get(KEY_COLUMN) or ""
                if key and not _KEY.fullmatch(key):
                    raise UsageError(
                        f"{where}: key: expected 64 hexadecimal digits, as in the output of `wattlens ledger verify`"
                    )
                if key and is_small_order(bytes.fromhex(key)):
                    raise UsageError(f"{where}: key: expected the key of a node, got one that fits signatures of anybody")
                of_node = keys.setdefault((row["cluster"], row["node"]), set())
                if key:
                    of_node.add((stay.from_ns, stay.to_ns, key))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: is not a CSV file in UTF-8: {error}") from None
    if any(keys.values()) and not available():
        raise UsageError(f"{path}: has keys, and signatures require the extra `signing`: {install_hint('signing')}")
    enrolled = Keys({who: tuple(sorted(entries)) for who, entries in keys.items()})
    notices = tuple(f"{path}: {text}" for text in _shared_keys(enrolled))
    return Sites({key: tuple(value) for key, value in stays.items()}, default, enrolled, skus, notices)


def _shared_keys(keys: Keys) -> Iterator[str]:
    """Nodes of one key at one time, as of a cloned image: each can write segments of the other."""
    owners: dict[str, list[tuple[int, int, tuple[str, str]]]] = {}
    for who, entries in keys.enrolled.items():
        for from_ns, to_ns, key in entries:
            owners.setdefault(key, []).append((from_ns, to_ns, who))
    for key, times in sorted(owners.items()):
        names = {who for one, other in combinations(times, 2) if _meet(one, other) for who in (one[2], other[2])}
        if names:
            nodes = " and ".join("/".join(who) for who in sorted(names))
            yield f"{nodes} have the same key {key[:16]}; remove {KEY_FILE} from the state of all but one, and enrol new keys"


def _meet(one: tuple[int, int, tuple[str, str]], other: tuple[int, int, tuple[str, str]]) -> bool:
    return one[2] != other[2] and one[0] < other[1] and other[0] < one[1]


def _day(text: str, otherwise: int, where: str) -> int:
    if not text:
        return otherwise
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * NS_PER_S
    except ValueError:
        raise UsageError(f"{where}: expected a day such as 2026-01-31, got {text!r}") from None
