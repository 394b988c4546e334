"""docs/ledger.md: its commands for openssl accept the signature of a segment, and refuse it where a single bit changed."""

import gzip
import json
import re
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from energy_agent.ledger.fleet import heads
from energy_agent.ledger.segments import segment
from energy_agent.ledger.signing import open_signer
from tests.energy_agent.ledger.cases import IDENTITY, filled, truth
from tests.support import need_module, need_program

PAGE = Path(__file__).parents[3] / "docs" / "ledger.md"
(BY_HAND,) = re.findall(r"^```sh\n(f=(?:(?!^```).)*?pkeyutl.*?)^```", PAGE.read_text(), re.M | re.S)
(CHAIN,) = re.findall(r"^```sh\n(cd segments\n.*?)^```", PAGE.read_text(), re.M | re.S)
NAME = segment.file_name(IDENTITY.cluster, IDENTITY.node, 0)
_LACKS = re.compile("unknown option|unrecognized flag|not supported", re.IGNORECASE)


def by_hand(folder: Path, block: str = BY_HAND) -> "subprocess.CompletedProcess[str]":
    """Run the commands of the page in the folder of the segments."""
    command = ["bash", "-euo", "pipefail", "-c", block]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a segment that its node signed."""
    need_module("cryptography")
    for program in ("bash", "openssl", "xxd"):
        need_program(program)
    signer, _ = open_signer(tmp_path)
    filled(tmp_path, 10, seals=(9,), signer=signer).close()
    segments = tmp_path / "segments"
    done = by_hand(segments)
    if done.returncode != 0 and _LACKS.search(done.stderr):
        pytest.skip(f"this openssl does not verify Ed25519 with -rawin: {done.stderr.splitlines()[0]}")
    return segments


def test_openssl_accepts_the_signature_of_a_segment(folder: Path) -> None:
    done = by_hand(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert BY_HAND.splitlines()[0] == f"f={NAME}"  # the page is about the file that was checked


def test_the_commands_of_the_page_print_the_chain_and_the_sum_of_all_cells(tmp_path: Path) -> None:
    for program in ("bash", "bc", "sha256sum"):
        need_program(program)
    filled(tmp_path, 20, seals=(9, 19)).close()
    done = by_hand(tmp_path, CHAIN)
    assert (done.returncode, done.stderr) == (0, "")
    *chain, total = done.stdout.splitlines()
    previous, hashes = [line.split('"')[3] for line in chain[::2]], [line.split()[0] for line in chain[1::2]]
    assert previous == ["0" * 64, *hashes[:-1]]
    assert int(total) == truth(range(20))


def test_openssl_accepts_signed_heads_with_cat_in_place_of_gunzip_and_refuses_a_changed_one(folder: Path) -> None:
    signer, _ = open_signer(folder.parent)
    assert signer is not None
    data = heads.encode("fra1", date(2026, 1, 1), 0, [heads.ChainHead("lab", "node-1", 0, "a" * 64)], signer)
    block = BY_HAND.replace("gunzip -c", "cat").replace(NAME, heads.NAME)
    (folder / heads.NAME).write_bytes(data)
    assert by_hand(folder, block).returncode == 0
    (folder / heads.NAME).write_bytes(data.replace(b"a" * 64, b"a" * 63 + b"b"))
    assert by_hand(folder, block).returncode != 0


def _flipped(text: str) -> str:
    """Hex digits with the lowest bit of the last one turned."""
    return text[:-1] + f"{int(text[-1], 16) ^ 1:x}"


def _row(lines: list[str]) -> None:
    number = next(i for i, line in enumerate(lines) if '"kind":"cell"' in line)
    row = json.loads(lines[number])
    before = f'"energy_uj":{row["energy_uj"]}'
    lines[number] = lines[number].replace(before, f'"energy_uj":{row["energy_uj"] ^ 1}')


def _key(lines: list[str]) -> None:
    key = json.loads(lines[0])["key"]
    lines[0] = lines[0].replace(key, _flipped(key))


def _signature(lines: list[str]) -> None:
    signature = json.loads(lines[-1])["signature"]
    lines[-1] = lines[-1].replace(signature, _flipped(signature))


@pytest.mark.parametrize("change", [_row, _key, _signature])
def test_openssl_refuses_a_segment_of_which_one_bit_changed(folder: Path, change: Callable[[list[str]], None]) -> None:
    data = gzip.decompress((folder / NAME).read_bytes())
    lines = data.decode().splitlines()
    change(lines)
    changed = "".join(f"{line}\n" for line in lines).encode()
    assert sum(a != b for a, b in zip(data, changed, strict=True)) == 1  # the digit whose last bit changed
    (folder / NAME).write_bytes(segment.compress(changed))
    assert by_hand(folder).returncode != 0
