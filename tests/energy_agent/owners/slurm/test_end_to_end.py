"""The real agent on a simulated node whose scontrol says what a real one said: a GPU that is held and rests is the job's."""

import yaml

from energy_agent.sim import scenario
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.node import SimulatedNode
from tests.energy_agent.agents import AgentProcess
from tests.energy_agent.owners.slurm.replay import driver, install
from tests.support import eventually

NODE = b"""
boards: [{count: 4, sku: H100-SXM5-80GB}]
workloads:
  - {name: train, kind: burst, gpus: [2], cgroup: /system.slice/slurmstepd.scope/job_28/step_0/user/task_0, on_s: 1, off_s: 0.2}
"""


def test_energy_of_gpus_that_a_job_holds_goes_to_the_job_busy_or_idle(tmp_path):
    with SimulatedNode.start(scenario.parse(NODE, "test"), tmp_path / "node") as node:
        plant = Plant.attach(node.directory / "plant")
        uuids = [plant.uuid(gpu) for gpu in range(4)]
        plant.close()
        driver(node.directory / "proc", uuids)
        scontrol = install(tmp_path / "bin")
        slurm = {"scontrol": str(scontrol), "node": "gpu17", "gres_conf": str(tmp_path / "bin/gres.conf"), "period_s": 1}
        (tmp_path / "agent.yaml").write_text(yaml.safe_dump({"holders": {"slurm": slurm}}))
        with AgentProcess(tmp_path / "state", node.directory, "--config", tmp_path / "agent.yaml") as agent:

            def joules():
                return {
                    (d["workload"], uuids.index(d["uuid"]), d["state"]): value
                    for labels, value in agent.series("wattlens_workload_energy_joules_total").items()
                    if (d := dict(labels))
                }

            # Index 0 and 1 are /dev/nvidia2, where the job works, and /dev/nvidia3, where it has no process.
            eventually(lambda: joules().get(("slurm-28", 3, "idle"), 0) > 100)
            recorded = joules()
            assert recorded["slurm-28", 2, "active"] > recorded["slurm-28", 3, "idle"]
            assert {workload for workload, _, _ in recorded} == {"slurm-28", "slurm-35", "slurm-42"}
            assert {gpu for workload, gpu, _ in recorded if workload == "slurm-42"} == {1}
            (info,) = [d for labels in agent.series("wattlens_workload_info") if (d := dict(labels))["workload"] == "slurm-28"]
            assert info["owner"] == "Job/28"

            def unallocated_j():
                return sum(agent.series("wattlens_gpu_unallocated_energy_joules_total").values())

            # What was unallocated until scontrol had answered counts for less and less.
            eventually(lambda: unallocated_j() < 0.1 * sum(joules().values()))
            key = (("source", "holders:slurm"),)
            eventually(lambda: agent.series("wattlens_source_up")[key] == 1)
            (tmp_path / "bin/fault").write_text("echo 'connect failure' >&2; exit 1")
            eventually(lambda: agent.series("wattlens_source_up")[key] == 0)
            before = joules()["slurm-28", 3, "idle"]
            eventually(lambda: joules()["slurm-28", 3, "idle"] > before)
