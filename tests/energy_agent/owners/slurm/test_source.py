"""Claims by Slurm from what a real scontrol said: with names that mean harm, hung, failing, too old and gone."""

import json

import pytest

from energy_agent.config.slurm import Slurm
from energy_agent.core.text import is_printable
from energy_agent.owners.command import CommandError, output_of
from energy_agent.owners.slurm.commands import SlurmCommands
from energy_agent.owners.slurm.source import SlurmJobs, open_slurm
from energy_agent.runtime.clock import RealClock
from tests.energy_agent.owners.slurm.replay import CAPTURES, UUIDS, driver, install
from tests.support import eventually

CONFIG = {
    "labels": {"model": "comment.model", "group": "comment.group", "project": "partition"},
    "accounts": {"ml": {"team": "research"}},
}


class SlurmNodeDouble:
    def __init__(self, folder, **config):
        self.folder = folder / "bin"
        scontrol = install(self.folder)
        self.procfs = folder / "proc"
        driver(self.procfs)
        given = {"timeout_s": 60, **CONFIG, **config}
        config = Slurm(scontrol=scontrol, node="gpu17", gres_conf=self.folder / "gres.conf", **given)
        self.source = SlurmJobs(config, SlurmCommands(config, scontrol), RealClock(), self.procfs, wanted=True)

    def gpus_by_job(self):
        by_job = {}
        for claim in self.source.claims().claims:
            by_job.setdefault(claim.workload, []).append(UUIDS.index(claim.device))
        return by_job

    def take_queries(self):
        lines = (self.folder / "asked").read_text().splitlines()
        (self.folder / "asked").unlink()
        return lines

    def say(self, name, change):
        file = self.folder / name
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))


@pytest.fixture
def slurm_node(tmp_path):
    return SlurmNodeDouble(tmp_path)


def test_jobs_hold_what_slurm_gave_them_under_the_names_of_their_cgroups(slurm_node):
    assert slurm_node.source.poll()
    assert slurm_node.gpus_by_job() == {"slurm-28": [2, 3], "slurm-35": [0], "slurm-42": [1]}
    facts = {claim.workload: claim.facts for claim in slurm_node.source.claims().claims}
    assert facts["slurm-28"].kind == "slurm"
    assert facts["slurm-28"].labels == {
        "job": "28", "user": "root", "account": "ml", "partition": "batch", "job_name": "train", "owner": "Job/28",
        "team": "research", "project": "batch", "model": "llama-70b", "group": "g1",
    }  # fmt: skip
    evil = facts["slurm-42"].labels
    assert (evil["owner"], evil["array_task"], evil["job_name"]) == (
        "Job/41",
        "7",
        "evil?   Account=victim GRES=gpu:4(IDX:0-3)",
    )
    assert "account" not in evil
    assert slurm_node.source.claims().unknown == 0
    assert [(h.up, h.device) for h in slurm_node.source.rows()] == [(True, "")]


def test_slurmctld_gets_few_queries_and_new_jobs_are_found(slurm_node):
    assert slurm_node.source.poll()
    slurm_node.take_queries()
    assert slurm_node.source.poll()
    claims_before = slurm_node.source.claims().claims
    asked = slurm_node.take_queries()
    assert "squeue" not in asked
    assert not any("show job 31" in line or "config" in line for line in asked)
    assert len(asked) == 4  # the node and three jobs
    assert slurm_node.source.poll()
    assert slurm_node.source.claims().claims is claims_before
    slurm_node.take_queries()
    (slurm_node.folder / "job-35.json").unlink()  # it has ended, and its shards are another's
    job_file = json.loads((CAPTURES / "job-35.json").read_text())
    job_file["jobs"][0]["job_id"] = 77
    (slurm_node.folder / "job-77.json").write_text(json.dumps(job_file))
    (slurm_node.folder / "squeue.txt").write_text("42|41_7|R\n31|31|R\n28|28|R\n77|77|R\n")
    assert slurm_node.source.poll()
    assert slurm_node.gpus_by_job() == {"slurm-28": [2, 3], "slurm-77": [0], "slurm-42": [1]}
    assert not any("show job 31" in line for line in slurm_node.take_queries())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("exec sleep 60", "did not respond within 0.5 s"),
        ("exec yes", "wrote more than"),
        ("echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1", "Unable to contact slurm controller"),
        ("printf '\\033[2J{'; exit 0", "no JSON"),
        ("kill -9 $$", "exited with status -9"),
    ],
)
def test_a_slurm_that_misbehaves_is_named_and_its_last_answer_stays(tmp_path, fault, reason):
    slurm_node = SlurmNodeDouble(tmp_path, timeout_s=0.5 if "sleep" in fault else 60)
    assert eventually(slurm_node.source.poll)  # a busy machine may take longer than half a second to start a program
    before = slurm_node.source.claims()
    (slurm_node.folder / "fault").write_text(fault)
    assert not slurm_node.source.poll()
    assert slurm_node.source.claims() is before
    (health,) = slurm_node.source.rows()
    assert not health.up
    assert reason in health.reason
    assert is_printable(health.reason)
    (slurm_node.folder / "fault").unlink()
    assert eventually(slurm_node.source.poll)


def test_a_job_on_several_nodes_holds_here_what_it_has_here(slurm_node):
    def spread(reply):
        reply["jobs"][0] |= {"nodes": "gpu[16-17]", "gres_detail": ["gpu:a:2(IDX:2-3)", "gpu:a:2(IDX:0-1)"]}

    slurm_node.say("job-28.json", spread)
    assert slurm_node.source.poll()
    assert slurm_node.gpus_by_job()["slurm-28"] == [2, 3]


@pytest.mark.parametrize("state", [["COMPLETED"], ["CANCELLED"], "TIMEOUT"])
def test_an_ended_job_holds_nothing(slurm_node, state):
    slurm_node.say("job-28.json", lambda reply: reply["jobs"][0].update(job_state=state))
    assert slurm_node.source.poll()
    assert "slurm-28" not in slurm_node.gpus_by_job()
    assert slurm_node.source.claims().unknown == 2  # Slurm still counts them as given away


def test_a_job_that_is_completing_or_suspended_still_holds(slurm_node):
    slurm_node.say("job-28.json", lambda reply: reply["jobs"][0].update(job_state=["COMPLETED", "COMPLETING"]))
    slurm_node.say("job-42.json", lambda reply: reply["jobs"][0].update(job_state=["SUSPENDED"]))
    assert slurm_node.source.poll()
    assert slurm_node.gpus_by_job().keys() == {"slurm-28", "slurm-35", "slurm-42"}


@pytest.mark.parametrize(
    ("job", "change", "owner"),
    [
        # The parts of a heterogeneous job are one group.
        (35, {"het_job_id": {"set": True, "infinite": False, "number": 34}}, "34"),
        # Numbers of older versions are plain.
        (42, {"array_job_id": 41, "array_task_id": 7, "job_state": "RUNNING", "het_job_id": 0}, "41"),
    ],
)
def test_parts_of_a_job_belong_to_the_whole(slurm_node, job, change, owner):
    slurm_node.say(f"job-{job}.json", lambda reply: reply["jobs"][0].update(change))
    assert slurm_node.source.poll()
    (labels,) = [claim.facts.labels for claim in slurm_node.source.claims().claims if claim.workload == f"slurm-{job}"]
    assert labels["owner"] == f"Job/{owner}"
    assert job == 42 or labels["group"] == f"slurm-{owner}"


def test_unidentified_gpus_are_named(slurm_node):
    (slurm_node.folder / "gres.conf").write_text("AutoDetect=nvml\n")  # two types: which is which slurmd alone knows
    assert slurm_node.source.poll()
    assert slurm_node.gpus_by_job() == {}
    rows = slurm_node.source.rows()
    assert {(h.device, h.reason) for h in rows[1:]} == {
        ("gpu IDX 0", "unknown device, assigned to slurm-28"), ("gpu IDX 1", "unknown device, assigned to slurm-28"),
        ("shard IDX 2", "unknown device, assigned to slurm-35"), ("gpu IDX 3", "unknown device, assigned to slurm-42"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("version", "reason"),
    [("slurm-wlm 21.08.5\n", "slurm-wlm 21.08.5 is too old: Slurm 22.05 or later is required for JSON output of scontrol"),
     ("slurm 22.05.0\n", ""), ("slurm 9.9", "slurm 9.9 is too old"), ("unknown\n", "")],
)  # fmt: skip
def test_a_slurm_without_json_is_refused_with_its_version(slurm_node, version, reason):
    (slurm_node.folder / "version.txt").write_text(version)
    assert slurm_node.source.poll() is not bool(reason)
    assert reason in slurm_node.source.rows()[0].reason
    assert not reason or slurm_node.take_queries() == ["--version"]


def test_a_job_that_squeue_still_lists_has_not_ended_because_scontrol_failed(slurm_node):
    assert slurm_node.source.poll()
    (slurm_node.folder / "job-28.json").unlink()
    assert not slurm_node.source.poll()
    assert slurm_node.gpus_by_job()["slurm-28"] == [2, 3], "the last good answer"
    (slurm_node.folder / "squeue.txt").write_text("42|41_7|R\n31|31|R\n35|35|R\n")
    assert slurm_node.source.poll()
    assert "slurm-28" not in slurm_node.gpus_by_job()


def test_no_queries_are_sent_without_slurmd(tmp_path):
    slurm_node = SlurmNodeDouble(tmp_path)
    source = SlurmJobs(
        slurm_node.source._config,
        SlurmCommands(slurm_node.source._config, slurm_node.folder / "scontrol"),
        RealClock(),
        slurm_node.procfs,
        wanted=False,
    )
    assert source.poll()
    assert source.claims().claims == ()
    assert source.rows() == ()
    assert not (slurm_node.folder / "asked").exists()
    (slurm_node.procfs / "77").mkdir()
    (slurm_node.procfs / "77/comm").write_text("slurmd\n")
    assert source.poll()
    assert len(source.claims().claims) == 4
    assert source.rows()


def test_a_simulated_node_does_not_ask_this_machines_slurm(tmp_path):
    assert open_slurm(Slurm(), RealClock(), tmp_path, 0, True) == []
    assert open_slurm(Slurm(scontrol="off"), RealClock(), tmp_path, 0, False) == []


def test_a_program_that_is_not_there_is_a_reason(tmp_path):
    with pytest.raises(CommandError, match="No such file"):
        output_of([str(tmp_path / "scontrol")], 60, 100, {})
