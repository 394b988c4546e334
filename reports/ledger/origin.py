"""Where the ledger's rows came from: agents, or a Prometheus's history; and that no device is in two chains at once."""

from energy_agent.core.errors import WattlensError
from reports.ledger.store import Store, statements
from reports.period import utc_text


def imported(store: Store) -> dict[str, int]:
    """Energy of GPUs in uJ that was imported (`wattlens ledger import`), by site; it is of a lower quality."""
    return {site: int(uj) for site, uj in store.rows(statements("origin")["imported"])}


def refuse_twice(store: Store) -> None:
    """Check that every device's time is told by one chain.

    Raises:
        WattlensError: two chains tell of a device at the same time, or two sites, so that its joules would count twice.
    """
    for device, site, cluster, node, before_site, before_cluster, before_node, start_ns in store.rows(
        statements("origin")["twice"]
    ):
        if (cluster, node) == (before_cluster, before_node):
            raise WattlensError(
                f"{device} of {cluster}/{node}: stands at {before_site} and at {site} at {utc_text(int(start_ns))}, so its "
                "energy would count twice; compact that day again from all of its segments, with the inventory as it is now"
            )
        both = f"{before_cluster}/{before_node} and {cluster}/{node}"
        raise WattlensError(
            f"{device}: {both} both tell of it at {utc_text(int(start_ns))}, so its energy would count twice; compact without "
            "one of them (an import and the agent's own segments of the same time?)"
        )
