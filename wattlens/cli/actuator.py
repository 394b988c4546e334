"""`wattlens actuator`: the only process that writes clocks and power limits; it restores the original settings when it ends."""

import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from wattlens.cli._command import Command, CommandOptions
from wattlens.cli._options import add_simulate, simulated_node

if TYPE_CHECKING:
    from dvfs.actuator.supervisor import ActuatorConfig


def add_place_options(add: CommandOptions) -> None:
    """Add the options that locate an actuator; `wattlens dvfs restore` needs them too."""
    add("--state DIR", "journal and locks (default: actuator/ in the agent's state folder)")
    add_simulate(add, "steer the simulated node that runs in DIR (see wattlens sim) instead of this machine's GPUs")


def actuator_config(args: Namespace, socket: Path | None = None, file: Path | None = None) -> "ActuatorConfig":
    """Return the actuator configuration from the command line.

    Raises:
        UsageError: the file is invalid, or the command line names a simulated node that is not running.
    """
    from dvfs.actuator.allow_list import ActuatorFile, load
    from dvfs.actuator.kill_switch import FILE, KillSwitch
    from dvfs.actuator.records.epoch import machine_epoch
    from dvfs.actuator.records.journal import Epoch
    from dvfs.actuator.supervisor import ActuatorConfig
    from energy_agent.devices.nvml.library import RealNvml
    from energy_agent.runtime.clock import RealClock, SimulatedClock
    from wattlens.state_folder import default_state_dir

    rules = load(file, simulated=args.simulate is not None) if file else ActuatorFile()
    library, epoch = None, machine_epoch
    clock: RealClock | SimulatedClock = RealClock()
    simulated = simulated_node(args.simulate)
    if simulated is not None:
        from energy_agent.devices.nvml.driver_epoch import simulated_driver_epoch
        from energy_agent.sim.gpu.build import SONAME, library_path

        node = simulated.absolute()
        clock = SimulatedClock(node / "plant")
        boot_id = clock.boot_id()
        library = node / "lib" / SONAME if (node / "lib" / SONAME).exists() else library_path()
        os.environ["WATTLENS_SIM"] = str(node)  # the simulated library finds its plant by it

        def epoch() -> Epoch:
            return Epoch(boot_id, simulated_driver_epoch(node / "plant"))

    else:
        os.environ.pop("WATTLENS_SIM", None)
    path = (socket or _default_socket()).absolute()
    state = (args.state or default_state_dir() / "actuator").absolute()
    return ActuatorConfig(
        socket=path,
        state=state,
        open_nvml=lambda: RealNvml(library),
        allow=rules.allow,
        kill_switch=KillSwitch([*([rules.kill_switch] if rules.kill_switch else []), state / FILE]),
        simulated=simulated is not None,
        epoch=epoch,
        utc_ns=clock.utc_ns,
    )


def _default_socket() -> Path:
    from dvfs.actuator.client import default_socket

    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]  # of a systemd unit, which can write no other in /run
    return Path(folder) / "actuator.sock" if folder else default_socket()


def _configure(add: CommandOptions) -> None:
    add("--config FILE", "YAML file with the keys 'allow' and 'kill_switch' (default: nothing is allowed)")
    add("--socket PATH", "socket to listen on (default: /run/wattlens/actuator/actuator.sock as root)")
    add_place_options(add)


def _run(args: Namespace) -> int:
    import logging
    import sys

    from dvfs.actuator.supervisor import serve

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = actuator_config(args, args.socket, args.config)
    if not config.allow.rules:
        logging.getLogger("wattlens.actuator").warning("the allow-list is empty: every lease will be refused; see --config")
    return serve(config)


SPEC = Command("run the actuator: set GPU clocks and power limits, and restore the original ones at exit", _configure, _run)
