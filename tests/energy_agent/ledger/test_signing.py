"""Signed segments: what a signature proves, which key must sign, and that unsigned ones are read as before."""

import base64
import gzip
import hashlib
import json
import os
import stat
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from energy_agent.core.errors import ChainError, UsageError
from energy_agent.ledger import chain
from energy_agent.ledger.fleet.sites import read_inventory
from energy_agent.ledger.segments import segment, table
from energy_agent.ledger.signing import KEY_FILE, Keys, open_signer
from tests.energy_agent.ledger.shared_folder import HOUR_UJ, book, compact, inventory, shared, signer_of
from wattlens.cli import main

__all__ = ["shared"]


def kinds(folder, keys=None):
    return sorted({fault.kind for fault in chain.verify([folder], keys=keys or Keys()).faults})


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path):
    signer = signer_of(tmp_path / "state")
    path = tmp_path / "state" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signer_of(tmp_path / "state").key == signer.key
    assert [p.name for p in path.parent.iterdir()] == [KEY_FILE]
    path.chmod(0o644)
    signer, notice = open_signer(tmp_path / "state")
    assert signer is not None
    assert "chmod 600" in notice


WRONG_KEYS = {
    "empty": lambda path: path.write_bytes(b""),
    "junk": lambda path: path.write_bytes(b"junk"),
    "other key": lambda path: path.write_bytes(b"-----BEGIN PRIVATE KEY-----\n"),
    "folder": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "link": lambda path: path.symlink_to("nothing"),
}


@pytest.mark.parametrize("make", WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_a_key_that_is_none_leaves_segments_unsigned_and_is_named(tmp_path, make):
    make(tmp_path / KEY_FILE)
    signer, notice = open_signer(tmp_path)
    assert (signer, str(tmp_path / KEY_FILE) in notice) == (None, True)


def test_the_signature_is_over_all_lines_before_it_and_the_hash_over_all(shared):
    signer = signer_of(shared.parent)
    book(shared, "a", range(2), signer=signer)
    first, second = (gzip.decompress(path.read_bytes()) for path in segment.list_files(shared))
    assert json.loads(second.partition(b"\n")[0])["previous"] == hashlib.sha256(first).hexdigest()
    *lines, last = first.decode().splitlines()
    header, signature = json.loads(lines[0]), json.loads(last)
    assert (header["schema"], header["key"], header["rows"]) == (3, signer.key, len(lines) - 1)
    signed = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).digest()
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer.key)).verify(bytes.fromhex(signature["signature"]), signed)


def test_a_signed_segment_is_read_at_once_and_as_row_by_row(shared):
    signer = signer_of(shared.parent)
    book(shared, "a", range(1), signer=signer)
    data = segment.load(segment.list_files(shared)[0])
    at_once, content = table.at_once(data), segment.decode(data, "x")
    assert at_once is not None
    assert at_once == table.SegmentTable(
        content.header, content.sha256, at_once.columns, (), content.signature, content.signed_sha256
    )
    assert segment.encode(replace(content.header, key="", schema=2), content.rows, signer) == data


def change_signature(lines, *_):
    return [*lines[:-1], lines[-1][:30] + ("00" if lines[-1][30:32] != "00" else "11") + lines[-1][32:]]


def unsign(lines, key, _other):
    return [lines[0].replace('"schema":3', '"schema":2').replace(f'"key":"{key}",', ""), *lines[1:-1]]


CHANGES = {
    "joule": lambda lines, *_: [line.replace('"energy_uj":900000000', '"energy_uj":800000000') for line in lines],
    "key": lambda lines, key, other: [lines[0].replace(key, other), *lines[1:]],
    "signature": change_signature,
    "dropped": lambda lines, *_: lines[:-1],
    "twice": lambda lines, *_: [*lines, lines[-1]],
    "not the last": lambda lines, *_: [*lines[:-2], lines[-1], lines[-2]],
    "unsigned now": unsign,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_is_changed_of_a_signed_segment_is_named(shared, capsys, change):
    signer = signer_of(shared.parent)
    book(shared, "a", range(3), signer=signer)
    book(shared, "b", range(3), signer=signer_of(shared.parent / "b"))
    path = segment.list_files(shared)[2]
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    changed = change(lines, signer.key, signer_of(shared.parent / "other").key)
    assert changed != lines
    path.write_bytes(segment.compress("\n".join([*changed, ""]).encode()))
    faults = chain.verify([shared]).faults
    assert any(path.name in fault.line for fault in faults)
    assert {fault.kind for fault in faults} & {"corrupted", "alien", "signature", "key"}
    code, energy, _ = compact(shared, capsys)
    assert (code, energy) == (1, {"b": 3 * HOUR_UJ})


def test_the_first_key_of_a_chain_must_stay(shared, capsys):
    book(shared, "a", [0])  # before the extra was installed
    book(shared, "a", [1, 2], signer=signer_of(shared.parent / "one"))
    assert kinds(shared) == []
    book(shared, "a", [24], signer=signer_of(shared.parent / "two"))
    (fault,) = chain.verify([shared]).faults
    assert (fault.kind, "enrol the new key in the inventory" in fault.line) == ("key", True)
    for day in ("2026-01-01", "2026-01-02"):  # the fault is of the second one
        assert compact(shared, capsys, day=day)[:2] == (1, {"a": 3 * HOUR_UJ})
    segment.list_files(shared)[-1].unlink()
    book(shared, "b", [0], signer=signer_of(shared.parent / "one"))
    book(shared, "b", [1])
    (fault,) = chain.verify([shared]).faults
    assert (fault.kind, "is not signed, although earlier segments are" in fault.line) == ("key", True)


def test_a_node_that_appends_to_anothers_chain_adds_nothing(shared, capsys):
    """As one that can write the folder, and knows the head and the public key of the chain: it used to add 28 MJ."""
    signer, evil = signer_of(shared.parent / "one"), signer_of(shared.parent / "evil")
    book(shared, "a", range(2), signer=signer)
    book(shared, "b", range(2), signer=signer_of(shared.parent / "b"))
    last = segment.read(segment.list_files(shared)[1])
    header = replace(last.header, sequence=2, previous=last.sha256)
    name = shared / segment.file_name("lab", "a", 2)
    for forged in (
        segment.encode(header, last.rows, evil),
        segment.encode(header, last.rows, evil).replace(evil.key.encode(), signer.key.encode()),
        segment.encode(replace(header, key="", schema=2), last.rows),
    ):
        name.write_bytes(segment.compress(forged))
        assert kinds(shared) in (["key", "twice"], ["signature"], ["key"])
        code, energy, err = compact(shared, capsys)
        assert (code, energy["b"], energy.get("a", 0)) == (1, 2 * HOUR_UJ, 0)
        assert name.name in err
    name.unlink()
    assert compact(shared, capsys)[:2] == (0, {"a": 2 * HOUR_UJ, "b": 2 * HOUR_UJ})


def test_segment_0_of_a_node_that_has_not_shipped_needs_its_enrolled_key(shared, capsys):
    signer = signer_of(shared.parent / "one")
    path = inventory(shared, f"lab,a,,,here,2026-01-01,,{signer.key}", "lab,b,,,here,,,")
    book(shared, "b", range(2))
    book(shared, "a", [0], signer=signer_of(shared.parent / "evil"), device="GPU-x")
    code, energy, err = compact(shared, capsys, "--inventory", path)
    assert (code, energy) == (1, {"b": 2 * HOUR_UJ})
    assert "not by a key that the inventory enrols for this node at that time" in err
    assert main(["ledger", "verify", str(shared), "--inventory", str(path)]) == 1
    assert "key: " in capsys.readouterr().err
    assert main(["ledger", "verify", str(shared)]) == 0  # nobody says whose key is right


def test_a_replaced_node_enrols_its_new_key_and_old_segments_keep_the_old(shared, capsys):
    one, two = signer_of(shared.parent / "one"), signer_of(shared.parent / "two")
    book(shared, "a", [0, 1])
    book(shared, "a", [24, 50], signer=one)
    book(shared, "a", [52, 80], signer=two)
    old = f"lab,a,,,here,2026-01-02,2026-01-03,{one.key}"
    late = inventory(shared, "lab,a,,,here,,2026-01-02,", old, f"lab,a,,,here,2026-01-04,,{two.key}")
    (fault,) = chain.verify([shared], keys=read_inventory(late).keys).faults
    assert (fault.kind, segment.file_name("lab", "a", 4) in fault.line) == ("key", True)
    path = inventory(shared, "lab,a,,,here,,2026-01-02,", old, f"lab,a,,,here,2026-01-03,,{two.key}")
    assert chain.verify([shared], keys=read_inventory(path).keys).faults == ()
    for day, energy in (("2026-01-01", 2), ("2026-01-02", 3), ("2026-01-03", 5), ("2026-01-04", 6)):
        assert compact(shared, capsys, "--inventory", path, day=day)[:2] == (0, {"a": energy * HOUR_UJ})
    book(shared, "a", [100], signer=one)  # the old key signs nothing more
    assert kinds(shared, read_inventory(path).keys) == ["key"]


def test_unsigned_segments_after_the_enrolment_are_a_fault_and_before_it_none(shared):
    signer = signer_of(shared.parent / "one")
    book(shared, "a", [0, 60, 80])
    path = inventory(shared, f"lab,a,,,here,2026-01-03,,{signer.key}")
    (fault,) = chain.verify([shared], keys=read_inventory(path).keys).faults
    assert fault.kind == "key"
    assert segment.file_name("lab", "a", 2) in fault.line


def test_unsigned_segments_are_counted(shared, capsys):
    book(shared, "a", range(2))
    book(shared, "b", range(3), signer=signer_of(shared.parent / "b"))
    days = shared.parent / "days"
    assert main(["ledger", "compact", str(shared), "--out", str(days), "--site", "here", "--day", "2026-01-01"]) == 0
    assert "unsigned: 2 segments of 1 nodes" in capsys.readouterr().out
    (manifest,) = days.rglob("manifest.json")
    assert json.loads(manifest.read_text())["unsigned"] == {"lab_a": 2}
    assert main(["ledger", "verify", str(shared), "--json"]) == 0
    chains = json.loads(capsys.readouterr().out)["chains"]
    assert [(c["node"], c["unsigned"], len(c["key"])) for c in chains] == [("a", 2, 0), ("b", 0, 64)]


@pytest.mark.parametrize("key", ["x", "A" * 64, base64.b64encode(b"k" * 32).decode(), "0" * 63])
def test_a_key_in_the_inventory_that_is_none_is_named(shared, key):
    with pytest.raises(UsageError, match=":2: key: expected 64 hexadecimal digits"):
        read_inventory(inventory(shared, f"lab,a,,,here,,,{key}"))


def test_a_key_that_is_no_point_of_the_curve_signs_nothing(shared):
    signer = signer_of(shared.parent)
    book(shared, "a", range(1), signer=signer)
    path = segment.list_files(shared)[0]
    path.write_bytes(segment.compress(segment.load(path).replace(signer.key.encode(), b"f" * 64)))
    assert kinds(shared) == ["signature"]
    path.write_bytes(segment.compress(segment.load(path).replace(b"f" * 64, b"F" * 64)))
    with pytest.raises(ChainError, match="header: invalid values"):
        segment.read(path)


def test_a_private_key_of_openssl_is_taken(tmp_path):
    from cryptography.hazmat.primitives import serialization as form

    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (tmp_path / KEY_FILE).write_bytes(pem)
    (tmp_path / KEY_FILE).chmod(0o600)
    assert signer_of(tmp_path).key == private.public_key().public_bytes_raw().hex()
