"""Which key may sign next along a chain: a replaced key never returns, whatever time its segments state."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.units import NS_PER_DAY
from energy_agent.ledger import chain
from energy_agent.ledger.fleet.sites import read_inventory
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.segment import Header
from energy_agent.ledger.signing import Keys, fits, is_small_order
from tests.energy_agent.ledger.cases import T0
from tests.energy_agent.ledger.shared_folder import HOUR_UJ, book, compact, inventory, shared, signer_of
from tests.support import examples
from wattlens.cli import main

__all__ = ["shared"]

KEYS = ["a" * 64, "b" * 64, "c" * 64]


def back_date(folder, name, sequence, signer, days):
    """Append a segment to a chain whose rows and header are those of its last one, some days earlier."""
    last = segment.read(segment.list_files(folder)[-1])
    earlier_ns = days * NS_PER_DAY
    header = replace(
        last.header, sequence=sequence, previous=last.sha256, schema=2, key="",
        from_ns=last.header.from_ns - earlier_ns, to_ns=last.header.to_ns - earlier_ns,
    )  # fmt: skip
    rows = [
        replace(row, cell_start_ns=row.cell_start_ns - earlier_ns, run=replace(
            row.run, start_ns=row.run.start_ns - earlier_ns, end_ns=row.run.end_ns - earlier_ns))
        if hasattr(row, "run") else row for row in last.rows
    ]  # fmt: skip
    path = folder / segment.file_name("lab", name, sequence)
    path.write_bytes(segment.compress(segment.encode(header, rows, signer)))
    return path


@pytest.mark.parametrize("days", [1, 2, 40])  # within the old key's time, and before the first enrolment
def test_a_replaced_key_adds_nothing_with_a_segment_that_it_dates_back(shared, capsys, days):
    old, new = signer_of(shared.parent / "old"), signer_of(shared.parent / "new")
    book(shared, "a", [5], signer=old)
    book(shared, "a", [26], signer=new)
    path = inventory(shared, f"lab,a,,,here,2025-12-20,2026-01-02,{old.key}", f"lab,a,,,here,2026-01-02,,{new.key}")
    assert main(["ledger", "verify", str(shared), "--inventory", str(path)]) == 0
    capsys.readouterr()
    forged = back_date(shared, "a", 2, old, days)
    assert main(["ledger", "verify", str(shared), "--inventory", str(path)]) == 1
    err = capsys.readouterr().err
    assert "after a key that the inventory enrols later has signed" in err
    assert forged.name in err
    if days == 1:
        code, energy, _ = compact(shared, capsys, "--inventory", path)
        assert (code, energy) == (1, {})
    forged.unlink()
    assert compact(shared, capsys, "--inventory", path)[:2] == (0, {"a": HOUR_UJ})


@st.composite
def rotations(draw):
    """The enrolments of a node, one after the other, and segments: (key, day of their end)."""
    edges = sorted(draw(st.sets(st.integers(1, 30), min_size=2, max_size=5)))
    keys = [draw(st.sampled_from(KEYS)) for _ in edges]
    enrolled = [(*span, key) for span, key in zip(zip(edges, [*edges[1:], 60], strict=True), keys, strict=True)]
    segments = draw(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 59)), min_size=1, max_size=12))
    return enrolled, segments


@given(rotations())
@settings(max_examples=examples(400, quick=80), deadline=None)
def test_no_key_signs_after_one_that_was_enrolled_later_and_none_at_a_time_that_is_not_its_own(drawn):
    enrolled, segments = drawn
    keys = Keys({("lab", "a"): tuple((T0 + a * NS_PER_DAY, T0 + b * NS_PER_DAY, key) for a, b, key in enrolled)})
    chain_of = chain.Chain("lab", "a")
    latest = -1  # the first day of the latest enrolment that has signed
    for number, (key, day) in enumerate(segments):
        t_ns = T0 + day * NS_PER_DAY
        before, signed_by = len(chain_of.faults), chain_of.key
        header = Header(3, "lab", "a", "b", number, "0" * 64, "0", True, t_ns, t_ns, 0, key)
        chain.check_key(chain_of, Path("segment"), header, keys)
        if len(chain_of.faults) > before:
            continue
        mine = [a for a, b, its_key in enrolled if its_key == key and a <= day < b + 1]
        if day >= enrolled[0][0]:
            was_first = key == signed_by and day < enrolled[0][0] + 1  # on the day of the first enrolment
            assert mine or was_first, "accepted at a time at which the key is not enrolled"
        begins = max(mine or [a for a, _, its_key in enrolled if its_key == key], default=-1)
        assert begins >= latest
        latest = max(latest, begins)


@given(rotations())
@settings(max_examples=examples(200, quick=40), deadline=None)
def test_every_rotation_in_its_order_is_accepted(drawn):
    enrolled, _ = drawn
    keys = Keys({("lab", "a"): tuple((T0 + a * NS_PER_DAY, T0 + b * NS_PER_DAY, key) for a, b, key in enrolled)})
    chain_of = chain.Chain("lab", "a")
    for number, (a, b, key) in enumerate(enrolled):
        for day in (a, b - 1):
            t_ns = T0 + day * NS_PER_DAY
            header = Header(3, "lab", "a", "b", number, "0" * 64, "0", True, t_ns, t_ns, 0, key)
            chain.check_key(chain_of, Path("segment"), header, keys)
    assert chain_of.faults == []


P = (1 << 255) - 19
D = -121665 * pow(121666, -1, P) % P


def point_of(raw):
    """The point (x, y) of a key as RFC 8032 has it, or None if the curve has no such y; y is reduced."""
    number = int.from_bytes(raw, "little")
    y, sign = (number & ((1 << 255) - 1)) % P, number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square:
        return None
    return (P - x if x % 2 != sign else x) % P, y


def add(one, other):
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def has_small_order(raw):
    point = point_of(raw)
    if point is None:
        return False
    for _ in range(3):
        point = add(point, point)
    return point == (0, 1)


def test_the_points_of_small_order_are_refused_in_every_spelling(shared):
    order_8 = 2707385501144840649318225287225658788936804267575313519463743609750303402022
    values = [y + shift for y in (0, 1, P - 1, order_8, P - order_8) for shift in (0, P) if y + shift < 1 << 255]
    spelled = [y | sign << 255 for y in values for sign in (0, 1)]
    raws = [number.to_bytes(32, "little") for number in spelled]
    points = {point_of(raw) for raw in raws if has_small_order(raw)}
    assert len(points - {None}) == 8  # all that there are
    for raw in raws:
        if has_small_order(raw):
            assert is_small_order(raw)
            assert not fits(raw, raw + bytes(32), b"any text")
            with pytest.raises(Exception, match="expected the key of a node"):
                read_inventory(inventory(shared, f"lab,a,,,here,,,{raw.hex()}"))
    assert not is_small_order(bytes.fromhex(signer_of(shared.parent / "k").key))


def test_a_segment_signed_with_a_key_of_order_1_has_no_valid_signature(shared):
    signer = signer_of(shared.parent)
    book(shared, "a", [0], signer=signer)
    path = segment.list_files(shared)[0]
    neutral = (1).to_bytes(32, "little")  # R = identity and S = 0 fit every text
    text = segment.load(path).replace(signer.key.encode(), neutral.hex().encode())
    lines = text.decode().splitlines()

    lines[-1] = '{"kind":"signature","signature":"' + (neutral + bytes(32)).hex() + '"}'
    path.write_bytes(segment.compress("\n".join([*lines, ""]).encode()))
    assert [fault.kind for fault in chain.verify([shared]).faults] == ["signature"]


@pytest.mark.parametrize(("listed", "code"), [(False, 1), (True, 0)])
def test_an_inventory_that_enrols_keys_lists_every_node(shared, capsys, listed, code):
    signer = signer_of(shared.parent / "a")
    book(shared, "a", [5], signer=signer)
    book(shared, "new", [5], signer=signer_of(shared.parent / "new"))
    path = inventory(shared, f"lab,a,,,here,,,{signer.key}", *(["lab,new,,,here,,,"] if listed else []))
    assert main(["ledger", "verify", str(shared), "--inventory", str(path)]) == code
    assert ("the inventory does not list" in capsys.readouterr().err) is not listed
    result, energy, _ = compact(shared, capsys, "--inventory", path)
    assert (result, energy) == (code, {"a": HOUR_UJ} | ({"new": HOUR_UJ} if listed else {}))
