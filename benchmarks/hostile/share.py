"""Attacks on `ledger ship` by a user who may write to the shared folder: links, pipes, sockets and folders for its files.

The attacker is another user (uid 65534) who goes on while root ships. Nothing outside the folder may be written, each copy
ends within a minute, and once the attacker is gone every segment is there, byte for byte.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.energy_agent.ledger.shared_folder import book

NOBODY = 65534
_SECONDS = 60.0
_ATTACKER = """
import os, random, socket, sys, time
share, victim, folder, seed, names = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:]
os.setgroups([]); os.setgid(65534); os.setuid(65534)
rng = random.Random(seed)
def remove(path):
    try:
        os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    except OSError:
        pass
def bound(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)
def junk(path):
    with open(path, "xb") as file:
        file.write(rng.randbytes(rng.randrange(300)))
kinds = (lambda p: os.symlink(victim, p), lambda p: os.symlink(folder + "/new", p), lambda p: os.symlink("/dev/zero", p),
         lambda p: os.mkfifo(p), os.mkdir, bound, junk, lambda p: os.symlink(p, p), lambda p: os.link(victim, p))
print("up", flush=True)
while True:
    name = rng.choice(names)
    path = os.path.join(share, name + rng.choice(("", "", ".tmp", ".part", "~")))
    if rng.random() < 0.3:
        listed = [n for n in os.listdir(share) if n not in names]
        path = os.path.join(share, rng.choice(listed)) if listed else path
    remove(path)
    try:
        rng.choice(kinds)(path)
    except OSError:
        pass
    time.sleep(rng.choice((0, 0, 0.001, 0.02)))
"""


def run(rng: Random, base: Path) -> Iterator[tuple[str, str]]:
    """Yield (attack, what fell or ''), again and again."""
    source = base / "segments"
    source.mkdir()
    for node in "ab":
        book(source, node, range(6))
    honest = {path.name: path.read_bytes() for path in sorted(source.iterdir())}
    while True:
        place = base / "round"
        place.mkdir(mode=0o755)
        base.chmod(0o755)
        yield "ship while links and pipes are made", _round(rng, place, source, honest)
        shutil.rmtree(place)


def _round(rng: Random, place: Path, source: Path, honest: dict[str, bytes]) -> str:
    share, outside = place / "share", place / "outside"
    share.mkdir()
    outside.mkdir()
    share.chmod(rng.choice((0o777, 0o1777)))
    outside.chmod(0o755)
    victim = outside / "victim"
    victim.write_bytes(b"of the host")
    victim.chmod(0o644)
    words = [sys.executable, "-c", _ATTACKER, str(share), str(victim), str(outside), str(rng.randrange(10**9)), *honest]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as attacker:
        try:
            assert attacker.stdout is not None
            attacker.stdout.readline()
            for _ in range(rng.randint(1, 3)):
                fell = _ship(source, share)
                if fell:
                    return fell
        finally:
            attacker.kill()
    if victim.read_bytes() != b"of the host" or [path.name for path in outside.iterdir()] != ["victim"]:
        return f"outside the folder: {[path.name for path in outside.iterdir()]}, {victim.read_bytes()[:40]!r}"
    for path in share.iterdir():
        if path.lstat().st_uid == 0 and path.name in honest and (path.is_symlink() or path.read_bytes() != honest[path.name]):
            return f"{path.name}: a copy of root's has other content"
        if path.lstat().st_uid != 0 or path.is_symlink():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    fell = _ship(source, share, expected=0)
    missing = [name for name, data in honest.items() if not (share / name).is_file() or (share / name).read_bytes() != data]
    return fell or (f"missing afterwards: {missing}" if missing else "")


def _ship(source: Path, share: Path, expected: int | None = None) -> str:
    command = [sys.executable, "-m", "wattlens", "ledger", "ship", str(source), f"file://{share}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, env=os.environ)
    except subprocess.TimeoutExpired:
        return f"did not end within {_SECONDS:g} s"
    if "Traceback" in done.stderr or done.returncode not in (0, 1, 2) or (expected is not None and done.returncode != expected):
        return f"exit code {done.returncode}: {done.stderr[-300:]}"
    return ""
