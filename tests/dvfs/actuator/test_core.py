"""The actuator core: any sequence of set, fail, expire, foreign change, crash and reboot ends with the original settings."""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dvfs.actuator.guard import ActuatorRefusalError
from dvfs.actuator.knobs.nvml import KnobError, ListedDevice, inventory
from dvfs.actuator.lease import NS
from dvfs.actuator.records.history import KnobChange
from dvfs.actuator.records.journal import ActuatorJournal, Epoch, Outstanding
from dvfs.actuator.records.note import SettingNote
from dvfs.types import DeviceLimits, Setting
from energy_agent.core.errors import JournalError
from energy_agent.devices.nvml.abi import GPU_IS_LOST, IN_USE, NO_PERMISSION, NOT_SUPPORTED, UNKNOWN
from tests.doubles.actuator import DirectKnobs, FakeBoards, core_of
from tests.support import examples

DEVICES = ("GPU-0", "GPU-1")
LIMITS = DeviceLimits(frozenset({"power", "clock"}), (1005, 1980), (400_000, 650_000), "unlocked")
CODES = (NO_PERMISSION, IN_USE, GPU_IS_LOST, UNKNOWN)
CALLS = ("device_by_uuid", "power_limit_mw", "set_power_limit_mw", "set_locked_sm_clocks_mhz", "reset_locked_sm_clocks")


TOKENS = st.integers(0, 2)  # counted from the newest
CLOCKS, POWERS = st.none() | st.integers(900, 2000), st.none() | st.integers(300_000, 700_000)


class Crash(BaseException):
    """The process is gone at this very call."""


class World:
    """Boards, a journal file, a clock, and the core of the moment."""

    def __init__(self, folder: Path, compact_bytes: int = 1 << 20) -> None:
        self.compact_bytes = compact_bytes
        self.now_s, self.killed, self.boot, self.calls_left = 0.0, False, 0, -1
        self.utc_s = 1.8e9  # of now_s 0: where UTC is set to
        self.rows: list[KnobChange] = []  # of the history, of all processes
        self.journal_path = folder / "journal"
        self.boards = self.make_boards(folder)
        self.journal: ActuatorJournal | None = None
        self.start()

    def make_boards(self, folder: Path) -> FakeBoards:
        FakeBoards.create(folder / "boards", len(DEVICES))
        return FakeBoards(folder / "boards", self.before)

    def before(self, _call: str) -> None:
        if self.calls_left == 0:
            raise Crash
        self.calls_left -= 1

    def start(self) -> None:
        """A new process on the same disk and boards."""
        if self.journal is not None:
            self.journal.close()
        self.calls_left = -1
        self.journal = ActuatorJournal(self.journal_path, self.compact_bytes)
        self.core = core_of(
            self.boards,
            self.journal,
            LIMITS,
            lambda: int(self.now_s * NS),
            lambda: int((self.utc_s + self.now_s) * NS),
            lambda: Epoch(f"boot{self.boot}", "driver"),
            killed=lambda: self.killed,
            did=self.rows.append,
        )
        self.core.restore_all()

    def lease(self) -> str:
        return str(self.core.acquire(1, "me", DEVICES, 10.0)["lease"])

    def set(self, token: str, clock_mhz: int | None = None, limit_mw: int | None = None, *note: SettingNote) -> None:
        """A setting of GPU-0."""
        self.core.set(1, token, "GPU-0", Setting(clock_mhz, limit_mw), *note)

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        self.core.tick()

    def now_of(self, device: str = "GPU-0") -> tuple[int, list[int] | None]:
        """Limit and lock of a board."""
        board = self.boards.state(device)
        return board["limit"], board["lock"]


class ActuatorMachine(RuleBasedStateMachine):
    make_world: Callable[[Path], World] = World

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = type(self).make_world(Path(self.folder.name))
        self.original_mw = dict.fromkeys(DEVICES, 700_000)
        self.tokens = [("none", 1)]

    def attempt(self, act) -> object:
        try:
            return act()
        except ActuatorRefusalError:
            return None
        except Crash:
            self.world.start()
            return None

    @rule(devices=st.sampled_from([DEVICES, DEVICES[:1], DEVICES[1:], ("GPU-9",), ()]), connection=st.integers(1, 2))
    def acquire(self, devices, connection) -> None:
        granted = self.attempt(lambda: self.world.core.acquire(connection, f"c{connection}", devices, 10.0))
        if granted:
            self.tokens.append((granted["lease"], connection))

    @rule(token=TOKENS, device=st.sampled_from(DEVICES), clock=CLOCKS, power=POWERS)
    def set(self, token, device, clock, power) -> None:
        token, connection = self.tokens[max(0, len(self.tokens) - 1 - token)]
        if self.attempt(lambda: self.world.core.set(connection, token, device, Setting(clock, power))):
            event("set")

    @rule(device=st.sampled_from(DEVICES), clock=CLOCKS, power=POWERS, connection=st.integers(1, 2))
    def steer(self, device, clock, power, connection) -> None:
        """What a good client does: take a lease and set at once."""
        self.acquire((device,), connection)
        self.set(0, device, clock, power)

    @initialize(
        clock=CLOCKS,
        power=POWERS,
        again=POWERS,
        foreign_mw=st.none() | st.integers(200_000, 399_999),
        found_mw=st.sampled_from([700_000, 640_000, 501_000]),
    )
    def begin(self, clock, power, again, foreign_mw, found_mw) -> None:
        """Every run begins with something to lose, some with an owner's limit, and some with somebody else at the same knob."""
        self.world.boards.change("GPU-0", limit=found_mw, requested=found_mw)
        self.original_mw["GPU-0"] = found_mw
        self.steer("GPU-0", clock, power, 1)
        self.set(0, "GPU-0", clock, again)
        if foreign_mw:
            self.foreign("GPU-0", foreign_mw)

    @rule(token=TOKENS, end=st.sampled_from(["heartbeat", "heartbeat", "release"]))
    def renew_or_release(self, token, end) -> None:
        token, connection = self.tokens[max(0, len(self.tokens) - 1 - token)]
        self.attempt(lambda: getattr(self.world.core, end)(connection, token))

    @rule(connection=st.integers(1, 2))
    def hang_up(self, connection) -> None:
        self.world.core.closed(connection)

    @rule(by_s=st.sampled_from([3600, -3600, 86_400, -86_400]))
    def set_utc(self, by_s) -> None:
        self.world.utc_s += by_s

    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0, 11.0]))
    def wait(self, seconds) -> None:
        self.world.now_s += seconds
        self.attempt(self.world.core.tick)

    @rule(device=st.sampled_from(DEVICES))
    def cure(self, device) -> None:
        self.world.boards.change(device, faults={})

    @rule(device=st.sampled_from(DEVICES), limit_mw=st.integers(200_000, 399_999))
    def foreign(self, device, limit_mw) -> None:
        """Somebody else sets a limit, one that we never would."""
        self.world.boards.change(device, limit=limit_mw, requested=limit_mw)
        if self.world.boards.state(device)["limit"] == limit_mw:  # a fault may strike others too
            self.original_mw[device] = limit_mw

    @rule()
    def kill_switch(self) -> None:
        self.world.killed = True
        self.attempt(self.world.core.tick)
        self.attempt(lambda: self.world.core.acquire(1, "c1", DEVICES, 10.0))
        self.world.killed = False

    @rule(calls=st.integers(0, 4))
    def crash_soon(self, calls) -> None:
        self.world.calls_left = calls

    @rule()
    def crash_now(self) -> None:
        self.attempt(self.world.start)

    @invariant()
    def within_limits_or_as_found(self) -> None:
        for device in DEVICES:
            board = self.world.boards.state(device)
            assert board["limit"] == self.original_mw[device] or 400_000 <= board["limit"] <= min(
                650_000, self.original_mw[device]
            )
            assert board["lock"] is None or (board["lock"][0] == 345 and 1005 <= board["lock"][1] <= 1980)

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            self.world.journal.close()
            self.folder.cleanup()

    def end(self) -> None:
        for device in DEVICES:
            self.cure(device)
        self.world.calls_left = -1
        for _ in range(4):  # all leases run out, and back-offs
            self.world.pass_s(20)
        for device in DEVICES:
            assert self.world.now_of(device) == (self.original_mw[device], None)
        assert not self.world.journal.outstanding


class FakeMachine(ActuatorMachine):
    """On fake boards: every code at every call, and reboots; the journal is replaced every few records."""

    make_world = staticmethod(lambda folder: World(folder, 600))

    @rule(device=st.sampled_from(DEVICES), call=st.sampled_from(CALLS), code=st.sampled_from(CODES))
    def fault(self, device, call, code) -> None:
        self.world.boards.change(device, faults=self.world.boards.state(device)["faults"] | {call: code})

    @rule()
    def reboot(self) -> None:
        """Settings are gone with the boot; what an earlier boot's journal says must not be written into this one."""
        for device in DEVICES:
            self.world.boards.change(device, limit=700_000, requested=700_000, lock=None, faults={}, writes=[])
            self.original_mw[device] = 700_000
        self.world.boot += 1
        self.tokens = self.tokens[:1]
        self.world.start()
        assert all(not self.world.boards.state(d)["writes"] for d in DEVICES)


TestActuator = FakeMachine.TestCase
TestActuator.settings = settings(
    max_examples=examples(70), stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_backup_is_on_disk_before_the_first_write(world: World) -> None:
    token = world.lease()
    world.calls_left = 0
    with pytest.raises(Crash):
        world.set(token, 1005, 500_000)
    assert world.boards.state("GPU-0")["writes"] == []
    kept = {o.knob: (o.backup, o.ours) for o in ActuatorJournal(world.journal_path).outstanding}
    assert kept == {"power": (700_000, (500_000,)), "clock": ("unlocked", ((345, 1005),))}


def test_undo_is_in_reverse_to_the_oldest_backup_and_none_takes_one_knob_back(world: World) -> None:
    token = world.lease()
    for limit in (500_000, 600_000, 450_000):
        world.set(token, 1200, limit)
    world.core.release(1, token)
    writes = [w for w in world.boards.state("GPU-0")["writes"] if w[0] != "set_locked_sm_clocks_mhz"]
    assert writes[-2:] == [["reset_locked_sm_clocks", None], ["set_power_limit_mw", 700_000, 700_000]]
    token = world.lease()
    for limit_mw, in_force_mw in ((500_000, 500_000), (None, 700_000)):
        world.set(token, 1200, limit_mw)
        assert world.now_of() == (in_force_mw, [345, 1200])


@pytest.mark.parametrize(
    ("change", "code"), [({"mig": True}, "mig"), ({"faults": {"device_by_uuid": GPU_IS_LOST}}, "gpu_is_lost")]
)
def test_acquire_refuses_devices_that_cannot_be_steered(world: World, change: dict[str, object], code: str) -> None:
    world.boards.change("GPU-1", **change)
    with pytest.raises(ActuatorRefusalError) as refused:
        world.lease()
    assert refused.value.code == code
    world.core.acquire(1, "me", DEVICES[:1], 10.0)  # the failed lease left nothing held


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"requested": 600_000}, "out_of_band"),
        ({"faults": {"set_power_limit_mw": IN_USE}}, "in_use"),
        ({"faults": {"set_locked_sm_clocks_mhz": NO_PERMISSION}}, "no_permission"),
        ({"faults": {"set_locked_sm_clocks_mhz": NOT_SUPPORTED}}, "not_supported"),
    ],
)
def test_refused_set_leaves_the_device_as_found(world: World, change: dict[str, object], code: str) -> None:
    token = world.lease()
    world.boards.change("GPU-0", **change)
    with pytest.raises(ActuatorRefusalError) as refused:
        world.set(token, 1005, 500_000)
    assert refused.value.code == code
    assert (world.now_of(), world.journal.outstanding) == ((700_000, None), [])


NOTE, OTHER_NOTE = SettingNote("static", "knee", "job"), SettingNote("other", "queue", "job")


def killed(world: World, _token: str) -> None:
    world.killed = True
    world.core.tick()


def rebooted(world: World, _token: str) -> None:
    world.boot += 1
    world.start()


def stuck(world: World, token: str) -> None:
    world.boards.change("GPU-0", faults={"set_power_limit_mw": UNKNOWN, "reset_locked_sm_clocks": UNKNOWN})
    world.core.release(1, token, "gone")
    world.boards.change("GPU-0", faults={})
    world.pass_s(20)


def refused(world: World, token: str) -> None:
    world.boards.change("GPU-0", faults={"set_locked_sm_clocks_mhz": NO_PERMISSION})
    with pytest.raises(ActuatorRefusalError):
        world.set(token, 1200, 450_000, NOTE)
    del world.rows[-4:-2]  # the two writes


@pytest.mark.parametrize(
    ("end", "cause", "reason", "outcome"),
    [
        (lambda world, token: world.core.release(1, token, "gone"), "request", "gone", "ok"),
        (lambda world, token: world.set(token, None, None, OTHER_NOTE), "request", "queue", "ok"),
        (lambda world, _token: world.pass_s(11), "expired", "", "ok"),
        (killed, "killed", "", "ok"),
        (lambda world, _token: world.start(), "start", "", "ok"),
        (rebooted, "start", "", "new_epoch"),
        (stuck, "retry", "", "ok"),
        (refused, "refused", "", "ok"),
    ],
)
def test_a_restore_is_recorded_with_its_cause_and_the_note_of_the_setting_that_it_ends(
    world: World, end: Callable[[World, str], object], cause: str, reason: str, outcome: str
) -> None:
    token = world.lease()
    world.set(token, 1005, 600_000, SettingNote("first", "knee", "job"))
    world.set(token, 1005, 500_000, NOTE)
    assert [(row.action, row.note) for row in world.rows[2:]] == [("set", NOTE)] * 2
    del world.rows[:]
    end(world, token)
    assert [(row.knob, row.action, row.outcome, row.cause, row.note) for row in world.rows] == [
        (knob, "restore", outcome, cause, SettingNote("static", reason, "job")) for knob in ("clock", "power")
    ]


def test_a_journal_without_notes_or_with_damaged_ones_restores_as_before(world: World) -> None:
    """As the version before wrote it."""
    token = world.lease()
    world.set(token, 1005, 500_000, NOTE)
    data = world.journal_path.read_text()
    note = '"note":{"policy":"static","reason":"knee","workload":"job"}'
    assert data.count("," + note) == 2
    for damaged in ("", ',"note":null', ',"note":7', ',"note":{"policy":[]}', ',"note":{"workload":"' + "w" * 5000 + '"}'):
        world.journal_path.write_text(data.replace("," + note, damaged))
        world.boards.change("GPU-0", limit=500_000, requested=500_000, lock=[345, 1005])
        del world.rows[:]
        world.start()
        assert world.now_of() == (700_000, None)
        assert [(row.action, row.cause, row.note) for row in world.rows] == [("restore", "start", None)] * 2


def test_a_device_that_is_not_restored_yet_is_not_leased_again(world: World) -> None:
    token = world.lease()
    world.set(token, None, 500_000)
    world.boards.change("GPU-0", faults={"set_power_limit_mw": UNKNOWN})
    world.core.release(1, token)
    with pytest.raises(ActuatorRefusalError, match="not restored yet"):
        world.core.acquire(2, "you", DEVICES, 10.0)
    world.boards.change("GPU-0", faults={})
    world.core.acquire(2, "you", DEVICES, 10.0)
    assert world.boards.state("GPU-0")["limit"] == 700_000


def test_torn_last_record_is_dropped_and_a_damaged_one_is_refused(world: World) -> None:
    token = world.lease()
    world.set(token, None, 500_000)
    data = world.journal_path.read_bytes()
    for cut in range(1, 40):
        world.journal_path.write_bytes(data + data[: data.index(b"\n")][:cut])
        journal = ActuatorJournal(world.journal_path)
        assert [(o.device, o.backup) for o in journal.outstanding] == [("GPU-0", 700_000)]
        journal.close()
    world.journal_path.write_bytes(b"{}\n" + data)
    with pytest.raises(JournalError, match="journal:1: damaged"):
        ActuatorJournal(world.journal_path)


def test_a_journal_stays_small_while_settings_stay_in_force(tmp_path: Path) -> None:
    """As under a policy that sets something every few seconds for days. One that grew past its limit could not be opened."""
    path, epoch = tmp_path / "journal", Epoch("boot", "driver")
    journal = ActuatorJournal(path, 20_000)
    for value in range(400_000, 400_201):
        journal.intend(epoch, "me", 0, [("GPU-0", "power", 700_000, value), ("GPU-0", "clock", "unlocked", (345, 1005))], NOTE)
        if value % 3:
            journal.settled("GPU-0", "power", value)
        assert path.stat().st_size < 21_000
    (tmp_path / "journal.new").write_text('{"half a dra')  # it was killed while it replaced the file
    outstanding = journal.outstanding
    journal.close()
    again = ActuatorJournal(path, 20_000)
    assert again.outstanding == outstanding == [
        Outstanding("GPU-0", "power", 700_000, epoch, "me", (400_199, 400_200), NOTE),
        Outstanding("GPU-0", "clock", "unlocked", epoch, "me", ((345, 1005),), NOTE),
    ]  # fmt: skip
    again.close()


def test_unwritable_journal_means_no_write(world: World) -> None:
    token = world.lease()
    world.journal.close()
    with pytest.raises(JournalError):
        world.set(token, None, 500_000)
    assert world.boards.state("GPU-0")["writes"] == []
    with contextlib.suppress(OSError):
        world.journal = None


@pytest.mark.parametrize("code", ["timeout", "busy", "failed", "driver_not_loaded"])
def test_a_driver_that_does_not_list_its_devices_is_not_taken_for_an_allow_list_that_lacks_them(
    world: World, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    slow = [True]

    def list_slowly(knobs: DirectKnobs) -> list[ListedDevice]:
        if slow[0]:
            raise KnobError(code)
        return inventory(world.boards)

    monkeypatch.setattr(DirectKnobs, "inventory", list_slowly)
    for slow[0], devices, refusal in ((True, ("GPU-1",), code), (False, ("GPU-1", "GPU-9"), "not_allowed")):
        with pytest.raises(ActuatorRefusalError) as error:
            world.core.acquire(1, "agent", devices, 10)
        assert error.value.code == refusal
    slow[0] = True  # what is known stays known
    assert world.core.acquire(1, "agent", ("GPU-1",), 10)["lease"]


def test_status_has_the_original_limit_while_another_is_in_force(world: World) -> None:
    def originals() -> list[int | None]:
        return [row["original_power_limit_mw"] for row in world.core.status(0)["devices"]]

    token = world.lease()
    assert originals() == [None, None]
    for limit_mw in (500_000, 450_000):
        world.set(token, None, limit_mw)
        assert originals() == [700_000, None]
    world.start()
    assert originals() == [None, None]
