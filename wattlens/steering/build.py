"""The governor that a configuration describes: policies with their options, the node's budget, paired blocks, the client."""

from collections.abc import Mapping
from typing import Any

import dvfs.policies
from dvfs import knees
from dvfs.actuator.client import ActuatorClient, default_socket
from dvfs.actuator.held_lease import Actuator
from dvfs.governor.group import ConfiguredPolicy
from dvfs.governor.loop import Governor
from dvfs.proof.plan import ExperimentPlan
from dvfs.types import DvfsPolicy, NodeBudget, NodePolicy
from energy_agent.config.dvfs import Dvfs
from energy_agent.core import plugin
from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock


def specs() -> tuple[dict[str, DvfsPolicy], dict[str, NodePolicy]]:
    """Every policy of a group, and every one of the node, by name."""
    modules: dict[str, Any] = plugin.discover(dvfs.policies)
    groups = {name: spec for name, spec in modules.items() if isinstance(spec, DvfsPolicy)}
    return groups, {name: spec for name, spec in modules.items() if isinstance(spec, NodePolicy)}


def configured(config: Dvfs) -> dict[str, ConfiguredPolicy]:
    """The policies that may steer, with their options.

    Raises:
        UsageError: policies or options that do not exist; a line each, with its key.
    """
    groups, nodes = specs()
    policy_names = ", ".join(groups)
    faults: list[str] = []
    for key, name in config.policies:
        if name not in groups:
            hint = f"set dvfs.budget_w for {name!r}" if name in nodes else f"expected one of {policy_names}"
            faults.append(f"key '{key}': no policy {name!r} of a group; {hint}")
    for name in config.options:
        if name not in groups and name not in nodes:
            faults.append(f"key 'dvfs.options.{name}': expected one of {policy_names}, {', '.join(nodes)}, got {name!r}")
    table, ready = knees.load(), {}
    try:
        _budget(config, nodes)
    except UsageError as error:
        faults.append(str(error))
    # Annotations may name any policy, so all of them stand ready.
    for name, spec in groups.items():
        try:
            ready[name] = ConfiguredPolicy(spec, spec.configure(config.options.get(name, {}), table))
        except UsageError as error:
            faults.append(str(error))
    if faults:
        raise UsageError("\n".join(faults))
    return ready


def make_governor(config: Dvfs, clock: Clock, states: Mapping[str, str], client: Actuator | None = None) -> Governor:
    """The governor, with the experiments of an earlier one; raises UsageError as `configured` does.

    `client` is another actuator than the one that the configuration names.
    """
    _, nodes = specs()
    if client is None and config.mode == "enforce":
        client = ActuatorClient(config.actuator or default_socket())
    blocks = config.blocks
    plan = (
        ExperimentPlan(blocks.seed, blocks.pairs, blocks.seconds, blocks.settle_s, blocks.period_s)
        if blocks is not None
        else None
    )
    return Governor(configured(config), client, clock, states, budget=_budget(config, nodes), plan=plan)


def _budget(config: Dvfs, nodes: Mapping[str, NodePolicy]) -> NodeBudget | None:
    if config.budget_w is None:
        return None
    return nodes["budget"].configure(config.options.get("budget", {}), config.budget_w)
