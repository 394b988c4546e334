"""Rows of the actuator's history in the ledger: each once, whatever is killed in between, and with who wanted it and why."""

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs.actuator.allow_list import AllowList
from dvfs.actuator.core import ActuatorCore
from dvfs.actuator.kill_switch import KillSwitch
from dvfs.actuator.records.history import ActuatorHistory, KnobChange
from dvfs.actuator.records.journal import ActuatorJournal, Epoch
from dvfs.actuator.records.note import SettingNote
from dvfs.actuator.requests import Caller, Requests
from dvfs.actuator.wire import Decoder
from energy_agent.core.energy import Action
from tests.doubles.actuator import DirectKnobs, FakeBoards
from tests.support import examples
from wattlens.steering.actuator_history import ActuatorRows, ledger_row

NOTE = SettingNote("static", "knee", "job")


def did(**changes: object) -> KnobChange:
    values = {"utc_ns": 1, "device": "GPU-0", "knob": "power", "action": "set", "value": 500_000, "outcome": "ok"}
    return KnobChange(**{**values, "holder": "wattlens (pid 7)", "cause": "request", **changes})


def test_ledger_row_has_policy_reason_and_outcome() -> None:
    lock = did(knob="clock", value=[345, 1005], note=NOTE)
    assert ledger_row(asdict(lock)) == Action(1, "GPU-0", "static", "set", '{"sm_clock_max_mhz":1005}', "ok: knee", "job")
    back = did(action="restore", value=700_000, note=SettingNote("static", "gone", "job"))
    assert ledger_row(asdict(back)) == Action(1, "GPU-0", "static", "restore", '{"power_limit_mw":700000}', "ok: gone", "job")
    unlocked = did(action="restore", knob="clock", value="unlocked", cause="expired", note=SettingNote("static", "", "job"))
    expected = Action(1, "GPU-0", "static", "restore", '{"sm_clock_max_mhz":"unlocked"}', "ok: expired", "job")
    assert ledger_row(asdict(unlocked)) == expected
    rebooted = did(action="restore", value=None, cause="start", outcome="new_epoch", note=SettingNote("static", "", "job"))
    expected = Action(1, "GPU-0", "static", "restore", '{"power_limit_mw":null}', "new_epoch: start", "job")
    assert ledger_row(asdict(rebooted)) == expected


@pytest.mark.parametrize("note", [{}, {"note": None}, {"note": 5}, {"note": {"policy": ""}}, {"note": {"policy": ["static"]}}])
def test_without_a_note_the_row_is_the_actuators_and_names_the_holder(note: dict[str, object]) -> None:
    """As of an actuator of the version before, and of a sweep."""
    row = asdict(did()) | {"number": 1, "name": "n"}
    del row["note"]
    expected = Action(1, "GPU-0", "actuator", "set", '{"power_limit_mw":500000}', "ok: request, wattlens (pid 7)", "")
    assert ledger_row(row | note) == expected


def test_failed_write_is_recorded_by_the_governor_that_requested_it() -> None:
    assert ledger_row(asdict(did(outcome="no_permission", note=NOTE))) is None
    assert ledger_row(asdict(did(outcome="no_permission"))) is not None


@given(st.dictionaries(st.sampled_from(list(asdict(did()))), st.none() | st.integers() | st.text() | st.lists(st.integers())))
def test_a_damaged_row_costs_no_other_its_place(damage: dict[str, object]) -> None:
    row = ledger_row(asdict(did()) | damage)
    assert row is None or (0 <= row.t_ns < 1 << 63 and len(row.setting) <= 200)


class ServedHistory:
    """An actuator's history at a socket."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a.sock"
        self._folder, self._numberings = folder, 0
        self.begin_anew()
        journal = ActuatorJournal(folder / "journal")
        clock = lambda: 0  # noqa: E731
        boards = DirectKnobs(FakeBoards.create(folder / "boards"))
        self._core = ActuatorCore(AllowList(), journal, boards, lambda: Epoch("b", "d"), clock, clock)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()
        self.close = lambda: (self._listener.shutdown(socket.SHUT_RDWR), self._listener.close(), journal.close())

    def begin_anew(self) -> None:
        """The actuator's state folder is lost: rows are numbered from 1 under another name."""
        self._numberings += 1
        self.history_file = self._folder / f"history-{self._numberings}"
        self.restart()

    def restart(self) -> None:
        """The actuator's process is another one."""
        self.history = ActuatorHistory(self.history_file)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        decoder, caller = Decoder(), Caller(1, 10)
        with peer:
            while data := peer.recv(65536):
                for message in decoder.feed(data):
                    peer.sendall(Requests(self._core, self.history, KillSwitch()).reply(caller, message))


@contextmanager
def served(folder: Path) -> Iterator[ServedHistory]:
    served_history = ServedHistory(folder)
    try:
        yield served_history
    finally:
        served_history.close()


class Agent:
    """Reads rows and commits them with their position, as the accountant does; `killed` agents lose what is not committed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ledger: list[Action] = []
        self._committed, self._pending = "", ([], "")
        self.start()

    def start(self) -> None:
        """A new process, after whatever ended the one before."""
        self._pending = ([], self._committed)
        self.rows = ActuatorRows(self._folder / "a.sock", self._pending[1])

    def reload(self) -> None:
        """Another governor in the same process: it goes on where rows were handed over."""
        self.rows.close()
        self.rows = ActuatorRows(self._folder / "a.sock", self._pending[1])

    def read(self) -> None:
        actions = self.rows.read(now=True)
        self._pending = (self._pending[0] + actions, self.rows.position)

    def read_and_be_killed_before_it_is_handed_over(self) -> None:
        self.rows.read(now=True)
        self.rows.close()
        self.start()

    def commit(self) -> None:
        self.ledger += self._pending[0]
        self._committed = self._pending[1]
        self._pending = ([], self._committed)

    def kill(self) -> None:
        self.rows.close()
        self.start()


MOVES: dict[str, Callable[[Agent], None]] = {
    "read": Agent.read,
    "commit": Agent.commit,
    "kill": Agent.kill,
    "kill before hand-over": Agent.read_and_be_killed_before_it_is_handed_over,
    "reload": Agent.reload,
}
OF_ACTUATOR = ("anew", "restart")


@given(st.lists(st.sampled_from([*MOVES, *OF_ACTUATOR]) | st.integers(1, 30), max_size=20))
@settings(max_examples=examples(60), deadline=None)
def test_whatever_is_killed_each_row_is_in_the_ledger_once(moves: list[str | int]) -> None:
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as actuator:
        agent, written, lost = Agent(Path(folder)), 0, 0
        for move in [*moves, "read", "commit"]:
            if isinstance(move, int):
                for _ in range(move):
                    written += 1
                    actuator.history.add(did(utc_ns=written, note=NOTE))
            elif move == "anew":
                lost = written  # together with the folder, where nobody has read them yet
                actuator.begin_anew()
            elif move == "restart":
                actuator.restart()
            else:
                MOVES[move](agent)
        agent.rows.close()
        times_ns = [row.t_ns for row in agent.ledger]
        assert [t for t in times_ns if t > lost] == list(range(lost + 1, written + 1))
        assert len(times_ns) == len(set(times_ns))


@pytest.mark.parametrize("torn", [b"", b'{"number":3,"name":"'])
def test_rows_that_a_power_loss_took_hide_none_that_come_after_them(tmp_path: Path, torn: bytes) -> None:
    with served(tmp_path) as actuator:
        agent = Agent(tmp_path)
        actuator.history.add(did(utc_ns=1, note=NOTE))
        written = actuator.history_file.read_bytes()
        for number in range(2, 6):
            actuator.history.add(did(utc_ns=number, note=NOTE))
        agent.read()
        agent.commit()
        actuator.history_file.write_bytes(written + torn)
        actuator.restart()
        for number in (6, 7):
            actuator.history.add(did(utc_ns=number, note=NOTE))
        agent.read()
        agent.commit()
        agent.rows.close()
        assert [row.t_ns for row in agent.ledger] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', '{"name": 1, "number": "a"}'])
def test_a_damaged_position_reads_from_the_beginning(tmp_path: Path, text: str) -> None:
    with served(tmp_path) as actuator:
        actuator.history.add(did(utc_ns=1, note=NOTE))
        rows = ActuatorRows(tmp_path / "a.sock", text)
        assert [row.t_ns for row in rows.read(now=True)] == [1]
        rows.close()


def test_without_an_actuator_nothing_is_read_and_nothing_is_kept(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    agent.read()
    assert (agent.rows.read(now=True), agent.rows.position) == ([], "")
