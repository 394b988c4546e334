"""The role that the pod informer needs, from the configuration it is for: `python -m tools.rbac AGENT.yaml`.

Read access only: pods of any node, since roles cannot be limited to a node, but the agent requests only its own node's pods;
ResourceSlices; a ResourceClaim by its name, to detect admin access of monitors; the kinds that `holders.kubernetes.owner_kinds`
lists; and where GPUs are steered its own node, for its annotation. Never nodes/proxy, which is a shell in every pod.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from energy_agent.config import agent as configuration
from energy_agent.config.agent import Config
from energy_agent.config.owners import KubernetesConfig
from energy_agent.core.errors import WattlensError
from energy_agent.owners.kubernetes.controllers import plural

_NAME = "wattlens-agent"
_HEAD = """\
# What the pod informer may read; generated from agent.yaml in this folder, again whenever owner_kinds changes:
#   python -m tools.rbac agent.yaml > rbac.yaml
"""


def documents(config: KubernetesConfig, namespace: str = "wattlens", *, node: bool = False) -> list[dict[str, Any]]:
    """The role and its binding to the agent's service account; `node`: it heeds its node's annotation too."""
    rules: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["resource.k8s.io"], "resources": ["resourceslices"], "verbs": ["list"]},
        {"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaims"], "verbs": ["get"]},
    ]
    if node:
        rules.append({"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]})
    for text in config.owner_kinds:
        kind, _, rest = text.partition(".")
        rules.append({"apiGroups": [rest.rpartition("/")[0]], "resources": [plural(kind)], "verbs": ["get"]})
    group, named = "rbac.authorization.k8s.io", {"metadata": {"name": _NAME}}
    return [
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", **named, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            **named,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": _NAME},
            "subjects": [{"kind": "ServiceAccount", "name": _NAME, "namespace": namespace}],
        },
    ]


def text(config: Config) -> str:
    """Both as YAML."""
    rules = documents(config.holders.kubernetes, node=config.dvfs.steers and config.dvfs.annotations)
    return _HEAD + str(yaml.safe_dump_all(rules, sort_keys=False, default_flow_style=False))


def main() -> int:
    """Write them for the configuration that is named."""
    parser = argparse.ArgumentParser(description="Write the role that the pod informer needs to standard output, as YAML.")
    parser.add_argument("config", type=Path, metavar="AGENT.yaml", help="the agent's configuration")
    try:
        sys.stdout.write(text(configuration.load(parser.parse_args().config)))
    except WattlensError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
