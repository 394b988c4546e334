"""`wattlens dvfs status`: leases and settings from the actuator; error budgets, decisions and savings from the agent."""

from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import WattlensError
from wattlens.cli._command import Command, CommandOptions, print_json, print_table
from wattlens.cli._options import add_actuator_socket

if TYPE_CHECKING:
    from dvfs.actuator.client import ActuatorStatus


def _configure(add: CommandOptions) -> None:
    add_actuator_socket(add)
    add("--json", "print JSON")


def _run(args: Namespace) -> int:
    """Print both; in mode shadow there is no actuator, so one of the two is enough."""
    from dvfs.actuator.client import ActuatorClient, ActuatorError, default_socket

    groups, no_groups = _groups()
    actuator, no_actuator = None, ""
    try:
        with ActuatorClient(args.socket or default_socket(), name="wattlens dvfs status") as client:
            actuator = client.status()
    except ActuatorError as error:
        if error.code != "unreachable" or args.socket:
            raise
        if groups is None:
            raise WattlensError(
                f"{error}; {no_groups}; without an actuator, an agent with `client: {{socket: ..}}` is enough"
            ) from None
        no_actuator = str(error)
    if args.json:
        document: dict[str, Any] = {"groups_reason": no_groups} if groups is None else {"groups": groups}
        if actuator is None:
            document["actuator_reason"] = no_actuator
        else:
            devices = list(actuator.devices)
            document |= {"killed": actuator.killed, "kill_switch": actuator.kill_switch, "devices": devices}
        print_json(document)
        return 0
    if actuator is None:
        print(f"Leases and settings are not available: {no_actuator}")
    else:
        _print_actuator(actuator)
    if groups is None:
        print(f"\nGroups are not available: {no_groups}")
    else:
        _print_groups(groups)
    return 0


def _groups() -> tuple[list[Mapping[str, Any]] | None, str]:
    """The agent's groups, or the reason for their absence."""
    from energy_agent.runtime.network.agent_socket import agent_socket, ask

    try:
        code, reply = ask("GET", "/v1/dvfs/groups")
    except (OSError, ValueError) as error:
        return None, f"no agent responds at {agent_socket()} ({error})"
    groups = reply.get("groups")
    if code == 200 and isinstance(groups, list):
        return groups, ""
    return None, str(reply.get("reason", f"the agent returned status {code}"))


def _print_actuator(status: "ActuatorStatus") -> None:
    if status.killed:
        print(f"The kill switch {status.kill_switch} is on: no setting is applied. To turn it off: wattlens dvfs on")
    rows: list[tuple[str, ...]] = [("GPU", "UUID", "ALLOWED", "HOLDER", "LEFT", "SETTING", "CHANGED")]
    for d in status.devices:
        remaining = "-" if d["left_s"] is None else f"{d['left_s']:.1f} s"
        allowed = ",".join(d["knobs"]) or "-"
        index = "-" if d["index"] is None else str(d["index"])
        rows.append((index, d["device"], allowed, d["holder"] or "-", remaining, _pairs(d["setting"]), _pairs(d["changed"])))
    print_table(rows)


def _print_groups(groups: list[Mapping[str, Any]]) -> None:
    from wattlens.steering.group_text import budget_rows, decision_rows, shadow_lines, summary_rows

    print()
    print_table(summary_rows(groups))
    for group in groups:
        if group["error_budget"]:
            print(f"\nError budget of {group['group']}")
            print_table(budget_rows(group))
        if group["decisions"]:
            print(f"\nLast decisions of {group['group']}")
            print_table(decision_rows(group))
        if "shadow" in group:
            print(f"\nForecast of {group['group']}: " + "\n  ".join(shadow_lines(group["shadow"])))


def _pairs(mapping: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in mapping.items()) or "-"


COMMAND = Command("show leases and settings, and each group's error budget, decisions and proven saving", _configure, _run)
