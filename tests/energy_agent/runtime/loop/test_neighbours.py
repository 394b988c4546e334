"""The agent records every joule even if other parts fail: sources, endpoints, steering, damaged states."""

import json
import logging
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.accounting import pending
from energy_agent.accounting.accountant import Accountant
from energy_agent.accounting.device import DeviceAccount, SensorFor
from energy_agent.accounting.node import NodeAccount, NodePlan
from energy_agent.accounting.training_intake import TrainingReports
from energy_agent.core.energy import DeviceSample, Identity
from energy_agent.core.errors import JournalError, WattlensError
from energy_agent.core.meters.reading import MeterReading, Scope
from energy_agent.core.proof import SteeringRows
from energy_agent.core.saved_state import ONLY, Component, apply_changes
from energy_agent.core.snapshot import LedgerStats
from energy_agent.core.text import is_printable
from energy_agent.ledger.rows.totals import Totals
from energy_agent.owners.processes import ProcessOwners
from energy_agent.runtime.loop import REASON_MAX, FaultContainment
from energy_agent.site.account import SiteAccount
from tests.energy_agent.node.test_clock_steps import IDENTITY, INFO, UJ_PER_S, Boot, run_agent
from tests.energy_agent.site.test_process import MAIN, UPS

S = 10**9
BROKEN_FROM, BROKEN_TO, END = 10, 30, 50


class Defect:
    """Does what `part` did, and fails instead while it is on."""

    def __init__(self, error=None):
        self.part, self.error, self.on = None, error or AttributeError("a defect\nof two lines"), False

    def __call__(self, *arguments, **options):
        if self.on:
            raise self.error
        return self.part(*arguments, **options) if self.part is not None else None


@dataclass
class Steering:
    """A governor that fails in one of its ways."""

    way: str
    defect: Defect = field(default_factory=Defect)

    def __call__(self, snapshot):
        if self.way == "call":
            self.defect()
        return SteeringRows(), ()

    def health(self):
        if self.way == "health":
            self.defect()
        return ()

    def stop(self):
        if self.way == "stop":
            self.defect.on = True
            self.defect()
        return SteeringRows()


def down(snapshot):
    return {source.source: source.reason for source in snapshot.health if not source.up}


PARTS = {
    "publish": lambda agent, defect: setattr(agent, "on_publish", defect),
    "turn": lambda agent, defect: setattr(agent, "on_turn", defect),
    "tokens": lambda agent, defect: _break(agent.tokens, "drain", defect),
    "tokens_health": lambda agent, defect: _break(agent.tokens, "health", defect),
    "holders_health": lambda agent, defect: _break(agent.accountant.joined, "health", defect),
    "serving_pods": lambda agent, defect: _break(agent.serving_pods, "follow", defect),
    "energy_per_token": lambda agent, defect: _break(agent.per_token, "settle", defect),
    "steering": lambda agent, defect: setattr(agent, "steer", Steering("call", defect)),
    "steering_health": lambda agent, defect: setattr(agent, "steer", Steering("health", defect)),
}


def _break(owner, name, defect):
    defect.part = getattr(owner, name)
    try:
        setattr(owner, name, defect)
    except AttributeError:  # it has slots: a class with the same parts
        cls = type(owner)
        owner.__class__ = type(cls.__name__, (cls,), {"__slots__": (), name: lambda _, *a, **k: defect(*a, **k)})


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_fails_is_down_with_its_reason_and_every_joule_is_booked(tmp_path, name):
    defect, reasons = Defect(), {}

    def begin():
        defect.on = True

    def end():
        reasons.update(down(agents[0].snapshot))
        defect.on = False

    agents = []

    def prepare():
        PARTS[name](agents[0], defect)

    turns = {2: prepare, BROKEN_FROM: begin, BROKEN_TO: end}
    _, agent = run_agent(tmp_path, Boot(), turns, END, agents)
    assert reasons[f"agent:{name}"] == "AttributeError: a defect?of two lines"
    assert f"agent:{name}" not in down(agent.snapshot)
    assert agent.snapshot.devices[0].energy_uj == {"counter": (END - 1) * UJ_PER_S}


def test_a_governor_that_fails_at_the_end_costs_no_row(tmp_path):
    agents = []
    turns = {2: lambda: setattr(agents[0], "steer", Steering("stop"))}
    _, agent = run_agent(tmp_path, Boot(), turns, END, agents)
    assert agent.snapshot.devices[0].energy_uj == {"counter": (END - 1) * UJ_PER_S}
    assert list((tmp_path / "segments").iterdir())


@pytest.mark.parametrize("error", [JournalError("no space left"), AttributeError("a defect"), RecursionError()])
def test_commits_that_fail_are_made_good(tmp_path, error):
    agents, defect = [], Defect(error=error)

    def prepare():
        _break(agents[0].journal, "commit", defect)

    turns = {2: prepare, 10: lambda: setattr(defect, "on", True), 30: lambda: setattr(defect, "on", False)}
    published, agent = run_agent(tmp_path, Boot(), turns, END, agents)
    assert agent.snapshot.devices[0].energy_uj == {"counter": (END - 1) * UJ_PER_S}
    assert published[-1] == END


@given(st.text(), st.sampled_from([WattlensError, OSError, ValueError, KeyError, RecursionError, MemoryError]))
def test_a_reason_is_one_bounded_line(text, kind):
    log = logging.getLogger("wattlens.test.silent")
    log.disabled = True
    neighbours = FaultContainment("agent", log)

    def fail():
        raise kind(text)

    assert neighbours.contain("x", fail, 7) == 7
    (source,) = neighbours.health()
    assert (source.source, source.up) == ("agent:x", False)
    assert is_printable(source.reason)
    assert 0 < len(source.reason) <= REASON_MAX
    assert neighbours.contain("x", lambda: 8, 7) == 8
    assert neighbours.health() == ()


# States of the journal that something has damaged

SENSOR = SensorFor(2_500_000_000)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def sample(second, **more):
    energy_mj = 10**6 + 300_000 * second
    return DeviceSample("GPU-0", second * S, second * S, energy_mj, 300_000, gpu_percent=50, event_reasons=4, **more)


def device_state():
    account = DeviceAccount(INFO, SENSOR(INFO))
    for second in (1, 2, 3):
        account.feed(sample(second), "boot-1")
    return account.dump(), account.dump_info()


def node_account():
    return NodeAccount(IDENTITY, NodePlan("ipmi", {"ipmi": (3 * S, 0.05)}, 0.05, 10**7))


def node_reading(second):
    return MeterReading("node", Scope.NODE, second * S, second * S, None, None, 1_000_000, 10**7, 0, 1)


def node_state():
    account = node_account()
    for second in (1, 2, 3):
        account.feed("ipmi", [node_reading(second)])
        account.settle(second * S, set())
    return account.dump()


def site_state():
    account = SiteAccount("dc1", "boot-1", [(MAIN, 3 * S), (UPS, 3 * S)])
    account.feed("main", [MeterReading("main", Scope.FACILITY, t * S, t * S, t * 10**9, None, 5, 10**9, 1, 1) for t in (1, 2)])
    return account.batch(2 * S).states[Component.METERS]["meter:dc1:main"]


@st.composite
def damaged(draw, text):
    """A state in which one value, anywhere, is another; or that was cut; or is something else."""
    kind = draw(st.sampled_from(["value", "value", "value", "cut", "other"]))
    if kind == "cut":
        return text[: draw(st.integers(0, len(text) - 1))]
    if kind == "other":
        return draw(st.sampled_from(["", "[" * 100_000, '{"a":' * 50_000, "null", "1e999"]) | JSON.map(json.dumps))
    body = json.loads(text)
    at, places = body, []
    while isinstance(at, dict | list) and at:
        key = draw(st.sampled_from(sorted(at)) if isinstance(at, dict) else st.integers(0, len(at) - 1))
        places.append((at, key))
        at = at[key]
    if places:
        owner, key = places[draw(st.integers(0, len(places) - 1))]
        owner[key] = draw(JSON)
    return json.dumps(body)


@given(damaged(device_state()[0]), damaged(device_state()[1]), st.booleans())
def test_a_damaged_state_of_a_device_is_refused_or_goes_on(state, info, which):
    good_state, good_info = device_state()
    text, info_text = (state, good_info) if which else (good_state, info)
    try:
        account = DeviceAccount.restore(text, info_text, SENSOR)
    except ValueError:
        return
    for second in (4, 5):
        account.feed(sample(second), "boot-1")
    account.dump(), account.dump_info()


@given(damaged(node_state()))
def test_a_damaged_state_of_the_node_is_refused_or_goes_on(text):
    account = node_account()
    try:
        account.restore(text, {})
    except ValueError:
        return
    for second in (4, 5):
        account.feed("ipmi", [node_reading(second)])
        account.settle(second * S, set())
    account.dump()


@given(damaged(site_state()))
def test_a_damaged_state_of_a_meter_is_left_out_or_goes_on(text):
    account = SiteAccount("dc1", "boot-1", [(MAIN, 3 * S), (UPS, 3 * S)])
    assert account.restore({Component.METERS: {"meter:dc1:main": text}}, []) in ([], ["main"])
    account.feed("main", [MeterReading("main", Scope.FACILITY, t * S, t * S, t * 10**9, None, 5, 10**9, 1, 1) for t in (3, 4)])
    account.batch(4 * S)


@given(damaged('{"boot_id": "boot-1", "began_boot_ns": 5, "began_ns": 1}'))
def test_a_damaged_state_of_training_is_refused_or_goes_on(text):
    intake = TrainingReports(Boot(), lambda identity: False)
    intake.restore({Component.TRAINING: {ONLY: text}}, [])
    for _ in range(40):
        intake.drain({"w"})


@given(damaged('{"pid": 1, "start": 2, "workload": "w", "run": "0123456789abcdef"}'),
       damaged('{"at_ns": 5, "steps": {"training": 1}, "tokens": 3}'), st.sampled_from(["1-2", "", "x"]))  # fmt: skip
def test_a_damaged_state_of_a_training_process_is_refused_or_goes_on_and_is_removed(labels, numbers, name):
    intake = TrainingReports(Boot(), lambda identity: False)
    states = {
        Component.TRAINING: {ONLY: '{"boot_id": "boot-1", "began_boot_ns": 5}'},
        Component.TRAINING_LABELS: {name: labels},
        Component.TRAINING_COUNTS: {name: numbers},
    }
    intake.restore(states, [])
    for _ in range(40):
        apply_changes(states, intake.drain({"w"}).states)
    assert states.keys() == {Component.TRAINING}


NAMED = {
    Component.METERS: "GPU-0",
    Component.GPU_INFO: "GPU-0",
    Component.NODE: "the node",
    Component.ENDED_WORKLOADS: "ended workloads",
    Component.ENDED_ENDPOINTS: "",
    Component.ENDED_ENERGY: "energy of ended workloads by namespace and owner",
}
"""What the agent calls an unreadable state of each component; an endpoint has its own name."""


@pytest.mark.parametrize("component", [*Component, "unknown"])
@pytest.mark.parametrize("text", ["", "{}", "[]", '{"meter": 1}', '{"meter": [1]}', "[" * 100_000, "null", "\x00"])
def test_the_agent_starts_on_a_damaged_state_and_survives_a_full_disk(monkeypatch, tmp_path, component, text):
    monkeypatch.setattr(pending, "PENDING_MAX", 1)
    identity = Identity("c", "n", "boot-1", "0", simulated=True)
    accountant = Accountant(identity, ProcessOwners(tmp_path), SENSOR, {}, 0.05, node_account())
    state, info = device_state()
    states = {
        Component.METERS: {"GPU-0": state},
        Component.GPU_INFO: {"GPU-0": info},
        Component.NODE: {ONLY: node_state()},
        Component.ENDED_WORKLOADS: {"job": "3"},
        Component.ENDED_ENERGY: {'["team"]': "7"},
        Component.STEERING: {"history": "1"},
    }
    of_gpu = component in (Component.METERS, Component.GPU_INFO)
    states.setdefault(component, {})["GPU-0" if of_gpu else ONLY] = text
    named = accountant.restore(states, Totals(), [], 0)
    assert named == ([NAMED[component]] if component in NAMED and (text or component != Component.NODE) else [])
    # The other components have what is theirs.
    assert (Component.NODE in accountant.batch().states) == (component == Component.NODE)
    assert ("job" in accountant.recent_workloads()) == (component != Component.ENDED_WORKLOADS)
    team_uj = accountant.snapshot(0, {}, (), LedgerStats()).namespace_uj
    assert team_uj == ({} if component == Component.ENDED_ENERGY else {"team": 7})
    assert accountant.steering_states()["history"] == "1"
    for second in range(4, 40):
        accountant.feed([sample(second)], {"GPU-0": INFO})
        accountant.batch()
        accountant.not_committed()  # the journal cannot be written
    accountant.feed([sample(40)], {"GPU-0": INFO})
    accountant.batch()
    first = 4 if of_gpu else 3
    assert sum(entry.energy_uj for entry in accountant.committed()) == (40 - first) * UJ_PER_S
