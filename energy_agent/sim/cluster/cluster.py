"""What of Kubernetes a simulated node has: its kubelet and, where the scenario asks for one, an API server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from energy_agent.sim.cluster import model
from energy_agent.sim.cluster.api_server import ApiServer
from energy_agent.sim.cluster.kubelet import Kubelet
from energy_agent.sim.cluster.pods import PodNow


@dataclass(slots=True)
class SimulatedCluster:
    """The kubelet and the API server, with the same pods."""

    kubelet: Kubelet
    api: ApiServer | None

    @classmethod
    def start(cls, directory: Path, wanted: model.ClusterModel, seed: int) -> Self:
        """Start what the scenario asks for.

        Raises:
            UsageError: grpcio is not installed.
        """
        try:
            kubelet = Kubelet(directory, wanted.other_pods, seed)
        except ImportError:
            raise UsageError(f"the kubelet of the scenario requires grpcio: {install_hint('kubernetes')}") from None
        return cls(kubelet, ApiServer(directory) if wanted.api_server else None)

    def show(self, pods: list[PodNow]) -> None:
        """From now on these are the node's pods."""
        if self.api is not None:  # it knows of a pod before the kubelet does
            self.api.show(pods)
        self.kubelet.show(pods)

    def stop(self) -> None:
        """Answer no more."""
        self.kubelet.stop()
        if self.api is not None:
            self.api.stop()
