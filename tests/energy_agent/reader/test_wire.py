"""Messages of the reader survive the pipe; invalid messages are reported as such."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import DeviceInfo, DeviceSample, ProcessUse
from energy_agent.core.health import HealthReading, HealthRecord
from energy_agent.reader import wire
from tests.support import examples

law = settings(deadline=None, max_examples=examples(100))
words = st.text(max_size=40)
numbers = st.none() | st.integers(0, 2**64)
infos = st.builds(DeviceInfo, words, st.integers(0, 64), words, words, words, words, *[numbers] * 4, mig_enabled=st.booleans())
samples = st.builds(
    DeviceSample,
    words,
    st.integers(0, 2**63),
    st.integers(0, 2**63),
    *[numbers] * 14,
    xid_counts=st.none() | st.dictionaries(st.integers(1, 200), st.integers(0, 10**6)),
    processes=st.none() | st.lists(st.builds(ProcessUse, st.integers(0, 2**31), numbers, numbers)).map(tuple),
    absent=st.dictionaries(words, words, max_size=4),
)
gone = st.lists(st.builds(wire.Gone, words, words, words), max_size=2).map(tuple)
readings = st.builds(
    HealthReading,
    words,
    st.lists(words, max_size=4).map(tuple),
    st.integers(0, 2**64) | st.floats(allow_nan=False, allow_infinity=False),
)
records = st.builds(
    HealthRecord,
    words,
    words,
    st.integers(0, 2**63),
    st.lists(readings, max_size=3).map(tuple),
    st.dictionaries(words, words, max_size=3),
)
messages = st.one_of(
    st.builds(wire.Health, st.lists(records, max_size=3).map(tuple)),
    st.builds(wire.DeviceSweep, st.lists(samples, max_size=3).map(tuple), gone, st.floats(0, 1e6)),
    st.builds(wire.Hello, words, st.lists(infos, max_size=3).map(tuple)),
    st.builds(wire.Fatal, words, words),
    st.builds(wire.Xids, st.dictionaries(words, st.dictionaries(st.integers(1, 200), st.integers(1, 10**6)), max_size=3)),
)


@law
@given(messages)
def test_a_message_comes_out_as_it_went_in(message):
    line = wire.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert wire.decode(line) == message


@law
@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.integers() | words, lambda x: st.lists(x) | st.dictionaries(words, x)).map(
        lambda v: json.dumps(v).encode()
    )
)
def test_what_is_no_message_is_a_value_error_and_nothing_else(line):
    with pytest.raises(ValueError):
        wire.decode(line)


@pytest.mark.parametrize(
    "body",
    [
        {"k": "sweep"},
        {"k": "sweep", "samples": [], "gone": [], "nvml_s": 0, "what": 1},
        {"k": "sweep", "samples": [["x", 1, 1]], "gone": [], "nvml_s": 0},
        {"k": "sweep", "samples": [5], "gone": [], "nvml_s": 0},
        {"k": "sweep", "samples": [["x", 1, 1, *[None] * 14, None, [1], {}]], "gone": [], "nvml_s": 0},
        {"k": "sweep", "samples": [["x", 1, 1, *[None] * 14, 5, None, {}]], "gone": [], "nvml_s": 0},
        {"k": "sweep", "samples": [["x", 1, 1, *[None] * 14, None, None, 5]], "gone": [], "nvml_s": 0},
        {"k": "sweep", "samples": [], "gone": [["x"]], "nvml_s": 0},
        {"k": "hello", "driver": "x", "devices": [{"uuid": "x"}]},
        {"k": []},
    ],
)
def test_a_message_with_wrong_parts_is_a_value_error(body):
    with pytest.raises(ValueError):
        wire.decode(json.dumps(body).encode())
