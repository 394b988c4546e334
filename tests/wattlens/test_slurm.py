"""Jobs that get a comment, and its text; sacct and sacctmgr as programs that fail."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.units import NS_PER_S
from reports.figures.energy import BoundedEnergy
from wattlens.job.statement import JobNode, JobReport
from wattlens.slurm import EndedJob, SlurmAccounting, comment_of, is_recorded, jobs_to_record, parse_jobs

NOW_NS = 1_796_000_000 * NS_PER_S


def job(comment="", ended_s=600, *, has_gpus=True, nodes=1):
    return EndedJob("7", "7", "test", NOW_NS - 3600 * NS_PER_S, NOW_NS - ended_s * NS_PER_S, has_gpus, nodes, comment)


def report(energy_uj=27_000 * 10**6, steps=60, gain_uj=10**9, unbounded=0):
    energy = BoundedEnergy(energy_uj, gain_uj, 0, 0, unbounded)
    node = JobNode("test", "gpu17", 1, 2, energy_uj, 0, 3600 * NS_PER_S, 0, NS_PER_S)
    return JobReport(
        address="slurm/7", source="test", labels={}, first_ns=0, last_ns=NS_PER_S, energy=energy, active_uj=energy_uj,
        idle_uj=0, gpu_uj=energy_uj, active_ns=3600 * NS_PER_S, idle_ns=0, gpus=2, gpus_peak=2, nodes=(node,), workloads=1,
        steps={"training": steps} if steps else {}, tokens={}, phases={}, whole_nodes=False, gpus_only="", simulated=False,
    )  # fmt: skip


def test_jobs_with_gpus_that_ended_a_while_ago_get_one_comment():
    jobs = [
        job(),
        job(ended_s=60),
        job(has_gpus=False),
        job("by hand"),
        job("wattlens energy_j=1"),
        job("a; wattlens energy_j=1"),
    ]
    assert jobs_to_record(jobs, NOW_NS, 120 * NS_PER_S) == [jobs[0], jobs[3]]


@given(st.text(max_size=40), st.integers(0, 10**18), st.integers(0, 10**6))
def test_a_written_comment_marks_its_job_and_keeps_what_was_there(before, energy_uj, steps):
    comment = comment_of(job(before), report(energy_uj, steps))
    assert is_recorded(comment)
    assert comment.startswith(before)
    words = dict(word.split("=") for word in comment.rpartition("wattlens ")[2].split())
    assert int(words["energy_j"]) == round(energy_uj / 10**6)
    assert ("j_per_step" in words) == (steps > 0)


def test_figures_that_are_not_available_are_left_out():
    comment = comment_of(job(), report(steps=0, unbounded=1))
    assert comment == "wattlens energy_j=27000 idle_j=0 gpu_h=1 nodes=1 boundary=gpu"


def test_nodes_without_energy_are_named():
    assert "nodes=1 allocated_nodes=4" in comment_of(job(nodes=4), report())


def test_output_of_sacct_is_parsed_and_refused():
    text = "12_3#14#test#1796011488#1796011495#billing=2,cpu=2,gres/gpu=4,node=2#a|b\n13#13#test#1#Unknown#cpu=1#\n"
    (ended,) = parse_jobs(text, "#")
    assert ended.nodes == 2
    assert (ended.job_id, ended.raw_id, ended.has_gpus, ended.comment) == ("12_3", "14", True, "a|b")
    with pytest.raises(WattlensError, match="expected 7 fields"):
        list(parse_jobs("slurmdbd is down\n", "#"))


def test_a_comment_of_several_lines_is_one_jobs():
    text = "12#12#test#1#2#gres/gpu=1#checked|\nby | hand\n\n13|13|test|1|3|gres/gpu=1|\n13#13#test#1#3#gres/gpu=1#\n"
    parsed = [(job.job_id, job.comment) for job in parse_jobs(text, "#")]
    assert parsed == [("12", "checked| by | hand  13|13|test|1|3|gres/gpu=1|"), ("13", "")]


def test_energy_without_cgroups_is_marked_as_partial(tmp_path):
    program = tmp_path / "scontrol"
    program.write_text("#!/bin/sh\necho 'ProctrackType           = proctrack/linuxproc'\n")
    program.chmod(0o755)
    tracking = SlurmAccounting(tmp_path).process_tracking()
    assert tracking == "linuxproc"
    assert " partial=proctrack boundary=gpu" in comment_of(job(), report(), tracking)
    assert "partial" not in comment_of(job(), report(), "cgroup")


def test_a_program_that_fails_or_is_missing_is_an_error_with_its_reason(tmp_path):
    with pytest.raises(UsageError, match="not found; name the folder of Slurm's programs with --slurm"):
        SlurmAccounting(tmp_path).ended_jobs(0)
    for name in ("sacct", "sacctmgr", "scontrol"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'error: no slurmdbd' >&2\nexit 1\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    accounting = SlurmAccounting(tmp_path)
    with pytest.raises(WattlensError, match="sacct: error: no slurmdbd"):
        accounting.ended_jobs(0)
    with pytest.raises(WattlensError, match="scontrol: error: no slurmdbd"):
        accounting.process_tracking()
    with pytest.raises(WattlensError, match="sacctmgr: error: no slurmdbd"):
        accounting.write(job(), "wattlens energy_j=1")
    with pytest.raises(WattlensError, match="sacctmgr: Argument list too long"):
        accounting.write(job(), "x" * 200_000)
