"""Open the schedulers that the configuration selects; `join` combines their claims with the processes."""

import logging
from collections.abc import Callable
from pathlib import Path

from energy_agent.config.owners import KubernetesConfig
from energy_agent.config.slurm import Slurm
from energy_agent.core.ports import Clock
from energy_agent.owners.cgroup import TrustedPath, unchecked
from energy_agent.owners.claims import ClaimSource
from energy_agent.owners.kubernetes.api_client import Api
from energy_agent.owners.kubernetes.informer import PodInformer
from energy_agent.owners.kubernetes.living_pods import LivingPods
from energy_agent.owners.kubernetes.node_annotation import NodeNote
from energy_agent.owners.kubernetes.pod_logs import DEFAULT_FOLDER, PodLogs
from energy_agent.owners.kubernetes.pod_resources import DEFAULT_SOCKET, PodResources
from energy_agent.owners.resolver import OwnerResolver
from energy_agent.owners.slurm.source import open_slurm

log = logging.getLogger("wattlens.holders")

START_WAIT_S = 2.0
"""How long the start waits for the kubelet, so that what was held before the agent restarted is proven at both ends."""


def open_owners(
    config: KubernetesConfig,
    slurm: Slurm,
    clock: Clock,
    procfs: Path,
    node: str,
    simulated: Path | None = None,
    trust: Callable[[str, str], TrustedPath] = unchecked,
) -> OwnerResolver:
    """The joined owners of this node, with their sources already started.

    Args:
        config: the section of Kubernetes.
        slurm: the section of Slurm.
        clock: the agent's.
        procfs: root of the proc file system.
        node: the node's name, as the API server has it.
        simulated: folder of a simulated node, whose kubelet is queried instead of this machine's.
        trust: cuts the path of a cgroup to what root named.
    """
    sources: list[ClaimSource] = []
    informer = _informer(config, clock, node, simulated)
    logs, living = PodLogs(DEFAULT_FOLDER if simulated is None else simulated / "pod-logs"), None
    if config.pod_resources != "off":
        default = DEFAULT_SOCKET if simulated is None else simulated / "kubelet.sock"
        socket = default if config.pod_resources == "auto" else Path(config.pod_resources)
        wanted = config.pod_resources != "auto"
        source = PodResources(socket, clock, procfs, resources=config.resources, wanted=wanted, informer=informer, logs=logs)
        source.start(START_WAIT_S)
        sources.append(source)
        living = LivingPods(clock, procfs, trust)
        living.start()
    sources += open_slurm(slurm, clock, procfs, START_WAIT_S, simulated is not None)
    return OwnerResolver(sources, clock.boot_ns(), informer, None if living is None else logs, living)


def open_node_note(config: KubernetesConfig, clock: Clock, node: str, simulated: Path | None = None) -> NodeNote | None:
    """The reader of the node's own annotation, already started; None if no API server may be queried."""
    api = None if config.informer == "off" else Api.in_cluster() if simulated is None else Api.simulated(simulated)
    if api is None:
        return None
    note = NodeNote(api, node, clock)
    note.start()
    return note


def _informer(config: KubernetesConfig, clock: Clock, node: str, simulated: Path | None) -> PodInformer | None:
    if config.informer == "off" or config.pod_resources == "off":
        return None
    api = Api.in_cluster() if simulated is None else Api.simulated(simulated)
    if api is None:
        log.warning("pod informer disabled: the agent does not run in a pod with a service account token (overlay informer)")
        return None
    informer = PodInformer(api, node, clock, config.labels, config.owner_kinds)
    informer.start(START_WAIT_S)
    return informer
