"""`wattlens dvfs off` and `on`: the kill switch. It is a file that the actuator itself looks at, twice a second."""

import getpass
import os
import time
from argparse import Namespace
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from energy_agent.core.errors import WattlensError
from wattlens.cli._command import Command, CommandOptions, print_json
from wattlens.cli._options import add_actuator_socket

if TYPE_CHECKING:
    from dvfs.actuator.client import ActuatorClient

_BACK_S = 15.0  # time to restore all original settings: one write per device, each bounded by the timeout of its child process


def _configure(add: CommandOptions, *, off: bool) -> None:
    add_actuator_socket(add)
    add("--file PATH", "file of the kill switch (default: the actuator's)")
    add("--state DIR", "the actuator's state folder, used if no actuator responds (default: actuator/ in the agent's)")
    if off:
        add("--reason TEXT", "reason, written to the file", default="")
    add("--json", "print JSON")
    add.parser.set_defaults(off=off)


def _run(args: Namespace) -> int:
    """Turn it and wait for what comes of it: 0 when nothing is set any more (off), or when the switch is gone (on)."""
    from dvfs.actuator.client import ActuatorClient, ActuatorError, default_socket
    from dvfs.actuator.kill_switch import FILE
    from wattlens.state_folder import default_state_dir

    socket = args.socket or default_socket()
    with ActuatorClient(socket, name="wattlens dvfs switch") as client:
        try:
            switch = client.status().kill_switch
        except ActuatorError as error:
            if error.code != "unreachable":
                raise
            switch = None
        path = args.file or Path(switch or (args.state or default_state_dir() / "actuator").absolute() / FILE)
        if args.off and switch is None and args.file is None and args.state is None and not path.parent.is_dir():
            raise WattlensError(
                f"dvfs off: expected an actuator on this machine, got no response at {socket} and no folder {path.parent}; "
                "to block steering before an actuator is installed, name its state folder with --state"
            )
        if switch and args.file is not None and args.file.absolute() != Path(switch):
            raise WattlensError(f"--file {args.file}: the actuator at {socket} uses {switch}")
        _turn(path, args.reason if args.off else None)
        if not args.off and switch:
            _turn_others(client, path)
        unfinished = _changed(client) if args.off and switch is not None else []
    if args.json:
        print_json({"off": args.off, "switch": str(path), "actuator": switch is not None, "changed": unfinished})
    elif not args.off:
        print(f"The kill switch is off: steering is allowed again ({path} is removed).")
    elif switch is None:
        print(
            f"The kill switch {path} is on. No actuator responds at {socket}; an actuator that starts with this file "
            "applies no setting."
        )
    elif unfinished:
        names = ", ".join(unfinished)
        print(f"The kill switch {path} is on, but these GPUs are not restored yet: {names}. See wattlens dvfs status.")
    else:
        print(f"The kill switch {path} is on: every original setting is restored, and no setting is applied.")
    return 1 if unfinished else 0


def _turn(path: Path, reason: str | None) -> None:
    try:
        if reason is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        who = getpass.getuser() if os.environ.get("USER") or os.geteuid() == 0 else f"uid {os.geteuid()}"
        path.write_text(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {who} {reason}".strip() + "\n")
    except OSError as error:
        raise WattlensError(
            f"cannot {'remove' if reason is None else 'write'} the kill switch {path}: {error.strerror}"
        ) from error


def _turn_others(client: "ActuatorClient", path: Path) -> None:
    """Remove the other file that keeps the switch on: the state folder's, where the actuator's configuration names another.

    Raises:
        WattlensError: it is still on.
    """
    done = {path}
    while (status := client.status()).killed:
        other = Path(status.kill_switch)
        if other in done:
            raise WattlensError(f"{other}: the kill switch is still on")
        _turn(other, None)
        done.add(other)


def _changed(client: "ActuatorClient") -> list[str]:
    """Return the devices that do not have their original settings when the time is over."""
    from dvfs.actuator.client import ActuatorError

    end = time.monotonic() + _BACK_S
    unrestored: list[str] = []
    while time.monotonic() < end:
        with suppress(ActuatorError):
            status = client.status()
            unrestored = [str(d["device"]) for d in status.devices if d["changed"]]
            if status.killed and not unrestored:
                return []
        time.sleep(0.2)
    return unrestored


OFF = Command("stop steering: restore all original settings and set nothing", partial(_configure, off=True), _run)
ON = Command("allow steering again", partial(_configure, off=False), _run)
