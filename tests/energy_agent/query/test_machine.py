"""CPUs and memory of a process follow its affinity and cgroups, in the layouts that the kernel's documentation describes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from energy_agent.query.engine import open_engine
from energy_agent.query.machine import usable_cpus, usable_memory_b
from energy_agent.query.port import EngineOptions

LIMIT_B = 3104 * 2**20
PRINT = """
import duckdb
from energy_agent.query.machine import usable_cpus, usable_memory_b
print(usable_cpus(), usable_memory_b(), *duckdb.sql("select current_setting('memory_limit')").fetchall()[0])
"""


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("0::/", (48, 64000)),
        ("0::/user.slice | user.slice/cpu.max max 100000 | user.slice/memory.max max", (48, 64000)),
        ("0::/pod/c | pod/cpu.max 350000 100000 | pod/c/cpu.max max 100000 | pod/c/memory.max 2000", (4, 2000)),
        ("0::/pod/c d:e | pod/memory.max 1000 | pod/memory.swap.max 5", (48, 1000)),
        ("0::/ | cpu.max 50000 100000 | memory.max 128000", (1, 64000)),
        (
            "9:cpu,cpuacct:/docker/3f\n4:memory:/docker/3f\n1:name=systemd:/docker\n0::/"
            " | cpu,cpuacct/cpu.cfs_quota_us 150000 | cpu,cpuacct/cpu.cfs_period_us 50000 | memory/memory.limit_in_bytes 3000",
            (3, 3000),
        ),
        (
            "9:cpu:/\n4:memory:/a | cpu/cpu.cfs_quota_us -1 | cpu/cpu.cfs_period_us 100000"
            " | memory/a/memory.limit_in_bytes 9223372036854771712",
            (48, 64000),
        ),
    ],
    ids=[
        "none",
        "unlimited",
        "quota of the pod",
        "lower limit above",
        "namespace",
        "version 1 container",
        "version 1 unlimited",
    ],
)
def test_cgroups_limit_cpus_and_memory(tmp_path, monkeypatch, layout, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(48))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 16, "SC_PAGE_SIZE": 4000}.get)
    membership, *files = layout.split(" | ")
    for line in (f"../../../proc/self/cgroup {membership}", *files):
        name, text = line.split(maxsplit=1)
        path = (tmp_path / "sys/fs/cgroup" / name).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert (usable_cpus(tmp_path), usable_memory_b(tmp_path)) == expected


def test_an_engine_takes_all_cpus_and_half_of_the_memory_unless_options_name_others(monkeypatch):
    monkeypatch.setattr("energy_agent.query.engine.usable_cpus", lambda: 3)
    monkeypatch.setattr("energy_agent.query.engine.usable_memory_b", lambda: 3 * 10**9)
    settings = "SELECT current_setting('threads'), current_setting('memory_limit'), current_setting('temp_directory')"
    for chosen, expected in (((0, 0), (3, "1.3 GiB")), ((2, 1000), (2, "953.6 MiB")), ((0, 250), (2, "238.4 MiB"))):
        with open_engine(EngineOptions(*chosen)) as engine:
            *limits, scratch = engine.execute(settings).fetchall()[0]
            assert (*limits, Path(scratch).is_dir()) == (*expected, True)


@pytest.mark.peer
def test_limits_of_a_real_cgroup_are_those_that_duckdb_finds():
    """Memory by the kernel's own controller; CPUs by the affinity that taskset sets, which DuckDB ignores."""
    old = Path("/sys/fs/cgroup/memory")
    cgroup = (old if old.is_dir() else Path("/sys/fs/cgroup")) / f"wattlens-test-{os.getpid()}"
    try:
        cgroup.mkdir()
        (cgroup / ("memory.limit_in_bytes" if old.is_dir() else "memory.max")).write_text(str(LIMIT_B))
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error}")
    try:
        words = ["sh", "-c", f'echo $$ > {cgroup}/cgroup.procs && exec taskset -c 0 "$0" -c "$1"', sys.executable, PRINT]
        printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    finally:
        cgroup.rmdir()
    assert printed.split() == ["1", str(LIMIT_B), "2.4", "GiB"]  # 80 %
