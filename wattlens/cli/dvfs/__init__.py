"""`wattlens dvfs`: what the actuator holds now, which policies there are, and putting back what a dead actuator left."""

from argparse import Namespace

from wattlens.cli._command import Command, CommandOptions, print_json, print_table
from wattlens.cli.actuator import actuator_config, add_place_options
from wattlens.cli.dvfs import policy, replay, status, sweep, switch


def _configure_restore(add: CommandOptions) -> None:
    add_place_options(add)
    add("--json", "print JSON")


def _restore(args: Namespace) -> int:
    from dvfs.actuator.supervisor import restore

    config = actuator_config(args)
    has_state = config.state.is_dir()
    results, clean = restore(config)
    if args.json:
        rows = [{"device": r.device, "knob": r.knob, "outcome": r.outcome, "value": r.value} for r in results]
        print_json({"clean": clean, "restored": rows})
    elif not results:
        print("Nothing to restore." if has_state else f"Nothing to restore: no actuator has used {config.state}.")
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


SPEC = Command(
    "show, pause and test steering of clocks and power limits",
    actions={
        "status": status.COMMAND,
        "policy": policy.COMMAND,
        "off": switch.OFF,
        "on": switch.ON,
        "replay": replay.COMMAND,
        "sweep": sweep.COMMAND,
        "restore": Command("restore settings that a killed actuator left", _configure_restore, _restore),
    },
)
