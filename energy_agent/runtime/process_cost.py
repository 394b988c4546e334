"""CPU time and memory of the agent's processes, from the kernel."""

import os
from pathlib import Path

from energy_agent.core.snapshot import ProcessCost
from energy_agent.core.units import NS_PER_S


def cost_of(name: str, pid: int) -> ProcessCost | None:
    """CPU and resident memory of a process of ours; None once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu_ns = (int(fields[11]) + int(fields[12])) * (NS_PER_S // os.sysconf("SC_CLK_TCK"))
        return ProcessCost(name, cpu_ns, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, IndexError, ValueError):
        return None
