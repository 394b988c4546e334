"""Attacks on a fleet's ledger by a node, by a holder of a replaced key, and by anyone who can write to the shared folder.

The segments are written from their documented format (docs/ledger.md), validly signed where the attacker has a key. After each
attack `ledger compact` must refuse, or count the honest energy to the microjoule. Nodes that were not attacked keep theirs.
"""

import contextlib
import gzip
import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell
from tests.energy_agent.ledger.shared_folder import book, inventory, signer_of
from wattlens.cli import main

Row = dict[str, Any]
HOUR_NS = 3_600_000_000_000
QUARTER_NS = HOUR_NS // 4
DAYS = ("2026-01-01", "2026-01-02")
SMALL_ORDER = "01" + "00" * 31
HONEST = {DAYS[0]: {"a": 3, "b": 5, "c": 4}, DAYS[1]: {"a": 4}}
"""Hours at 1 W that each node recorded."""


class Fleet:
    """Three honest nodes in a folder. Node `a` replaced its key after the first day; the attacker has both, and that of `b`."""

    def __init__(self, base: Path) -> None:
        """Write the honest chains and their inventory under `base`."""
        self.base, self.folder = base, base / "segments"
        self.folder.mkdir()
        signers = {name: signer_of(base / "keys" / name) for name in ("old", "new", "b", "c", "stranger")}
        book(self.folder, "a", range(5, 8), signer=signers["old"])
        book(self.folder, "a", range(26, 30), signer=signers["new"])
        book(self.folder, "b", range(5), signer=signers["b"])
        book(self.folder, "c", range(2, 6), signer=signers["c"])
        dated = (("a", "2025-12-20", DAYS[1], "old"), ("a", DAYS[1], "", "new"), ("b", "", "", "b"), ("c", "", "", "c"))
        lines = [f"lab,{node},,,here,{start},{end},{signers[key].key}" for node, start, end, key in dated]
        self.inventory = inventory(self.folder, *lines)
        self.keys = {name: _private(base / "keys" / name / "signing.key") for name in signers}
        shutil.rmtree(base / "states")

    def attacked(self, folder: Path) -> "SharedFolder":
        """Return a copy of the honest share to attack."""
        shutil.copytree(self.folder, folder / "segments")
        shutil.copy(self.inventory, folder / "inventory.csv")
        return SharedFolder(folder, self.keys)


class SharedFolder:
    """A shared folder under attack."""

    def __init__(self, base: Path, keys: dict[str, Ed25519PrivateKey]) -> None:
        """`keys`: private keys that the attacker has, by name."""
        self.base, self.folder, self.keys = base, base / "segments", keys

    def files(self, node: str) -> list[Path]:
        """Return the segments of a node, first to last."""
        return sorted(self.folder.glob(f"*_{node}_*"))

    def append(self, node: str, rows: list[Row], key: str, **header: object) -> None:
        """Add a segment to a chain of the node, signed with a key, in the order that the chain demands."""
        last = self.files(node)[-1]
        before, _ = read(last)
        number = before["sequence"] + 1
        values = before | {"sequence": number, "previous": _sha256(last), "from_ns": min(r["start_ns"] for r in rows)}
        values |= {"to_ns": max(row["end_ns"] for row in rows)} | header
        write(last.with_name(last.name.replace(f"{number - 1:08d}", f"{number:08d}")), values, rows, self.keys[key])


def read(path: Path) -> tuple[Row, list[Row]]:
    """Return the header and the rows of a segment, without its signature."""
    header, *rows = map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines())
    return header, [row for row in rows if row["kind"] != "signature"]


def write(path: Path, header: Row, rows: list[Row], key: Ed25519PrivateKey | None, signature: bytes = b"") -> None:
    """Write a segment in the documented form; `signature` instead of one by `key`."""
    public = header["key"]
    if key is not None:
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    lines = sorted(map(_canonical, rows))
    data = "\n".join([_canonical(header | {"rows": len(lines), "key": public, "schema": 3}), *lines, ""]).encode()
    signature = signature or (b"" if key is None else key.sign(hashlib.sha256(data).digest()))
    if signature:
        data += _canonical({"kind": "signature", "signature": signature.hex()}).encode() + b"\n"
    path.write_bytes(gzip.compress(data, mtime=0))


def _canonical(row: Row) -> str:
    return json.dumps(row, sort_keys=True, separators=(",", ":"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()


def _private(path: Path) -> Ed25519PrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def _moved(rows: list[Row], by_ns: int) -> list[Row]:
    return [row | {name: row[name] + by_ns for name in ("cell_start_ns", "start_ns", "end_ns") if name in row} for row in rows]


def _cells(path: Path) -> list[Row]:
    return [row for row in read(path)[1] if row["kind"] in ("cell", "span")]


def back_dated(share: SharedFolder, rng: Random) -> None:
    """The holder of the replaced key adds hours of the time in which it was valid."""
    for path in share.files("a")[: rng.randint(1, 3)]:
        share.append("a", _moved(_cells(path), rng.choice((-5, -4, 4, 8)) * HOUR_NS), "old")


def same_hour(share: SharedFolder, rng: Random) -> None:
    """A node writes an hour again that stands in its chain already."""
    node, key = rng.choice((("b", "b"), ("a", "new")))
    share.append(node, _cells(rng.choice(share.files(node)[-4:])), key)


def overlapping(share: SharedFolder, rng: Random) -> None:
    """A node writes quarters that overlap recorded ones by a part."""
    rows = _cells(share.files("b")[-1])
    shift_ns = rng.randrange(1, QUARTER_NS)
    cells = [row for row in rows if row["end_ns"] - row["start_ns"] == QUARTER_NS and row["kind"] == "cell"]
    share.append("b", [row | {"start_ns": row["start_ns"] + shift_ns} for row in cells], "b")


def other_device(share: SharedFolder, rng: Random) -> None:
    """A node records the GPU of another at the same time."""
    share.append("b", [row | {"device": "GPU-c"} for row in _cells(rng.choice(share.files("c")))], "b")


def watts(share: SharedFolder, rng: Random) -> None:
    """A node records more energy than its GPU can draw."""
    factor = int(10 ** rng.uniform(4, 9))
    rows = _moved(_cells(share.files("b")[-1]), HOUR_NS)
    share.append("b", [row | {"energy_uj": row["energy_uj"] * factor} if "energy_uj" in row else row for row in rows], "b")


def device_time(share: SharedFolder, rng: Random) -> None:
    """A node records more use of a GPU than there is time."""
    rows = _moved(_cells(share.files("b")[-1]), HOUR_NS)
    share.append("b", [row | {"gpu_ns": QUARTER_NS * rng.randint(2, 10**6)} if "gpu_ns" in row else row for row in rows], "b")


def missing(share: SharedFolder, rng: Random) -> None:
    """One who can write to the folder removes a segment that others follow."""
    rng.choice(share.files("b")[:-1]).unlink()


def swapped(share: SharedFolder, rng: Random) -> None:
    """Two segments change their names."""
    one, two = rng.sample(share.files(rng.choice("abc")), 2)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def flipped(share: SharedFolder, rng: Random) -> None:
    """Bits of a file flip."""
    path = rng.choice(share.files("b"))
    data = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def edited(share: SharedFolder, rng: Random) -> None:
    """A value of a row or of the header is another; the signature is that of before, of a stranger, or gone."""
    path = rng.choice(share.files("b"))
    header, rows = read(path)
    row = rng.choice([header, *rows])
    name = rng.choice(sorted(row.keys() - {"kind", "schema", "rows", "key"}))
    value = row[name]
    row[name] = (
        not value if isinstance(value, bool) else value + rng.randint(1, 10**9) if isinstance(value, int) else f"{value}x"
    )
    old = json.loads(gzip.decompress(path.read_bytes()).decode().splitlines()[-1])["signature"]
    key, signature = rng.choice(((None, bytes.fromhex(old)), (share.keys["stranger"], b""), (None, b"")))
    write(path, header, rows, key, signature)


def small_order(share: SharedFolder, rng: Random) -> None:
    """A key of small order, for which one signature fits many texts, starts the chain of a new node."""
    header, rows = read(rng.choice(share.files("b")))
    header |= {"node": "evil", "sequence": 0, "previous": "0" * 64, "key": SMALL_ORDER}
    rows = [row | {"device": "GPU-evil"} if "device" in row else row for row in rows]
    write(share.folder / "lab_evil_00000000.jsonl.gz", header, rows, None, bytes.fromhex(SMALL_ORDER) + bytes(32))


def stranger(share: SharedFolder, rng: Random) -> None:
    """A key that nobody enrolled writes for a node, or starts one of its own."""
    if rng.random() < 0.5:
        share.append("b", _moved(_cells(share.files("b")[-1]), HOUR_NS), "stranger")
        return
    header, rows = read(rng.choice(share.files("b")))
    rows = [row | {"device": "GPU-evil"} if "device" in row else row for row in rows]
    header |= {"node": "evil", "sequence": 0, "previous": "0" * 64}
    write(share.folder / "lab_evil_00000000.jsonl.gz", header, rows, share.keys["stranger"])


def forked(share: SharedFolder, rng: Random) -> None:
    """The holder of a key replaces a segment that others follow by another one."""
    path = rng.choice(share.files("b")[:-1])
    header, rows = read(path)
    rows = [row | {"energy_uj": row["energy_uj"] + 1} if "energy_uj" in row else row for row in rows]
    write(path, header, rows, share.keys["b"])


ATTACKS: tuple[Callable[[SharedFolder, Random], None], ...] = (
    back_dated, same_hour, overlapping, other_device, watts, device_time, missing, swapped, flipped, edited, small_order,
    stranger, forked,
)  # fmt: skip


def judge(share: SharedFolder, victim: str) -> str:
    """Return what fell after an attack on a node, or ''."""
    segments, place = str(share.folder), share.base / "inventory.csv"
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        verified = main(["ledger", "verify", segments, "--inventory", str(place)])
        for day in DAYS:
            out = share.base / day
            options = ("--out", str(out), "--day", day, "--site", "here", "--inventory", str(place))
            compacted = main(["ledger", "compact", segments, *options])
            energy: Counter[str] = Counter()
            for located in read_rows(out) if list(out.rglob("manifest.json")) else ():
                if isinstance(located.row, Cell):
                    energy[located.node] += located.row.energy_uj
            honest = Counter({node: hours * 3_600_000_000 for node, hours in HONEST[day].items()})
            if compacted == 0 and energy != honest:
                return f"{day}: compacted {dict(energy)} without an error"
            if compacted != 0 and any(uj not in (0, honest[node]) for node, uj in energy.items() if node != victim):
                return f"{day}: another node has {dict(energy)}"
            if compacted not in (0, 1) or verified not in (0, 1):
                return f"exit codes {verified} and {compacted}"
    return "traceback" if "Traceback" in errors.getvalue() else ""


def run(rng: Random, base: Path) -> Iterator[tuple[str, str]]:
    """Yield (attack, what fell or ''), again and again."""
    fleet = Fleet(base)
    calm = fleet.attacked(base / "calm")
    yield "none", judge(calm, "")
    number = 0
    while True:
        for attack in ATTACKS:
            number += 1
            place = base / str(number)
            share = fleet.attacked(place)
            attack(share, rng)
            victim = {"other_device": "c", "back_dated": "a"}.get(attack.__name__, "b")
            yield attack.__name__, judge(share, victim)
            shutil.rmtree(place)
