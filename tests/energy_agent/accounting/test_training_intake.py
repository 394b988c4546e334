"""Counts of training become rows: whatever is lost, repeated or killed, each step and token once. Truth is plain arithmetic."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.accounting.training_intake import (
    FACTS_OF_HOUR,
    LOOK_EVERY,
    MODELS_MAX,
    OF_PLACE_MAX,
    PROCESSES_MAX,
    TrainingReports,
)
from energy_agent.core.saved_state import ONLY, Component, apply_changes, find_changes
from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.training_report import COUNT_MAX, RATE_MAX, ReportError, TrainingReport, parse

RUN = "0123456789abcdef"
T0 = 1_700_000_000 * NS_PER_S


class Clock:
    """A clock whose time is set; `step_s` is how far UTC was stepped."""

    def __init__(self):
        self.now_s, self.step_s, self.boot = 0.0, 0, "boot-1"

    def utc_ns(self):
        return T0 + round((self.now_s + self.step_s) * NS_PER_S)

    def boot_ns(self):
        return 10**12 + round(self.now_s * NS_PER_S)

    def boot_id(self):
        return self.boot

    def real_seconds(self, seconds):
        return seconds


class World:
    """An intake whose rows are committed or thrown away, as by a kill, and the sum of what was committed."""

    def __init__(self):
        self.clock, self.dead = Clock(), set()
        self.states, self.steps, self.tokens, self.rows = {}, {}, {}, []
        self.intake = self.make()

    def make(self):
        reports = TrainingReports(self.clock, lambda identity: identity not in self.dead, self.clock.boot_ns)
        assert reports.restore(self.states, [(w, m, "training") for w, m in self.tokens])
        return reports

    def commit(self, owners=("job",)):
        recorded = self.intake.drain(set(owners))
        self.written = find_changes(self.states, recorded.states)
        apply_changes(self.states, self.written)
        for row in recorded.steps:
            assert 0 <= row.start_ns <= row.end_ns <= self.clock.utc_ns()
            self.steps[row.phase] = self.steps.get(row.phase, 0) + row.steps
        for row in recorded.tokens:
            key = (row.workload, row.model)
            self.tokens[key] = self.tokens.get(key, 0) + row.tokens
        self.rows += [*recorded.steps, *recorded.tokens]
        return recorded

    def kill(self):
        self.intake = self.make()


def report(steps, tokens, age_s, run=RUN, **more):
    return TrainingReport(run, age_s, {"training": steps}, tokens, **more)


moves = st.lists(st.sampled_from(["work", "report", "report twice", "commit", "kill", "kill before commit"]), max_size=40)


@given(moves, st.integers(1, 3))
def test_whatever_is_lost_repeated_or_killed_each_step_is_booked_once(sequence, ranks):
    world, steps, tokens = World(), 0, [0] * ranks
    world.commit()  # this journal has listened since before the processes came
    for move in [*sequence, "report", "commit"]:
        world.clock.now_s += 1
        if move == "work":
            steps += 7
            tokens = [n + 100 + rank for rank, n in enumerate(tokens)]
        elif move.startswith("report"):
            for _ in range(move.count("report") + move.count("twice")):
                for rank in range(ranks):
                    body = report(steps, tokens[rank], world.clock.now_s, rank=rank, world=ranks, group="g", model="m")
                    world.intake.report((100 + rank, 5), "job", body)
        elif move == "commit":
            world.commit()
        elif move == "kill":
            world.kill()
        else:
            world.intake.drain({"job"})  # rows were made, and the agent was killed before they were in the journal
            world.kill()
    assert world.steps.get("training", 0) == steps  # ranks take a step together
    assert sum(world.tokens.values()) == sum(tokens)


def test_what_was_counted_before_the_journal_listened_is_left_out_and_what_while_the_agent_was_away_is_not():
    world = World()
    world.clock.now_s = 10.0
    world.intake.report((1, 1), "job", report(500, 5_000, 60.0))  # it began 50 s before
    world.commit()
    assert (world.steps, world.tokens) == ({"training": 0}, {("job", ""): 0})
    world.clock.now_s = 100.0
    world.kill()
    world.clock.now_s = 200.0
    world.intake.report((1, 1), "job", report(900, 9_000, 250.0))
    world.intake.report((2, 1), "job", report(30, 300, 90.0))  # came while the agent was away
    world.commit()
    assert (world.steps, world.tokens) == ({"training": 430}, {("job", ""): 4_300})
    assert [(r.start_ns - T0) // NS_PER_S for r in world.rows[-3:]] == [110, 10, 110]


ages = st.floats(0, 1e9) | st.integers(0, 1_100).map(float)


@given(ages, st.floats(0, 1_100), st.integers(0, COUNT_MAX), st.integers(0, COUNT_MAX), st.booleans())
def test_no_count_is_older_than_its_process(claimed_s, started_s, tokens, steps, rebooted):
    """Whatever a process claims, after a reboot too, when the journal has listened since before any process of this boot."""
    world = World()
    world.commit()
    if rebooted:
        world.intake.report((9, 1), "job", report(0, 0, 0))
        world.commit()
        world.clock.boot = "boot-2"
        world.kill()
    world.clock.now_s = 100.0  # the boot clock stands at 1100 s
    start = round(started_s * os.sysconf("SC_CLK_TCK"))
    age_s = 1_100 - started_s + 0.01  # the kernel counts ticks
    taken = True
    try:
        world.intake.report((1, start), "job", report(steps, tokens, claimed_s))
    except ReportError:
        taken = False
    recorded = world.commit()
    assert taken or steps > RATE_MAX * (min(age_s, claimed_s) + 0.98)
    assert sum(row.tokens for row in recorded.tokens) <= RATE_MAX * (age_s + 1)
    assert sum(row.steps for row in recorded.steps) <= RATE_MAX * (age_s + 1)
    for row in (*recorded.tokens, *recorded.steps):
        assert row.end_ns - row.start_ns <= age_s * NS_PER_S


def test_steps_count_only_on_allocated_devices_and_earlier_steps_are_kept():
    world = World()
    world.commit()
    for k in range(1, 6):
        world.clock.now_s = k
        world.intake.report((1, 1), "job", report(10 * k, 0, k))
        world.commit(owners=())
    assert world.steps == {}
    world.commit()
    assert world.steps == {"training": 50}


def test_another_count_of_a_process_begins_at_zero_and_two_at_once_are_refused():
    world = World()
    world.commit()
    world.clock.now_s = 10
    world.intake.report((1, 1), "job", report(100, 0, 10))
    world.commit()
    with pytest.raises(ReportError, match="still open"):
        world.intake.report((1, 1), "job", report(50, 0, 9, run="f" * 16))
    world.clock.now_s = 20  # it was replaced by exec
    world.intake.report((1, 1), "job", report(50, 0, 5, run="f" * 16))
    world.commit()
    assert world.steps == {"training": 150}


def test_when_the_lead_ends_another_rank_of_its_group_is_counted():
    world = World()
    world.commit()
    for k in (1, 2, 3):
        world.clock.now_s = k
        for rank in (0, 1):
            if k < 3 or rank:
                world.intake.report((rank, 1), "job", report(10 * k, 0, k, rank=rank, world=2, group="g"))
        world.commit()
        if k == 2:
            world.dead.add((0, 1))
    assert world.steps == {"training": 30}


def test_processes_that_ended_are_forgotten():
    world = World()
    world.clock.now_s = 1
    world.intake.report((1, 1), "job", report(1, 1, 0.5))
    world.commit()
    assert world.states.keys() > {Component.TRAINING}
    world.dead.add((1, 1))
    for _ in range(40):
        world.commit()
    assert world.states.keys() == {Component.TRAINING}
    assert world.intake.ranks("job") == []


@pytest.mark.parametrize(
    ("letter", "moved"),
    [("m", PROCESSES_MAX), ("\U0001f600", PROCESSES_MAX), ("\u00e9", 1), ('"', 37), ("\\", PROCESSES_MAX - 1)],
)  # each commits for as many processes as there may be
def test_a_commit_writes_the_numbers_that_changed_and_no_text_again(letter, moved):
    world = World()
    world.commit()
    labels = {"rank": 1, "world": 2, **dict.fromkeys(("group", "model", "precision"), letter * 120)}
    for second in (1, 2):
        world.clock.now_s = second
        for pid in range(PROCESSES_MAX if second == 1 else moved):
            body = {"run": RUN, "age_s": second, "steps": {"training": second}, "tokens": 10**6 * second} | labels
            world.intake.report((pid, 1), f"w{pid}", parse(body))
        world.commit({f"w{pid}" for pid in range(PROCESSES_MAX)})
        if second == 1:
            texts = [text for texts in world.states.values() for text in texts.values()]
            assert sum(len(text.encode()) for text in texts) < PROCESSES_MAX * 1_500
    assert sum(len(key + text) for texts in world.written.values() for key, text in texts.items()) <= moved * 120
    world.kill()
    world.commit()
    assert world.written == {}


def three_ranks():
    world = World()
    world.clock.now_s = 1
    for rank in range(3):
        world.intake.report((rank, 1), "job", report(50, 1, 0.5, rank=rank, world=3, group="g"))
    world.commit()
    return world


def test_a_killed_job_does_not_speak_for_the_one_in_its_place():
    world = three_ranks()
    world.dead |= {(rank, 1) for rank in range(3)}
    assert [each.report.steps["training"] for each in world.intake.ranks("job")] == [50] * 3  # its last words
    world.clock.now_s = 5
    world.intake.report((7, 2), "job", report(4, 1, 0.5, run="f" * 16, rank=0, world=1, group="g"))
    assert [(each.report.rank, each.report.steps["training"]) for each in world.intake.ranks("job")] == [(0, 4)]


def test_a_rank_that_ends_before_the_others_is_still_one_of_them():
    world = three_ranks()
    world.dead |= {(2, 1)}
    world.clock.now_s = 3
    world.intake.report((0, 1), "job", report(51, 1, 2.5, rank=0, world=3, group="g"))
    assert [each.report.rank for each in world.intake.ranks("job")] == [0, 1, 2]


def test_hostile_clients_are_bounded():
    world = World()
    world.commit()
    world.clock.now_s = 100
    for pid in range(OF_PLACE_MAX):
        world.intake.report((pid, 1), "job", report(1, 1, 1))
    with pytest.raises(ReportError, match="already report"):
        world.intake.report((OF_PLACE_MAX, 1), "job", report(1, 1, 1))
    for pid in range(1000, 1000 + 2 * PROCESSES_MAX):  # who holds nothing makes room, oldest first
        world.intake.report((pid, 1), f"lone-{pid}", report(1, 1, 1))
    assert len(world.intake._committed_latest) == PROCESSES_MAX
    with pytest.raises(ReportError, match="per second"):
        world.intake.report((1, 1), "job", report(COUNT_MAX, 0, 5))
    for k in range(3 * MODELS_MAX):
        world.clock.now_s += 1
        world.intake.report((5, 5), "w", report(k, k, world.clock.now_s - 100, model=f"m{k}"))
        world.commit({"w"})
    assert len([m for w, m in world.tokens if w == "w"]) <= MODELS_MAX + 1


@pytest.mark.smoke
def test_many_places_of_one_process_each_never_displace_the_ranks_of_a_workload_with_a_device():
    for attackers in (1, 10, PROCESSES_MAX):  # new places per second
        for ranks in (1, 8, OF_PLACE_MAX):
            world = World()
            world.commit(("victim",))  # it has its device before its first step
            for pid in range(PROCESSES_MAX):
                world.intake.report((10_000 + pid, 1), f"process-{pid}", report(1, 1, 1), f"uid {pid}")
            for second in range(1, 5):
                world.clock.now_s = float(second)
                for rank in range(ranks):
                    world.intake.report(
                        (1 + rank, 1), "victim", report(second, second, second, rank=rank, world=ranks, group="g"), "victim"
                    )
                for n in range(attackers):
                    pid = 20_000 + second * PROCESSES_MAX + n
                    world.intake.report((pid, 1), f"process-{pid}", report(1, 1, 1), f"uid {pid}")
                assert [each.report.rank for each in world.intake.ranks("victim")] == list(range(ranks))
                world.commit(("victim",))
            assert world.steps == {"training": 4}
            assert sum(world.tokens.values()) == 4 * ranks


def test_models_of_a_workload_that_has_ended_do_not_count_for_its_next_life():
    world = World()
    world.commit()
    world.clock.now_s = 100
    for k in range(MODELS_MAX):
        world.clock.now_s += 1
        world.intake.report((5, k), "w", report(k, k, 1, model=f"m{k}"))
        world.commit({"w"})
        world.dead.add((5, k))
    for _ in range(2 * LOOK_EVERY):
        world.commit(())
    world.intake.report((6, 1), "w", report(1, 1, 1, model="next"))
    world.commit({"w"})
    assert ("w", "next") in world.tokens


@pytest.mark.parametrize("absurd", [20_000_000_000_000, 10**30])
@pytest.mark.parametrize("kill", [False, True])
def test_one_absurd_number_of_tokens_is_left_out_and_what_comes_after_counts(absurd, kill):
    world = World()
    world.commit()
    for second, tokens in ((10, 1_000), (11, absurd + 2_000), (12, absurd + 3_000), (13, absurd + 4_000)):
        world.clock.now_s = second
        body = {"run": RUN, "age_s": float(second), "steps": {"training": second}, "tokens": tokens}
        world.intake.report((1, 1), "job", parse(body))
        world.commit()
        if kill and second == 12:
            world.kill()
    assert world.steps == {"training": 13}
    # above 2^53, sums cannot be distinguished; after a restart, counting begins at the next report
    assert world.tokens == {("job", ""): 1_000 if absurd > COUNT_MAX else 2_000 if kill else 3_000}


def test_reported_labels_are_recorded_once_and_change_rarely():
    world = World()
    world.clock.now_s = 1
    labels = {"group": "g", "model": "m", "precision": "bf16"}
    world.intake.report((1, 1), "job", report(1, 1, 1, rank=0, world=8, **labels))
    assert world.commit().labels == {"job": labels | {"ranks": "8"}}
    for k in range(2, 100):
        world.clock.now_s = k
        world.intake.report((1, 1), "job", report(k, k, k, world=8, group=f"g{k}"))
        changed = world.commit().labels
        assert bool(changed) == (k == 61)


@given(st.lists(st.sampled_from([1, 30, 61, 600, 3_600]), max_size=120))
def test_facts_of_a_workload_change_a_few_times_in_any_hour_and_the_last_ones_come(waits):
    world, changes, labels = World(), [], {}
    for k, wait_s in enumerate([*waits, 3_600]):
        world.clock.now_s += wait_s
        world.intake.report((1, 1), "job", report(k, k, 1, group=f"g{k}"))
        changed = world.commit().labels
        changes += [world.clock.now_s] if changed else []
        labels |= changed
    assert labels["job"]["group"] == f"g{k}"
    for at_s in changes:
        assert sum(at_s <= other < at_s + 3_600 for other in changes) <= FACTS_OF_HOUR
        assert sum(at_s <= other < at_s + 60 for other in changes) == 1


@pytest.mark.parametrize(
    "group",
    ["127.0.0.1:29500", "127.1:2", "localhost:29500", "LOCALHOST:", "localhost", "localhost.localdomain:1", "node.localhost:1",
     "::1:29500", "[::1]:29500", "::ffff:127.0.0.1:29500", "ip6-localhost:5"],
)  # fmt: skip
def test_jobs_that_meet_at_a_loopback_address_share_no_group_and_each_counts_its_steps_once(group):
    world = World()
    world.commit()
    world.clock.now_s = 10
    for workload, pid in (("job", 1), ("else", 5)):
        for rank in (0, 1):
            body = report(100, 10, 9, rank=rank, world=2, group=group)
            world.intake.report((pid + rank, 1), workload, body)
    recorded = world.commit(("job", "else"))
    assert {workload: labels["group"] for workload, labels in recorded.labels.items()} == {"job": "", "else": ""}
    assert world.steps == {"training": 200}


def test_two_jobs_of_one_workload_that_meet_at_two_ports_are_two():
    world = World()
    world.commit()
    world.clock.now_s = 10
    for pid, group in enumerate(["127.0.0.1:29500"] * 2 + ["127.0.0.1:29501"] * 2):
        world.intake.report((pid, 1), "job", report(100, 10, 9, rank=pid % 2, world=2, group=group))
    world.commit()
    assert world.steps == {"training": 200}


@pytest.mark.parametrize(
    "group", ["10.0.0.5:29500", "node127.0.0.1x:1", "gpu-1.cluster:29500", "job7", "slurm-42.0", "fe80::1:29500", ""]
)
def test_other_groups_join_workloads(group):
    world = World()
    world.clock.now_s = 1
    world.intake.report((1, 1), "job", report(1, 1, 1, rank=0, world=2, group=group))
    assert world.commit().labels["job"]["group"] == group


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"boot_id": "boot-1"}', '{"boot_id": "boot-1", "began_boot_ns": "x"}'])
def test_invalid_state_is_refused(text):
    assert not TrainingReports(Clock(), lambda _: True).restore({Component.TRAINING: {ONLY: text}}, ())


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=40), inner, max_size=12),
    max_leaves=10,
)
fields = st.sampled_from(["run", "age_s", "steps", "tokens", "waits", "doing", "loss", "rank", "world", "group", "model"])
good = {"run": RUN, "age_s": 1.5, "steps": {"training": 1, "warmup": 2, "rest": 3}, "tokens": 5, "waits": {"checkpoint": 1}}


@given(values | st.dictionaries(fields, values) | st.builds(lambda f, v: good | {f: v}, fields, values))
def test_any_body_is_a_report_of_bounded_numbers_and_labels_or_refused(value):
    try:
        result = parse(value)
    except ReportError:
        return
    assert all(0 <= n <= COUNT_MAX for n in (*result.steps.values(), result.tokens))
    assert set(result.steps) <= {"training", "evaluation", "checkpoint", "data_wait", "other"}
    assert all(len(text.encode()) <= 120 and text.isprintable() for text in (result.group, result.model, result.precision))
    json.dumps([result.loss, dict(result.waits), result.age_s], allow_nan=False)


def test_phases_that_have_no_name_of_their_own_are_one():
    assert parse(good).steps == {"training": 1, "other": 5}


def test_the_lead_rank_names_the_phase_of_its_workload_while_it_reports():
    world = World()
    world.clock.now_s = 1
    world.intake.report((1, 1), "job", report(5, 1, 0.5, rank=1, world=2, group="g", doing="evaluation"))
    world.intake.report((0, 1), "job", report(5, 1, 0.5, rank=0, world=2, group="g", doing="checkpoint"))
    world.intake.report((2, 1), "other", report(5, 1, 0.5, doing="compile"))
    world.intake.report((3, 1), "busy", report(5, 1, 0.5))
    assert world.commit(("job", "other", "busy")).phases == {"job": "checkpoint", "other": "other"}
    world.clock.now_s = 4
    assert world.commit().phases["job"] == "checkpoint", "reports come once per second, and one may be late"
    world.intake.report((0, 1), "job", report(6, 1, 3.5, rank=0, world=2, group="g"))
    assert "job" not in world.commit().phases
    world.clock.now_s = 20
    assert world.commit().phases == {}


@pytest.mark.parametrize("step_s", [3600, -3600, 86_400, -86_400])
def test_a_step_of_utc_refuses_no_run_and_loses_no_step(step_s):
    world = World()
    world.clock.now_s = 100.0
    world.intake.report((1, 5), "job", report(10, 100, 50.0))
    world.commit()
    world.clock.step_s = step_s
    world.clock.now_s = 110.0
    world.intake.report((1, 5), "job", report(4, 40, 5.0, run="f" * 16))  # another run of the same process
    world.intake.report((2, 6), "job", report(7, 70, 5.0))
    world.commit()
    assert world.steps == {"training": 21}
    assert sum(world.tokens.values()) == 210
    world.dead = {(1, 5), (2, 6)}
    world.clock.now_s = 120.0
    world.intake.report((3, 7), "elsewhere", report(1, 1, 1.0))
    world.dead.add((3, 7))
    world.clock.now_s = 300.0
    for _ in range(40):
        world.commit()
    assert world.intake.ranks("elsewhere") == []


def test_counts_before_a_reboot_are_not_expected_of_the_new_boot():
    world = World()
    world.clock.now_s = 1000.0
    world.intake.report((1, 5), "job", report(10, 100, 50.0))
    world.commit()
    world.clock.boot, world.clock.now_s = "boot-2", -900.0  # the boot clock begins again
    world.kill()
    world.intake.report((1, 5), "job", report(3, 30, 20.0, run="e" * 16))
    world.commit()
    assert world.steps == {"training": 13}
