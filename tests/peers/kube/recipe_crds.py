"""Definitions of KEDA's and Kueue's kinds with the fields that the recipes may use, for an API server's strict validation.

Names, types and limits follow the API types of KEDA (apis/keda/v1alpha1/scaledobject_types.go) and Kueue (apis/kueue/v1beta2,
clusterqueue_types.go, localqueue_types.go and resourceflavor_types.go). They are written by hand and not complete: a field that
is absent here is refused, and the controllers' own webhooks do not run.
"""

from typing import Any

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "format": "int32"}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
_QUANTITY: Schema = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def _list(items: Schema, key: str = "") -> Schema:
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]} if key else {}
    return {"type": "array", "items": items, "minItems": 1, "maxItems": 16} | keyed


_SCALE_RULES = _object(
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600}, selectPolicy=_TEXT,
    policies=_list(_object(("type", "value", "periodSeconds"), type=_TEXT, value=_COUNT, periodSeconds=_COUNT)),
)  # fmt: skip
_SCALED_OBJECT = _object(
    ("scaleTargetRef", "triggers"),
    scaleTargetRef=_object(("name",), apiVersion=_TEXT, kind=_TEXT, name=_TEXT, envSourceContainerName=_TEXT),
    minReplicaCount=_COUNT, maxReplicaCount=_COUNT, pollingInterval=_COUNT, cooldownPeriod=_COUNT,
    fallback=_object(("failureThreshold", "replicas"), failureThreshold=_COUNT, replicas=_COUNT),
    advanced=_object(
        horizontalPodAutoscalerConfig=_object(behavior=_object(scaleDown=_SCALE_RULES, scaleUp=_SCALE_RULES), name=_TEXT),
        restoreToOriginalReplicaCount={"type": "boolean"},
        scalingModifiers=_object(
            formula=_TEXT, target=_TEXT, activationTarget=_TEXT,
            metricType={"type": "string", "enum": ["AverageValue", "Value"]},
        ),
    ),
    triggers=_list(_object(("type", "metadata"), type=_TEXT, name=_TEXT, metadata=_TEXTS, useCachedMetrics={"type": "boolean"},
                           metricType=_TEXT, authenticationRef=_object(("name",), name=_TEXT, kind=_TEXT))),
)  # fmt: skip
_QUOTA = _object(("name", "nominalQuota"), name=_TEXT, nominalQuota=_QUANTITY, borrowingLimit=_QUANTITY, lendingLimit=_QUANTITY)
_FLAVOR = _object(("name", "resources"), name={"type": "string", "maxLength": 253}, resources=_list(_QUOTA, "name"))
_GROUP = _object(
    ("coveredResources", "flavors"),
    coveredResources=_list({"type": "string", "maxLength": 253}),
    flavors=_list(_FLAVOR, "name"),
) | {
    "x-kubernetes-validations": [{
        "rule": "self.flavors.all(x, size(x.resources) == size(self.coveredResources))",
        "message": "flavors must have the same number of resources as the coveredResources",
    }],
}  # fmt: skip
_CLUSTER_QUEUE = _object(
    resourceGroups=_list(_GROUP), cohortName=_TEXT, namespaceSelector=_object(matchLabels=_TEXTS),
    queueingStrategy={"type": "string", "enum": ["StrictFIFO", "BestEffortFIFO"]},
)  # fmt: skip
_TAINT = _object(("key", "effect"), key=_TEXT, value=_TEXT, effect=_TEXT)

_KINDS = (
    ("keda.sh", "v1alpha1", "ScaledObject", "Namespaced", _SCALED_OBJECT),
    ("kueue.x-k8s.io", "v1beta2", "ClusterQueue", "Cluster", _CLUSTER_QUEUE),
    ("kueue.x-k8s.io", "v1beta2", "LocalQueue", "Namespaced", _object(clusterQueue=_TEXT, stopPolicy=_TEXT)),
    ("kueue.x-k8s.io", "v1beta2", "ResourceFlavor", "Cluster", _object(nodeLabels=_TEXTS, nodeTaints=_list(_TAINT))),
)


def definitions() -> list[Schema]:
    """CustomResourceDefinitions of every kind."""
    return [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            # The API server reserves *.k8s.io for kinds with a review; Kueue's have one.
            "metadata": {
                "name": f"{kind.lower()}s.{group}",
                "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/kueue"},
            },
            "spec": {
                "group": group,
                "scope": scope,
                "names": {"kind": kind, "listKind": f"{kind}List", "plural": f"{kind.lower()}s", "singular": kind.lower()},
                "versions": [
                    {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": _object(spec=spec)}}
                ],
            },
        }
        for group, version, kind, scope, spec in _KINDS
    ]
