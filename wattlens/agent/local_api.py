"""The agent's socket for programs on its node, put together."""

import logging
from collections.abc import Sequence
from pathlib import Path

from energy_agent.accounting.training_intake import TrainingReports
from energy_agent.config.agent import Config
from energy_agent.core.ports import Clock
from energy_agent.ledger.journal.journal import Journal
from energy_agent.local_api.history import EnergyHistory
from energy_agent.local_api.peers import Peers
from energy_agent.local_api.routes import Routes
from energy_agent.local_api.server import ClientApi
from energy_agent.node.loop import Agent

log = logging.getLogger("wattlens")


def proc_roots(config: Config, simulate: Path | None) -> list[Path]:
    """Where processes are looked up: those that run on a simulated node without being of it are of the machine."""
    return [config.node.procfs] if simulate is None else [simulate / "proc", Path("/proc")]


def training_intake(journal: Journal, clock: Clock, roots: Sequence[Path]) -> TrainingReports:
    """Counts of training, from where the journal left them."""
    intake = TrainingReports(clock, Peers(roots, clock).alive)
    if not intake.restore(journal.states(), journal.totals().tokens):
        log.warning("training counts in the journal are not readable: running processes are counted from their next report")
    return intake


def serve(path: Path, agent: Agent, roots: Sequence[Path]) -> ClientApi:
    """The server on the socket `path`, not yet started, which answers from what the agent publishes."""
    history = EnergyHistory()
    routes = Routes(history, agent.training, lambda: agent.steer)
    holders = agent.owners
    peers = Peers(roots, agent.clock) if holders is None else Peers(roots, agent.clock, holders.owner_of, holders.trust)
    agent.on_publish = history.add
    return ClientApi(path, routes, peers, simulated=agent.identity.simulated)
