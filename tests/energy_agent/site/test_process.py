"""The site's loop on a clock that is set, with meters of known power: no step of UTC and no failing part stops it."""

import itertools
import logging

import pytest

from energy_agent.core.energy import Identity, SourceHealth
from energy_agent.core.errors import JournalError
from energy_agent.core.meters.facility import MeterFacts, Position, Role
from energy_agent.core.meters.reading import MeterReading, Scope
from energy_agent.core.units import NS_PER_S
from energy_agent.exposition.site import families
from energy_agent.ledger import chain
from energy_agent.ledger.journal.journal import Journal
from energy_agent.ledger.rows.kinds import Cell
from energy_agent.ledger.segments import segment
from energy_agent.site.account import SiteAccount
from energy_agent.site.process import SiteProcess
from tests.energy_agent.node.test_clock_steps import Boot
from tests.energy_agent.runtime.loop.test_timing import DAY, HOUR
from wattlens.site.file import parse_site

KWH_UJ = 3_600_000_000_000
MAIN = MeterFacts("main", Role.TOTAL, None, "", "", 5_000, "modbus", 400_000_000, "modbus")
UPS = MeterFacts("ups", Role.IT, Position.UPS_OUTPUT, "main", "", 10_000, "modbus", 400_000_000, "modbus")
PERIOD_S = 20.0
UJ_PER_S = {"main": 100_000_000_000, "ups": 60_000_000_000}  # 100 and 60 kW
IDENTITY = Identity("c", "dc1", "boot-1", "0", simulated=True)


class Registers:
    """A poller: a reading of each meter every 20 s of the clock; `turns` has what happens at a turn of the loop."""

    def __init__(self, clock, turns):
        self.periods_s = dict.fromkeys(UJ_PER_S, PERIOD_S)
        self.clock, self.turns, self.count = clock, turns, 0

    def start(self):
        pass

    def stop(self):
        pass

    def drain(self):
        self.clock.sleep(PERIOD_S)
        self.count += 1
        self.turns.get(self.count, lambda: None)()
        return [(name, (self.reading(name),)) for name in UJ_PER_S]

    def reading(self, name):
        uj = round(self.count * PERIOD_S * UJ_PER_S[name])
        now = (self.clock.utc, self.clock.boot)
        return MeterReading(name, Scope.FACILITY, *now, uj, None, UJ_PER_S[name] // 1000, 400_000_000, KWH_UJ // 10**6, 1000)

    def health(self, faults):
        return tuple(SourceHealth(f"facility:{name}", True) for name in UJ_PER_S)


def run_site(folder, turns, seconds, journal=None, poller=Registers):
    clock = Boot()
    journal = journal or Journal.open(folder / "journal.db", IDENTITY, utc_ns=clock.utc_ns)
    account = SiteAccount("dc1", "boot-1", [(MAIN, 60 * NS_PER_S), (UPS, 60 * NS_PER_S)])
    actions = {turn: lambda act=act: act(site) for turn, act in turns.items()}
    registers = poller(clock, actions | {seconds: lambda: site.stop()})
    config = parse_site(b"site: {name: dc1}\nmeters: []\n")
    site = SiteProcess(config, IDENTITY, clock, journal, registers, account, (MAIN, UPS))
    snapshots = []

    def look(site):
        if site.snapshot is not None and site.snapshot not in snapshots[-1:]:
            snapshots.append(site.snapshot)

    site.on_turn = look
    site.run()
    look(site)
    return site, snapshots


def recorded_energy(folder):
    rows = [row for path in segment.list_files(folder / "segments") for row in segment.read(path).rows]
    return {
        name: sum(r.energy_uj for r in rows if isinstance(r, Cell) and r.device == f"meter:dc1:{name}") for name in UJ_PER_S
    }


class EarlyRegisters(Registers):
    """Its threads read each meter once before the loop's first turn, half a second apart."""

    def start(self):
        self.first = []
        for name in UJ_PER_S:
            self.first.append((name, (self.reading(name),)))
            self.clock.sleep(0.5)

    def drain(self):
        first, self.first = self.first, []
        return first or super().drain()


@pytest.mark.parametrize("by_ns", [HOUR, -HOUR, DAY, -DAY])
def test_steps_of_utc_stop_neither_meters_nor_pue(tmp_path, by_ns):
    back_ns = -by_ns
    turns = {10: lambda site: site.clock.step(by_ns), 40: lambda site: site.clock.step(back_ns)}
    site, snapshots = run_site(tmp_path, turns, 120)
    assert len(snapshots) == site.snapshot.sequence >= 120
    ages = [later.boot_ns - earlier.boot_ns for earlier, later in itertools.pairwise(snapshots)]
    assert max(ages) == PERIOD_S * NS_PER_S
    energies = [snapshot.meters[0].energy_uj for snapshot in snapshots]
    assert energies == sorted(energies)
    assert all(m.power_mw == UJ_PER_S[m.facts.id] // 1000 for s in snapshots[2:-1] for m in s.meters)
    now = [s.pue[str(UPS.position.category), "15m"].amount.value for s in snapshots[-20:]]
    assert all(value is not None and abs(float(value) - 100 / 60) < 0.1 for value in now)
    assert recorded_energy(tmp_path) == register_uj(site)
    report = chain.verify([tmp_path / "segments"])
    assert report.ok, report.faults


def test_pue_does_not_wait_where_meters_were_read_one_after_another_before_the_first_turn(tmp_path):
    site, _ = run_site(tmp_path, {}, 4, poller=EarlyRegisters)
    assert site.snapshot.pue[str(UPS.position.category), "15m"].amount.reason == ""


def register_uj(site):
    """What the registers counted from the first reading to the last."""
    return {name: round((site.poller.count - 1) * PERIOD_S * uj) for name, uj in UJ_PER_S.items()}


class Unreliable:
    """A journal whose commits, seals or both fail for a while."""

    def __init__(self, journal):
        self.journal, self.failing = journal, ()

    def __getattr__(self, name):
        return getattr(self.journal, name)

    def commit(self, batch):
        if "commit" in self.failing:
            raise JournalError("no space for commits")
        return self.journal.commit(batch)

    def seal(self, up_to_ns):
        if "seal" in self.failing:
            raise JournalError("no space for segments")
        return self.journal.seal(up_to_ns)


def test_journal_and_segments_are_reported_apart(tmp_path, caplog):
    journal = Unreliable(Journal.open(tmp_path / "journal.db", IDENTITY))

    def fail(*what):
        return lambda site: setattr(journal, "failing", what)

    caplog.set_level(logging.INFO)
    turns = {10: fail("seal"), 250: fail("commit"), 252: fail()}
    run_site(tmp_path, turns, 400, journal)
    lines = [record.getMessage() for record in caplog.records if record.name == "wattlens.site"]
    assert lines == [
        "segment: no space for segments",
        "journal: no space for commits",
        "journal: ok",
        "segment: ok",
    ]


def test_no_failing_part_ends_the_loop(tmp_path):
    def broken(*_):
        raise AttributeError("a defect")

    def end(site):
        site.on_turn = None

    def begin(site):
        site.on_turn = broken

    site, _ = run_site(tmp_path, {10: begin, 60: end}, 100)
    assert site.snapshot.sequence >= 100
    assert recorded_energy(tmp_path) == register_uj(site)


def test_a_meter_that_never_responded_has_no_energy(tmp_path):
    class HalfSilent(Registers):
        def drain(self):
            return [(name, rows) for name, rows in super().drain() if name == "main"]

        def health(self, faults):
            return tuple(SourceHealth(f"facility:{name}", name == "main", "", "timeout") for name in UJ_PER_S)

    clock = Boot()
    journal = Journal.open(tmp_path / "journal.db", IDENTITY, utc_ns=clock.utc_ns)
    account = SiteAccount("dc1", "boot-1", [(MAIN, 60 * NS_PER_S), (UPS, 60 * NS_PER_S)])
    registers = HalfSilent(clock, {20: lambda: site.stop()})
    config = parse_site(b"site: {name: dc1}\nmeters: []\n")
    site = SiteProcess(config, IDENTITY, clock, journal, registers, account, (MAIN, UPS))
    site.run()
    by_family = families(site.snapshot)
    for name in ("facility_energy_joules_total", "facility_energy_gap_bound_joules_total"):
        assert {labels[1] for labels, _ in by_family[name]} == {"main"}, name
    assert {labels[1] for labels, _ in by_family["facility_meter_info"]} == {"main", "ups"}
