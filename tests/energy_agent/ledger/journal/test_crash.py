"""Any crash point: a process that is really killed, and every step of sealing failing once."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.errors import JournalError
from energy_agent.ledger.journal.journal import Batch
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.segments import segment
from tests.doubles.failing_files import FailingFiles
from tests.energy_agent.ledger.cases import T0, batches, check, filled, opened, truth
from tests.support import examples

WRITER = """
import sys
from pathlib import Path
from energy_agent.ledger.journal.journal import Journal
from tests.energy_agent.ledger.cases import IDENTITY, second
folder = Path(sys.argv[1])
journal = Journal.open(folder / "journal.db", IDENTITY)
i = int(journal.states().get("meters", {}).get("GPU-0", '{"second":-1}').split(":")[1][:-1]) + 1
print("open", flush=True)
while True:
    journal.commit(second(i))
    print(i, flush=True)
    if i % 7 == 0:
        journal.seal(None)
    i += 1
"""


def test_killed_at_any_instant_nothing_is_lost_or_counted_twice(tmp_path):
    root = Path(__file__).parents[4]
    rng = random.Random(20260101)
    last_commit, to_read = -1, rng.choices(range(12), k=12)
    for commits in to_read:
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=environment)
        try:
            assert writer.stdout.readline() == "open\n"
            commit_numbers = [int(writer.stdout.readline()) for _ in range(commits)]
            time.sleep(rng.uniform(0.0, 0.02))  # at any instant of what it does next
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        commit_numbers += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
        writer.stdout.close()
        view = read_journal(tmp_path / "journal.db")
        recorded = int(view.book.states["meters"]["GPU-0"].split(":")[1][:-1]) if view.book.states else -1
        last_commit = max([last_commit, *commit_numbers])
        assert recorded in (
            last_commit,
            last_commit + 1,
        )  # reported commits are recorded; one more may be recorded that was not reported yet
        last_commit = recorded  # the next writer begins after it, reported or not
        assert sum(view.book.totals.energy.values()) == truth(range(recorded + 1))
        check(tmp_path)
    assert last_commit >= sum(to_read) - 1 > 40  # greater if the writer reported commits that the test did not wait for
    opened(tmp_path).close()
    check(tmp_path)


ends = st.sets(st.sampled_from(["w1", "w2", "éà\n", "never seen"]), min_size=1).map(frozenset)
steps = st.lists(st.one_of(batches, ends, st.just("seal"), st.just("reopen"), st.integers(0, 2)), max_size=12)


@given(steps)
@settings(max_examples=examples(40), deadline=None)
def test_any_sequence_of_commits_seals_and_failures_conserves(tmp_path_factory, sequence):
    folder = tmp_path_factory.mktemp("ledger")
    journal = opened(folder)
    energy, bound, tokens, steps = Counter(), 0, 0, 0
    ended = set()
    try:
        for step in sequence:
            if step == "seal":
                journal.seal(None)
            elif step == "reopen":
                journal.close()
                journal = opened(folder)
            elif isinstance(step, int):  # sealing dies at this step of the file system; another process goes on
                journal.close()
                journal = opened(folder, files=FailingFiles(step))
                with contextlib.suppress(JournalError):
                    journal.seal(None)
                journal.close()
                journal = opened(folder)
            elif isinstance(step, frozenset):
                journal.commit(Batch(ended=dict.fromkeys(step, T0)))
                ended |= step
            else:
                journal.commit(step)
                for e in step.entries:
                    energy[e.device, e.state, e.method] += e.energy_uj
                ended -= {row.workload for row in (*step.entries, *step.tokens, *step.steps)}
                bound += sum(g.bound_uj for g in step.gaps)
                tokens += sum(t.tokens for t in step.tokens)
                steps += sum(s.steps for s in step.steps)
        totals = journal.totals()
    finally:
        journal.close()
    by_device = Counter()
    for (device, _, state, method), uj in totals.energy.items():
        by_device[device, state, method] += uj
    assert +by_device == +energy
    remaining = [workload for _, workload, *_ in totals.energy] + [
        key[0] for part in (totals.gpu_ns, totals.tokens) for key in part
    ]
    assert not ended & set(remaining)
    assert sum(totals.gap_bound_uj.values()) == bound
    assert sum(totals.tokens.values()) == tokens
    assert sum(totals.steps.values()) == steps
    check(folder, "time")  # rows may be far earlier than an action before them, and no step of the clock is recorded


@pytest.mark.parametrize("step", range(3))
def test_sealing_again_after_any_step_gives_the_same_bytes(tmp_path, step):
    bodies = []
    for name, fail_at in (("whole", 99), ("broken", step)):
        folder = tmp_path / name
        folder.mkdir()
        journal = filled(folder, 4, files=FailingFiles(fail_at))
        with contextlib.suppress(JournalError):
            journal.seal(None)
        journal.close()
        opened(folder).close()
        (file,) = segment.list_files(folder / "segments")
        bodies.append(file.read_bytes())
    assert bodies[0] == bodies[1]
