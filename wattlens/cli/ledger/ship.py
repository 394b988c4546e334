"""`wattlens ledger ship`: copy segments to a folder or object store, once, or again and again as a companion of the agent."""

import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energy_agent.core.errors import UsageError
from wattlens.cli._command import CommandOptions, print_json, warn
from wattlens.cli._options import duration
from wattlens.cli._rounds import attempt, repeat

if TYPE_CHECKING:
    from energy_agent.ledger.chain import Progress

LAST_S: Final = 1.0
"""How long after SIGTERM the last round begins: the agent has written its segment within 0.8 s."""

Find = Callable[[], list[Path]]


def configure(add: CommandOptions) -> None:
    """Arguments of `wattlens ledger ship`."""
    add("source SOURCE", "a state folder or a folder of segments", type=Path)
    add("url URL", "destination: file:///srv/ledger, s3://bucket/ledger or another fsspec URL")
    add(
        "--every TIME",
        "keep running, and copy new segments at this interval, such as 1h, and a last time at SIGTERM",
        type=duration(0.06, 86_400),
    )


def run(arguments: Namespace, find: Find, progress: Callable[[str], "Progress"]) -> int:
    """Copy what is there; with --every, what comes."""
    if arguments.every is not None:
        return _again_and_again(arguments, find)
    from energy_agent.ledger import chain
    from energy_agent.ledger.fleet.ship import ship

    files = find()
    if not files:
        raise UsageError(f"{arguments.source}: has no segments")
    done = ship(files, arguments.url, progress("shipped"))
    report = chain.verify(files, progress=progress("verified"))  # afterwards: what is whole is safe first
    faults = [fault for fault in report.faults if fault.kind != "key"]  # whose key may sign is in the inventory, not here
    local = {fault.line for fault in faults}
    faults += [chain.ChainFault("refused", line) for line in done.refused if not any(line in fault for fault in local)]
    if arguments.json:
        counts = {"copied": done.copied, "there": done.unchanged}
        print_json(counts | {"faults": [asdict(fault) for fault in faults]}, None)
    else:
        print(f"{done.copied} segments copied to {arguments.url}, {done.unchanged} already present")
        for fault in faults:
            warn(f"{fault.kind}: {fault.line}")
    return 1 if faults else 0


def _again_and_again(arguments: Namespace, find: Find) -> int:
    """Run rounds until SIGTERM or SIGINT, and a last one."""
    shipped: set[Path] = set()
    repeat(lambda: _ship_new(arguments, find, shipped), arguments.every)
    # The agent of a node that is preempted or stopped gets its SIGTERM at the same time and writes its last segment.
    time.sleep(LAST_S)
    attempt(lambda: _ship_new(arguments, find, shipped))
    return 0


def _ship_new(arguments: Namespace, find: Find, shipped: set[Path]) -> None:
    """Copy the segments that are not in `shipped`, and add them to it."""
    from energy_agent.ledger.fleet.ship import ship

    files = [path for path in find() if path not in shipped]
    if files:
        done = ship(files, arguments.url)
        shipped.update(path for path in files if not any(str(path) in line for line in done.refused))
        print(f"{done.copied} segments copied to {arguments.url}, {done.unchanged} already present", flush=True)
        for line in done.refused:
            warn(f"refused: {line}")
