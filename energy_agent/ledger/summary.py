"""Energy of selected rows with its bounds, for reports, exports and the agent's summary. Pure."""

from collections.abc import Iterable, Mapping

from energy_agent.core.boundary import is_gpu, is_host, is_meter
from energy_agent.ledger.rows.kinds import PPM, Cell, DeviceFacts, EdgeRow, GapRow, Row, key_of
from energy_agent.ledger.rows.uncertainty import Bounds, EdgeRun, combine, systematic_uj


def gains(rows: Iterable[Row]) -> dict[str, int]:
    """Gain uncertainty of each device in ppm; the largest of its facts where there are several."""
    kept = list(rows)
    gains_ppm: dict[str, int] = {}
    for row in kept:
        if isinstance(row, DeviceFacts):
            gains_ppm[row.uuid] = max(gains_ppm.get(row.uuid, 0), row.gain_ppm)
    hosts = {device: ppm for device, ppm in gains_ppm.items() if is_host(device)}
    return gains_ppm | host_gains(hosts, gains_ppm, _energy(kept)) if hosts else gains_ppm


def host_gains(hosts: Mapping[str, int], gain_ppm: Mapping[str, int], energy_uj: Mapping[str, int]) -> dict[str, int]:
    """Gain uncertainty of hosts in ppm of their own energy.

    A host is its node's meter minus the GPUs: its systematic error is that of the meter on all of the node's energy, plus the
    GPUs' own. Hosts of several nodes share it in proportion to their energy, so that it is right for their sum.

    Args:
        hosts: gain uncertainty of the meter of record of each.
        gain_ppm: that of the GPUs.
        energy_uj: energy of the hosts and of the GPUs around which they are.
    """
    own_uj = sum(energy_uj.get(device, 0) for device in hosts)
    gpus = {device: uj for device, uj in energy_uj.items() if is_gpu(device)}
    wrong_uj = systematic_uj(own_uj + sum(gpus.values()), max(hosts.values()))
    wrong_uj += sum(systematic_uj(uj, gain_ppm[device]) for device, uj in gpus.items())
    # `systematic_uj` returns m x g / (1 - g), which is m x wrong / own for this g.
    ppm = min(PPM - 1, -(-PPM * wrong_uj // (own_uj + wrong_uj))) if wrong_uj else 0
    return dict.fromkeys(hosts, ppm)


def _energy(rows: Iterable[Row]) -> dict[str, int]:
    energy: dict[str, int] = {}
    for row in rows:
        if isinstance(row, Cell):
            energy[row.device] = energy.get(row.device, 0) + row.energy_uj
    return energy


def bounds(rows: Iterable[Row], *, workload: str | None = None, device: str | None = None) -> Bounds:
    """Energy and bounds of whole devices, or of one workload over its active and idle time.

    Args:
        rows: cells, spans, gaps and device facts of the time in question, of any number of segments of one or more nodes.
        workload: only this one; then gaps, which belong to nobody, are left out of the upper bound.
        device: only this one; None: every GPU and host, but no meter of a building, which contains them.

    Raises:
        KeyError: a device without facts: no number without its error.
    """
    kept = list(rows)
    energy: dict[str, int] = {}
    runs: dict[str, list[EdgeRun]] = {}
    gaps = []
    for row in kept:
        if not isinstance(row, Cell | EdgeRow | GapRow) or device not in (None, row.device):
            continue
        if device is None and is_meter(row.device):  # it contains others: only one of its own is a sum
            continue
        if isinstance(row, Cell) and workload in (None, row.workload):
            energy[row.device] = energy.get(row.device, 0) + row.energy_uj
        elif isinstance(row, EdgeRow) and row.workload == (workload or ""):
            runs.setdefault(row.device, []).append(row.run)
        elif isinstance(row, GapRow) and workload is None:
            gaps.append(row.bound_uj)
    return combine(energy, gains(kept), runs.values(), gaps)


def cell_bounds(cells: Iterable[Cell], gain_ppm: Mapping[str, int]) -> Bounds:
    """Energy and bounds of any choice of cells (one row, one state, one method), from the cells' own edges.

    Wider than `bounds` over the same energy, since a change between active and idle does not cancel here.
    """
    energy: dict[str, int] = {}
    runs: dict[tuple[object, ...], list[EdgeRun]] = {}
    for cell in cells:
        energy[cell.device] = energy.get(cell.device, 0) + cell.energy_uj
        runs.setdefault(key_of(cell)[2:], []).append(cell.run)
    return combine(energy, gain_ppm, runs.values())
