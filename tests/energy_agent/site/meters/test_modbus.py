"""Modbus without a network: numbers in registers against `struct`, the age of both ends, and what a configuration may say."""

import math
import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from energy_agent.site.meters._age import EdgeAge
from energy_agent.site.meters._registers import number, range_of, resolution, words_of
from energy_agent.site.meters.modbus import Modbus

BITS = {"uint16": 16, "int16": 16, "uint32": 32, "int32": 32, "uint64": 64, "int64": 64}
LETTERS = {
    "uint16": "H",
    "int16": "h",
    "uint32": "I",
    "int32": "i",
    "uint64": "Q",
    "int64": "q",
    "float32": "f",
    "float64": "d",
}


def registers(kind, value, little):
    """A number as a meter holds it."""
    packed = struct.pack(f">{LETTERS[kind]}", value)
    words = [int.from_bytes(packed[i : i + 2], "big") for i in range(0, len(packed), 2)]
    return words[::-1] if little else words


@given(data=st.data(), kind=st.sampled_from(sorted(BITS)), little=st.booleans())
def test_an_integer_is_read_as_it_was_written(data, kind, little):
    signed = not kind.startswith("u")
    low, high = (-(1 << BITS[kind] - 1), (1 << BITS[kind] - 1) - 1) if signed else (0, (1 << BITS[kind]) - 1)
    value = data.draw(st.integers(low, high))
    words = registers(kind, value, little)
    assert len(words) == words_of(kind)
    assert number(words, kind, little=little) == value
    assert resolution(Decimal(value), kind) == 1


@given(value=st.floats(allow_nan=False, allow_infinity=False), little=st.booleans())
def test_a_float64_is_exact_and_its_step_leads_to_the_next(value, little):
    read = number(registers("float64", value, little), "float64", little=little)
    assert read == Decimal(value)
    after = math.nextafter(abs(value), math.inf)
    assert math.isinf(after) or float(resolution(read, "float64")) == after - abs(value)


@given(bits=st.integers(0, 0x7F7FFFFE), little=st.booleans())
def test_a_float32_is_exact_and_its_step_leads_to_the_next(bits, little):
    """Positive floats are in the order of their bits, so the next float is the next integer."""
    value, after = (struct.unpack(">f", (bits + i).to_bytes(4, "big"))[0] for i in (0, 1))
    read = number(registers("float32", value, little), "float32", little=little)
    assert read == Decimal(value)
    assert float(resolution(read, "float32")) == after - value


def test_a_float32_register_of_a_gigawatt_hour_has_steps_of_a_sixteenth():
    assert resolution(Decimal(10**6), "float32") == Decimal("0.0625")


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7F800000, 0xFF800000])
def test_what_is_not_finite_stays_so_and_has_some_step(bits):
    read = number([bits >> 16, bits & 0xFFFF], "float32", little=False)
    assert not read.is_finite()
    assert resolution(read, "float32") == 1


def test_register_wraps_at_its_type_limit_or_configured_value():
    kinds = ("uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
    assert [range_of(k) for k in kinds] == [2**16, 2**15, 2**32, 2**31, None, None, None, None]
    for more, wanted in (({}, Decimal(2**32) / 10), ({"wrap": 1e6}, Decimal(10**6))):
        section = Modbus(host="pm1", energy={"address": 0, "type": "uint32", "scale": 0.1} | more)
        assert section.energy.exact_wrap == wanted


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, "no register for energy or power"),
        ({"energy": {"address": 65535, "type": "uint32"}}, "after the last address"),
        ({"energy": {"address": 0, "type": "uint24"}}, "uint16"),
        ({"energy": {"address": 0, "type": "uint32", "unit": "kW"}}, "kWh"),
        ({"power": {"address": 0, "type": "uint32", "wrap": 5}}, "wrap"),
        ({"power": {"address": 0, "type": "uint32", "scale": 0}}, "greater than 0"),
        ({"host": "http://pm1", "power": {"address": 0, "type": "uint32"}}, "host"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(more, reason):
    with pytest.raises(ValidationError, match=reason):
        Modbus(**{"host": "pm1"} | more)


@given(st.lists(st.tuples(st.floats(0, 1e3), st.sampled_from([None, Decimal(1), Decimal(2)])), min_size=2, max_size=9))
def test_the_age_covers_both_ends_of_what_is_booked(rows):
    """A reading records the time since the last reading at which the register moved, or else since the last reading."""
    age = EdgeAge()
    since, before = [], None
    for own_s, energy in rows:
        given_s = age.of(own_s, energy)
        assert given_s == max([own_s, *since])
        since = [*since, own_s] if energy is not None and energy == before else [own_s]
        before = energy
