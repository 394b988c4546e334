"""States of version 0.1, which were in one dictionary, go to the components whose they are."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.saved_state import ONLY, Component
from energy_agent.ledger.journal.earlier import split_states

UUID = "GPU-26bf3ad8-516a-413f-b48d-810b490f1f38"
PROCESS = {"pid": 7, "start": 99, "workload": "w", "run": "r", "at_ns": 5, "steps": {"training": 1}, "tokens": 3}
STATES = {
    UUID: "meter",
    "info " + UUID: "info",
    "meter:dc1:main": "register",
    "node/": "node",
    "tokens/chat http://10.0.0.1:80/metrics": "counters",
    "served/": '{"chat http://10.0.0.2:80/metrics": "{}", "b": "x"}',
    "held/": '{"job-1": 5, "training": 6}',
    "training": json.dumps({"began_ns": 1, "processes": [PROCESS]}),
    'ended/["team"]': "12",
    "gone": "",
}
SPLIT = {
    "meters": {UUID: "meter", "meter:dc1:main": "register"},
    "gpu_info": {UUID: "info"},
    "node": {"": "node"},
    "tokens": {"chat http://10.0.0.1:80/metrics": "counters"},
    "ended_endpoints": {"chat http://10.0.0.2:80/metrics": "{}", "b": "x"},
    "ended_workloads": {"job-1": "5", "training": "6"},
    "training": {"": '{"began_ns":1}'},
    "training_counts": {"7-99": '{"at_ns":5,"steps":{"training":1},"tokens":3}'},
    "training_labels": {"7-99": '{"pid":7,"start":99,"workload":"w","run":"r"}'},
    "ended_energy": {'["team"]': "12"},
}


def test_each_state_goes_to_its_component():
    assert split_states(STATES) == SPLIT


def test_states_that_were_not_in_a_list_any_more_go_to_their_components():
    states = {"held/job-1": "5", "served/chat a": "{}", "training": '{"began_boot_ns":5,"boot_id":"b"}'}
    states |= {"training/counts/7-99": "{}", "training/process/7-99": "{}"}
    assert split_states(states) == {
        "ended_workloads": {"job-1": "5"},
        "ended_endpoints": {"chat a": "{}"},
        "training": {"": '{"began_boot_ns":5,"boot_id":"b"}'},
        "training_counts": {"7-99": "{}"},
        "training_labels": {"7-99": "{}"},
    }


SURROGATE = json.dumps({"began_ns": 1, "processes": [PROCESS | {"model": "\ud800"}]})
LISTS = ["[" * 100_000, '{"a": "\\ud800"}', '{"\\ud800": 1}']
DAMAGED = ["{", "[]", "[" * 100_000, "null", "\0", '{"processes": 1}', '{"processes": [1]}']


@pytest.mark.parametrize("name", STATES)
@settings(max_examples=25)
@given(st.sampled_from(DAMAGED) | st.text(min_size=1))
def test_a_damaged_state_costs_no_other_component_its_states(name, text):
    split = split_states(STATES | {name: text})
    damaged = split_states({name: text}).keys() | split_states({name: STATES[name]}).keys()
    assert {c: texts for c, texts in split.items() if c not in damaged} == {c: t for c, t in SPLIT.items() if c not in damaged}
    assert damaged <= {*SPLIT}


@pytest.mark.parametrize(
    ("name", "component", "more"),
    [
        ("held/", Component.ENDED_WORKLOADS, LISTS),
        ("served/", Component.ENDED_ENDPOINTS, LISTS),
        ("training", Component.TRAINING_LABELS, ['{"processes": 1}', '{"began_ns": 1, "processes": [{"pid": 1}]}', SURROGATE]),
    ],
)
def test_a_damaged_list_is_left_to_its_component(name, component, more):
    for text in ["{", "[]", "null", *more]:
        assert split_states({name: text})[component] == {ONLY: text}
        assert name == "training" or split_states({name: text}).keys() == {component}
