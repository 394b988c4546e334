"""Attacks on a fleet's ledger with segments that an enrolled key signs, but that break the documented format or physics.

Node `b` attacks. `ledger compact` must refuse, or count the honest energy to the microjoule, and keep every other node. It must
also end: names in the shared folder may be pipes, links or endless files.
"""

import contextlib
import gzip
import io
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import FrameType

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from benchmarks.hostile.chains import DAYS, HONEST, HOUR_NS, QUARTER_NS, Fleet, Row, SharedFolder, read, write
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell, TokenRow
from wattlens.cli import main

Attack = Callable[[SharedFolder, Random], None]
_BOUND_S = 60
_TOKENS_MAX = 10 * 10_000_000 * 902
"""The documented rate over a quarter and two seconds."""
_DAY_UJ_MAX = 2 * 86_400 * 4_800 * 10**6
"""The documented maximum of a GPU with an unknown name in a UTC day."""


def _next_hour(share: SharedFolder, hours: int = 1) -> list[Row]:
    """Return cells of node `b` some hours after its last ones."""
    rows = [row for row in read(share.files("b")[-1])[1] if row["kind"] == "cell"]
    return [row | {name: row[name] + hours * HOUR_NS for name in ("cell_start_ns", "start_ns", "end_ns")} for row in rows]


def amounts(share: SharedFolder, rng: Random) -> None:
    """An amount is no int64, is negative, or is beyond what the device can use."""
    rows = _next_hour(share)
    name = rng.choice(("energy_uj", "gpu_ns"))
    rng.choice(rows)[name] = rng.choice((-1, -(10**9), 2**62, 2**63, 10**30, 1e9, 1.5, True, "7", None, [], {}))
    share.append("b", rows, "b")


def quarters(share: SharedFolder, rng: Random) -> None:
    """The time of a row lies outside its quarter, also on another day."""
    rows = _next_hour(share)
    rng.choice(rows)["cell_start_ns"] += rng.choice((-24, -5, -1, 1, 24)) * HOUR_NS + rng.choice((0, 0, QUARTER_NS, 1))
    share.append("b", rows, "b")


def copies(share: SharedFolder, rng: Random) -> None:
    """An honest segment stands in the folder a second time, under a similar name or in a folder of its own."""
    path = rng.choice(share.files(rng.choice("ac")))
    inner = share.folder / "inner"
    inner.mkdir()
    names = (path.name.upper(), f"x{path.name}", path.name.replace("_0", "_00", 1), f"{path.name}.tmp", f"../{path.name}.bak")
    shutil.copy(path, inner / rng.choice((path.name, *(f"../{name}" for name in names))))


def foreign_number(share: SharedFolder, rng: Random) -> None:
    """A segment in the name of node `c`, signed by the key of `b`, claims a later or the next place in that chain.

    It may exclude `c` from the day, as any damaged file does, but never counts.
    """
    rows = [row | {"device": "GPU-c"} for row in _next_hour(share, 5)]
    header, _ = read(share.files("c")[-1])
    header |= {"sequence": header["sequence"] + rng.randint(1, 90), "from_ns": rows[0]["start_ns"], "to_ns": rows[-1]["end_ns"]}
    write(share.folder / f"lab_c_{header['sequence']:08d}.jsonl.gz", header, rows, share.keys["b"])


def one_key(share: SharedFolder, rng: Random) -> None:
    """The inventory enrols the key of `b` for a second node, as a cloned image does, and that node writes with it."""
    place = share.base / "inventory.csv"
    enrolled = next(line for line in place.read_text().splitlines() if line.startswith("lab,b,"))
    place.write_text(f"{place.read_text()}{enrolled.replace('lab,b,', 'lab,d,')}\n")
    header, rows = read(rng.choice(share.files("b")))
    rows = [row | {"device": "GPU-d"} for row in rows if row["kind"] == "cell"]
    header |= {"node": "d", "sequence": 0, "previous": "0" * 64}
    write(share.folder / "lab_d_00000000.jsonl.gz", header, rows, share.keys["b"])


def tokens(share: SharedFolder, rng: Random) -> None:
    """A row has more tokens than engines can generate."""
    start = _next_hour(share)[0]["start_ns"]
    row = {"kind": "tokens", "cell_start_ns": start, "start_ns": start, "end_ns": start + QUARTER_NS, "workload": "w"}
    row |= {"model": "m", "phase": "generation", "tokens": rng.choice((_TOKENS_MAX + 1, 10**12, 2**63 - 1, 2**63, -1))}
    share.append("b", [row], "b")


def backwards(share: SharedFolder, rng: Random) -> None:
    """The gap `the clock went back` stands before each repetition of an hour at a high power."""
    rows = [row | {"energy_uj": 3_900 * 900 * 10**6} for row in _next_hour(share)]
    start = rows[0]["start_ns"]
    gap = {"kind": "gap", "cell_start_ns": start, "device": "GPU-b", "reason": "the clock went back", "bound_uj": 0}
    for _ in range(rng.randint(50, 90)):
        share.append("b", [*rows, gap | {"start_ns": start, "end_ns": start}], "b")


def archives(share: SharedFolder, rng: Random) -> None:
    """The file is a long, double, cut or empty gzip, or none."""
    share.append("b", _next_hour(share), "b")
    path = share.files("b")[-1]
    data = path.read_bytes()
    text = gzip.decompress(data)
    more = (data, b"x", bytes(100), gzip.compress(b"{}\n"))
    path.write_bytes(
        rng.choice(
            (*(data + each for each in more), data[: rng.randrange(len(data))], b"", rng.randbytes(300), gzip.compress(b""),
             gzip.compress(text + b"\n" * (200 << 20), 1), gzip.compress(text[: rng.randrange(len(text))]))
        )
    )  # fmt: skip


def files(share: SharedFolder, rng: Random) -> None:
    """The next name in a chain is a link, a pipe, a folder or an endless device."""
    share.append("b", _next_hour(share), "b")
    path = share.files("b")[-1]
    path.rename(share.base / "outside")
    targets = (share.base / "outside", Path("/dev/zero"), path, share.files("c")[0])
    rng.choice((os.mkfifo, os.mkdir, *[lambda place, to=target: Path(place).symlink_to(to) for target in targets]))(path)


def rewritten(share: SharedFolder, rng: Random) -> None:
    """The holder of the key writes the whole chain again; signed heads must reveal it."""
    paths = share.files("b")
    for path in paths[1:]:
        path.unlink()
    header, rows = read(paths[0])
    rows = [row | {"energy_uj": row["energy_uj"] + 1} if "energy_uj" in row else row for row in rows]
    write(paths[0], header, rows, share.keys["b"])
    for _ in paths[1:]:
        share.append("b", _next_hour(share), "b")


def rolled_back(share: SharedFolder, rng: Random) -> None:
    """The last segments are gone; signed heads must reveal it."""
    for path in share.files("b")[-rng.randint(1, 4) :]:
        path.unlink()


ATTACKS: tuple[Attack, ...] = (
    amounts, quarters, copies, foreign_number, one_key, tokens, backwards, archives, files, rewritten, rolled_back,
)  # fmt: skip


def judge(share: SharedFolder, heads: list[str], attack: Attack, *, stated: bool) -> str:
    """Return what fell, or ''."""
    errors, options, out = io.StringIO(), ["--inventory", str(share.base / "inventory.csv")], share.base / "days"
    energy: Counter[str] = Counter()
    most = 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        verified = main(["ledger", "verify", str(share.folder), *options, *heads])
        words = ["--out", str(out), "--day", DAYS[0], "--site", "here"]
        compacted = main(["ledger", "compact", str(share.folder), *words, *options])
        for located in read_rows(out) if list(out.rglob("manifest.json")) else ():
            if isinstance(located.row, Cell):
                energy[located.node] += located.row.energy_uj
            elif isinstance(located.row, TokenRow):
                most = max(most, abs(located.row.tokens))
    status = f"verify {verified}, compact {compacted}, {dict(energy)}: {errors.getvalue()[-300:]}"
    honest = {node: hours * 3_600_000_000 for node, hours in HONEST[DAYS[0]].items()}
    if heads:
        return "" if verified == 1 else f"heads reveal nothing: {status}"
    if "Traceback" in status or {verified, compacted} - {0, 1, 2} or most > _TOKENS_MAX:
        return f"{most} tokens, {status}"
    if "have the same key" in status:  # a fault of the inventory, which is named; the operator decides
        return ""
    is_excluded = attack is foreign_number and compacted == 1 and not stated and not energy["c"]
    others = all(energy[node] == honest[node] or (node == "c" and is_excluded) for node in "ac")
    others = others and not energy.keys() - honest.keys()
    kept = energy["b"] == honest["b"] or (compacted == 1 and not stated and not energy["b"])
    kept = kept or (attack is backwards and energy["b"] <= _DAY_UJ_MAX)
    return "" if others and kept else status


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"did not end within {_BOUND_S} s")


def run(rng: Random, base: Path) -> Iterator[tuple[str, str]]:
    """Yield (attack, what fell or ''), again and again."""
    fleet, key, days = Fleet(base), base / "heads.pem", base / "stated"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    key.chmod(0o600)
    public = load_pem_private_key(key.read_bytes(), None).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    words = ["--day", DAYS[0], "--site", "here", "--inventory", str(fleet.inventory), "--sign-heads", str(key)]
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(["ledger", "compact", str(fleet.folder), "--out", str(days), *words])
    yield "none", f"compact of the honest fleet: {code}" if code else ""
    signal.signal(signal.SIGALRM, _stop)
    place = base / "round"
    while True:
        for attack in ATTACKS:
            share, stated = fleet.attacked(place), rng.random() < 0.5
            if stated:
                shutil.copytree(days, place / "days")
            attack(share, rng)
            signal.alarm(_BOUND_S)
            try:
                heads = ["--heads", str(days), "--heads-key", public] if attack in (rewritten, rolled_back) else []
                fell = judge(share, heads, attack, stated=stated)
            except (TimeoutError, ValueError, TypeError, KeyError, OSError) as error:
                fell = f"{type(error).__name__}: {error}"
            finally:
                signal.alarm(0)  # before the turn of another program
            shutil.rmtree(place)
            yield attack.__name__, fell
