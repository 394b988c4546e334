"""`wattlens dvfs`: what the actuator holds now, which policies there are, and putting back what a dead actuator left."""

import argparse
import json
from collections.abc import Callable

from wattlens.cli._command import Command, as_sentence, print_table
from wattlens.cli._options import add_actuator_socket
from wattlens.cli.actuator import actuator_config, add_place_options
from wattlens.cli.dvfs import policy, replay, status, switch
from wattlens.cli.dvfs import sweep as _dvfs_sweep


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=as_sentence(text))
        parser.set_defaults(act=run)
        return parser

    shown = action("status", "show leases and settings, and each group's error budget, decisions and proven saving", status.run)
    add_actuator_socket(shown)
    policy.configure(action("policy", "list the policies with their options, and the knee table", policy.run))
    switch.configure(action("off", "stop steering: restore all original settings and set nothing", switch.run), off=True)
    switch.configure(action("on", "allow steering again", switch.run), off=False)
    replay.configure(action("replay", "evaluate a training policy on measured tables", replay.run))
    sweep = action("sweep", "measure a workload's time and power at several clocks or power limits", _dvfs_sweep.run)
    _dvfs_sweep.configure(sweep)
    restore = action("restore", "restore settings that a killed actuator left", _restore)
    add_place_options(restore)
    for one in (shown, restore):
        one.add_argument("--json", action="store_true", help="print JSON")


def _run(args: argparse.Namespace) -> int:
    return int(args.act(args))


def _restore(args: argparse.Namespace) -> int:
    from dvfs.actuator.supervisor import restore

    config = actuator_config(args)
    known = config.state.is_dir()
    results, clean = restore(config)
    if args.json:
        rows = [{"device": r.device, "knob": r.knob, "outcome": r.outcome, "value": r.value} for r in results]
        print(json.dumps({"clean": clean, "restored": rows}, indent=2))
    elif not results:
        print("Nothing to restore." if known else f"Nothing to restore: no actuator has used {config.state}.")
    else:
        print_table(
            [
                ("UUID", "KNOB", "OUTCOME", "VALUE"),
                *((r.device, r.knob, _OUTCOMES.get(r.outcome, r.outcome), str(r.value)) for r in results),
            ]
        )
    return 0 if clean else 1


_OUTCOMES = {
    "restored": "restored",
    "foreign": "not changed: another program has changed the setting since",
    "new_epoch": "not changed: the machine or the driver has restarted since",
}


SPEC = Command("show, pause and test steering of clocks and power limits", _configure, _run)
