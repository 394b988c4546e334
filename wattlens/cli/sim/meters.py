"""The meters of a simulated building on the command line: their faults, and their readings compared with the true values."""

import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_agent.sim.gpu.faults import FaultKind
    from energy_agent.sim.node import SimulatedNode


def meter_of(text: str) -> str | None:
    """Id of the meter that `meter:ID` names; None: it names no meter."""
    from energy_agent.sim.building.faults import PREFIX

    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else None


def fault_kind(meter: str | None, kind: str, call: str, value: int) -> "FaultKind":
    """The fault of a GPU, or of a meter.

    Raises:
        UsageError: there is no such fault, or it does not take that call or value.
    """
    from energy_agent.core.errors import UsageError
    from energy_agent.sim.building import faults as facility_faults
    from energy_agent.sim.gpu import faults

    if meter is None:
        faults.check_fault(kind, call, value)
        return faults.KINDS[kind]
    if call:
        raise UsageError("--call: cannot be combined with a meter, which has no NVML functions")
    return facility_faults.check(kind, value)


def fault_rows() -> str:
    """The faults of GPUs and of meters for the help."""
    from energy_agent.sim.building import faults as facility_faults
    from energy_agent.sim.gpu import faults

    def rows(kinds: "dict[str, FaultKind]") -> str:
        texts = {
            name: f"  {name:16} {kind.meaning}" + (f"; --value: {kind.value}" if kind.value else "")
            for name, kind in kinds.items()
        }
        return "\n".join(textwrap.fill(text, 79, subsequent_indent=" " * 19) for text in texts.values())

    return f"faults:\n{rows(dict(faults.KINDS))}\n\nfaults of a meter of the building:\n{rows(dict(facility_faults.KINDS))}"


def building_status(node: "SimulatedNode") -> dict[str, Any] | None:
    """True energy and power at each meter of the building, its gain and its faults; None: there is no building."""
    from dataclasses import asdict

    from energy_agent.core.units import UJ_PER_J
    from energy_agent.sim.building import site

    about = node.state().get("facility")
    if about is None:
        return None
    truth, faults = site.truth(node), site.faults(node)
    energy, power = truth.facility.energy_uj, truth.facility.power_mw
    return {
        "host": about["host"],
        "port": about["port"],
        "pue": round(power.total / power.it_input, 4) if power.it_input else None,
        "outside_c": round(truth.facility.outside_c, 2),
        "meters": [
            {
                "id": meter["id"],
                "role": meter["role"],
                "unit": meter["unit"],
                "true_j": energy.at(meter["id"]) / UJ_PER_J,
                "power_w": power.at(meter["id"]) / 1000,
                "gain": truth.gains_ppb[meter["id"]] / 1e9,
                "faults": [asdict(fault) for fault in faults if fault.meter == meter["id"]],
            }
            for meter in about["meters"]
        ],
    }


def show_building(status: dict[str, Any] | None) -> None:
    """Print it as a table."""
    if status is None:
        return
    where = f"{status['host']}:{status['port']}"
    print(f"building: Modbus TCP on {where}, {status['outside_c']:.1f} C outside, PUE now {status['pue']}")
    print(f"{'meter':12} {'role':11} {'unit':>4} {'true J':>14} {'power W':>10} {'gain':>7}  faults")
    for meter in status["meters"]:
        faults = ", ".join(fault["kind"] for fault in meter["faults"]) or "-"
        print(
            f"{meter['id']:12} {meter['role']:11} {meter['unit']:>4} {meter['true_j']:>14.1f} {meter['power_w']:>10.1f}"
            f" {meter['gain']:>7.4f}  {faults}"
        )
