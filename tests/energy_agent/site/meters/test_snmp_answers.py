"""SNMP answers that are wrong, forged, garbled or late: a reason or nothing, never a traceback and never the wrong reading."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pysnmp.proto import rfc1902

from energy_agent.core.meters.reading import MeterError
from tests.energy_agent.site.meters.snmp_device import ENERGY, HASTY, METER, POWER, SNMP, opened, read
from tests.support import eventually


def comes_to(attempt, expected):
    """Try `attempt(meter)`; on a busy machine an answer may be later than a meter waits, and the next one waits longer."""
    replies = []
    for timeout_s in (1, 4, 16, 64):
        with contextlib.suppress(MeterError):
            replies.append(attempt(METER.model_copy(update={"timeout_s": timeout_s})))
            if replies[-1] == expected:
                return
    pytest.fail(f"not {expected}, but {replies}")


def test_an_error_of_the_device_is_named(pdu, community):
    for status, reason in ((5, f"genErr for {ENERGY}"), (16, "does not allow this user to read"), (1, "tooBig")):
        pdu.forge = lambda message, body, status=status: (
            SNMP.apiPDU.set_error_status(body, status), SNMP.apiPDU.set_error_index(body, 1 if status == 5 else 0)
        )  # fmt: skip
        with pytest.raises(MeterError, match=reason):
            read(pdu, community)


def swapped(_message, body):
    SNMP.apiPDU.set_varbinds(body, list(reversed(SNMP.apiPDU.get_varbinds(body))))


def cut(_message, body):
    SNMP.apiPDU.set_varbinds(body, SNMP.apiPDU.get_varbinds(body)[:1])


def many(_message, body):
    SNMP.apiPDU.set_varbinds(body, SNMP.apiPDU.get_varbinds(body) * 500)


@pytest.mark.parametrize("forge", [swapped, cut, many])
def test_an_answer_to_something_else_is_refused(pdu, community, forge):
    pdu.forge = forge
    with pytest.raises(MeterError, match="does not match the request"):
        read(pdu, community)


def another_request(message, body):
    SNMP.apiPDU.set_request_id(body, 77)


def another_community(message, body):
    SNMP.apiMessage.set_community(message, "private")


@pytest.mark.parametrize("forge", [another_request, another_community])
def test_an_answer_that_is_not_to_us_is_none(pdu, community, forge):
    pdu.forge = forge

    def refused():
        pdu.requests.clear()
        with pytest.raises(MeterError, match=r"does not respond within 0\.3 s; a wrong community has the same symptom"):
            read(pdu, community, HASTY)
        return pdu.requests  # none where a busy machine spent the time before it sent one

    eventually(refused, 60)


GARBAGE = {
    "nothing": lambda data: [],
    "empty": lambda data: [b""],
    "half": lambda data: [data[: len(data) // 2]],
    "zeros": lambda data: [bytes(1000)],
    "ones": lambda data: [b"\xff" * 60_000],
    "deep": lambda data: [b"\x30\x80" * 30_000],
    "long": lambda data: [b"\x30\x84\xff\xff\xff\xff" + data],
    "huge number": lambda data: [b"\x30\x83\x00\xea\x64\x02\x83\x00\xea\x60" + b"\x7f" * 60_000],
    "row without length": lambda data: [data.replace(b"\x30\x16\x06\x0f", b"\x30\x80\x06\x0f")],  # pysnmp: IndexError
    "message with another tag": lambda data: [b"\x7f" + data[1:]],  # pysnmp: TypeError
    "flood": lambda data: [b"\x30\x00"] * 300,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_no_answer_and_leaves_no_trace(pdu, community, kind, caplog, capfd):
    def attempt(meter):
        with opened(pdu, community, meter) as source:
            pdu.garble = GARBAGE[kind]
            with pytest.raises(MeterError, match="does not respond"):
                source.read()
            pdu.garble = lambda data: [data]
            return source.read()[0].power_mw

    comes_to(attempt, 1_850_000)
    assert (caplog.text, *capfd.readouterr()) == ("", "", "")


@pytest.mark.smoke
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_are_a_reason_or_a_reading_never_anything_else(pdu, community, data):
    flips = data.draw(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=8))

    def garble(answer):
        changed = bytearray(answer)
        for place, value in flips:
            changed[place % len(changed)] = value
        return [bytes(changed)]

    pdu.garble = garble
    with contextlib.suppress(MeterError):
        reading = read(pdu, community, METER.model_copy(update={"timeout_s": 0.1}))
        assert reading.power_mw is not None
        assert 0 <= reading.power_mw <= 20_000_000


def test_a_late_answer_is_not_taken_for_the_next(pdu, community):
    def attempt(meter):
        packets = []
        pdu.reset()
        with opened(pdu, community, meter) as source:
            source.read()
            pdu.garble = lambda data: packets.append(data) or []
            with pytest.raises(MeterError, match="does not respond"):
                source.read()
            pdu.values[POWER] = rfc1902.Integer32(200)
            pdu.garble = lambda data: [*packets, data]
            return source.read()[0].power_mw

    comes_to(attempt, 2_000_000)


def test_an_answer_to_the_last_try_is_one(pdu, community):
    def attempt(meter):
        pdu.reset()
        with opened(pdu, community, meter) as source:
            source.read()  # which loads pysnmp: a busy machine takes seconds for that
            pdu.requests.clear()
            answers = iter([[], []])
            pdu.garble = lambda data: next(answers, [data])
            return source.read()[0].power_mw, len(pdu.requests)

    comes_to(attempt, (1_850_000, 3))
