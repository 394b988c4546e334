"""Segments as the agents of `report_fleet` would write them, generated directly.

tests/benchmarks/test_report_segments.py records some nodes' days with the product's own ledger and compares every byte. Only
this module assembles the text by hand: a fleet's quarter has three million segments, and the ledger is designed for one second
of one node.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.report_fleet import (
    BOUND_UJ_S,
    CELL_NS,
    DEAD,
    DEAD_REASON,
    GPUS,
    HELD,
    HOLE_NS,
    HOLE_REASON,
    HOLED,
    SHARED,
    UNHELD,
    JobPlacement,
    NodeCell,
    S,
    Use,
    device_name,
    edge_uj,
    node_name,
    start_ns,
)
from energy_agent.core.units import split_integer
from energy_agent.ledger.rows.text import canonical
from energy_agent.ledger.segments import segment

CLUSTER: Final = "fleet"
SKU, HOST_SKU = "NVIDIA H100 80GB HBM3", "node meter"
GAIN_PPM, HOST_GAIN_PPM = 50_000, 20_000
BOOT, VERSION = "boot-1", "0.1.0"


class ChainEnd(NamedTuple):
    """The end of a node's chain: number of the next segment, hash of the last."""

    sequence: int = 0
    sha256: str = segment.FIRST_PREVIOUS


def host_name(node: int) -> str:
    """The device that is a node's host."""
    return f"host:{CLUSTER}:{node_name(node)}"


def labels(stay: JobPlacement) -> dict[str, str]:
    """Labels of a pod."""
    job = stay.job
    labels = {"namespace": job.team, "pod": f"{job.group}-{stay.workload[4:8]}", "team": job.team, "project": job.project}
    labels |= {"model": job.model, "precision": job.precision, "class": job.price_class, "group": job.group}
    return {key: value for key, value in labels.items() if value}


def host_shares(cell: NodeCell) -> list[tuple[str, int]]:
    """(workload, weight) of the node's workloads in a cell, in the order of their names; "" is unallocated."""
    weights: dict[str, int] = {}
    for use in cell.uses:
        if use.form == UNHELD:
            weights[""] = weights.get("", 0) + 2
        for stay in use.holders:
            weights[stay.workload] = weights.get(stay.workload, 0) + 2 // len(use.holders)
    return sorted(weights.items()) or [("", 1)]


def node_lines(node: int, cells: Iterable[NodeCell]) -> list[str]:
    """The rows of a segment, as text in their order."""
    lines: list[str] = []
    named: dict[str, JobPlacement] = {}
    devices = [device_name(node, gpu) for gpu in range(GPUS)]
    edges = [edge_uj(node, gpu) for gpu in range(GPUS)]
    for cell in cells:
        start = start_ns(cell.cell)
        lines += _gpu_lines(start, cell, devices, edges)
        lines += _host_lines(start, cell, host_name(node), edge_uj(node, GPUS))
        head, end = f'{{"cell_start_ns":{start},"end_ns":{start + CELL_NS},"kind":', f'"start_ns":{start},'
        for stay, generated, prompted in cell.tokens:
            of = f'{head}"tokens","model":"{stay.job.model}","phase":'
            lines.append(f'{of}"generation",{end}"tokens":{generated},"workload":"{stay.workload}"}}')
            lines.append(f'{of}"prompt",{end}"tokens":{prompted},"workload":"{stay.workload}"}}')
        for stay, steps in cell.steps:
            lines.append(f'{head}"steps","phase":"train",{end}"steps":{steps},"workload":"{stay.workload}"}}')
        for use in cell.uses:
            for stay in use.holders:
                named[stay.workload] = stay
    lines += _facts(devices, host_name(node), named)
    lines.sort()
    return lines


def _gpu_lines(start: int, cell: NodeCell, devices: list[str], edges: list[int]) -> Iterator[str]:
    end = start + CELL_NS
    for use, device, e in zip(cell.uses, devices, edges, strict=True):
        form = use.form
        if form == DEAD:
            yield _gap(start, device, DEAD_REASON, start, end)
            continue
        pre = f'{{"cell_start_ns":{start},"device":"{device}","edge_first_uj":{e},"edge_inner_uj":'
        whole = f'0,"edge_last_uj":{e},"end_ns":{end},"kind":"span","start_ns":{start},"workload":"'
        if form == HELD:
            name, k = use.holders[0].workload, use.pieces
            inner = 2 * e * (k - 1)
            busy_end = end - use.idle_ns // k
            yield (
                f'{pre}{inner},"edge_last_uj":{e},"end_ns":{busy_end},"energy_uj":{use.active_uj},"gpu_ns":{use.active_ns},'
                f'"kind":"cell","method":"counter","start_ns":{start},"state":"active","workload":"{name}"}}'
            )
            if use.idle_ns:
                yield (
                    f'{pre}{inner},"edge_last_uj":{e},"end_ns":{end},"energy_uj":{use.idle_uj},"gpu_ns":{use.idle_ns},"kind":'
                    f'"cell","method":"counter","start_ns":{start + use.active_ns // k},"state":"idle","workload":"{name}"}}'
                )
            yield f'{pre}{whole}"}}'
            yield f'{pre}{whole}{name}"}}'
        elif form == UNHELD:
            yield (
                f'{pre}0,"edge_last_uj":{e},"end_ns":{end},"energy_uj":{use.idle_uj},"gpu_ns":0,'
                f'"kind":"cell","method":"counter","start_ns":{start},"state":"unheld","workload":""}}'
            )
            yield f'{pre}{whole}"}}'
        elif form == SHARED:
            yield f'{pre}{whole}"}}'
            for stay, ns, uj, of in shared(use, e):
                pre = (
                    f'{{"cell_start_ns":{start},"device":"{device}","edge_first_uj":{of},"edge_inner_uj":0,"edge_last_uj":{of},'
                )
                yield (
                    f'{pre}"end_ns":{end},"energy_uj":{uj},"gpu_ns":{ns},"kind":"cell","method":"counter",'
                    f'"start_ns":{start},"state":"active","workload":"{stay.workload}"}}'
                )
                yield f'{pre}"end_ns":{end},"kind":"span","start_ns":{start},"workload":"{stay.workload}"}}'
        else:
            assert form == HOLED
            name = use.holders[0].workload
            yield (
                f'{pre}{2 * e},"edge_last_uj":{e},"end_ns":{end},"energy_uj":{use.active_uj},"gpu_ns":{use.active_ns},'
                f'"kind":"cell","method":"counter","start_ns":{start},"state":"active","workload":"{name}"}}'
            )
            for who in ("", name):
                yield f'{pre}{2 * e},"edge_last_uj":{e},"end_ns":{end},"kind":"span","start_ns":{start},"workload":"{who}"}}'
            yield _gap(start, device, HOLE_REASON, start + HOLE_NS, start + 2 * HOLE_NS)


def shared(use: Use, e: int) -> Iterator[tuple[JobPlacement, int, int, int]]:
    """(holder, device time, energy, edge) of the two that share a GPU; both are busy."""
    one, other = use.holders
    yield one, use.active_ns, use.active_uj, e - e // 3
    yield other, use.idle_ns, use.idle_uj, e // 3


def _gap(cell: int, device: str, reason: str, start: int, end: int) -> str:
    bound = (end - start) // S * BOUND_UJ_S
    return (
        f'{{"bound_uj":{bound},"cell_start_ns":{cell},"device":"{device}","end_ns":{end},"kind":"gap","reason":"{reason}",'
        f'"start_ns":{start}}}'
    )


def _host_lines(start: int, cell: NodeCell, device: str, e: int) -> Iterator[str]:
    end = start + CELL_NS
    pre = f'{{"cell_start_ns":{start},"device":"{device}","edge_first_uj":'
    shares = host_shares(cell)
    weights = [weight for _, weight in shares]
    for (name, _), uj, of in zip(shares, split_integer(cell.host_uj, weights), split_integer(e, weights), strict=True):
        run = f'{pre}{of},"edge_inner_uj":0,"edge_last_uj":{of},"end_ns":{end},'
        yield (
            f'{run}"energy_uj":{uj},"gpu_ns":0,"kind":"cell","method":"counter","start_ns":{start},'
            f'"state":"{"active" if name else "unheld"}","workload":"{name}"}}'
        )
        if name:
            yield f'{run}"kind":"span","start_ns":{start},"workload":"{name}"}}'
    yield f'{pre}{e},"edge_inner_uj":0,"edge_last_uj":{e},"end_ns":{end},"kind":"span","start_ns":{start},"workload":""}}'


def _facts(devices: list[str], host: str, named: dict[str, JobPlacement]) -> Iterator[str]:
    since = f'"since_ns":{start_ns(0)},"sku":'
    for device in devices:
        yield f'{{"counter_scope":"gpu:stated","device":"{device}","gain_ppm":{GAIN_PPM},"kind":"device",{since}"{SKU}"}}'
    yield f'{{"counter_scope":"unknown","device":"{host}","gain_ppm":{HOST_GAIN_PPM},"kind":"device",{since}"{HOST_SKU}"}}'
    for name, stay in named.items():
        yield (
            f'{{"kind":"workload","labels":{canonical(labels(stay))},"since_ns":{start_ns(stay.start)},'
            f'"workload":"{name}","workload_kind":"pod"}}'
        )


def encode(node: str, head: ChainEnd, span: tuple[int, int], lines: list[str]) -> bytes:
    """A segment of these rows."""
    header = {
        "boot_id": BOOT, "cluster": CLUSTER, "from_ns": span[0], "kind": "segment", "node": node, "previous": head.sha256,
        "rows": len(lines), "schema": segment.SCHEMA, "sequence": head.sequence, "simulated": True, "to_ns": span[1],
        "version": VERSION,
    }  # fmt: skip
    return "\n".join([canonical(header), *lines, ""]).encode("ascii")


def write(folder: Path, node: str, head: ChainEnd, span: tuple[int, int], lines: list[str]) -> tuple[ChainEnd, int]:
    """Put a segment into a folder; (where the chain stands then, bytes of the file)."""
    data = encode(node, head, span, lines)
    packed = segment.compress(data)
    (folder / segment.file_name(CLUSTER, node, head.sequence)).write_bytes(packed)
    return ChainEnd(head.sequence + 1, hashlib.sha256(data).hexdigest()), len(packed)
