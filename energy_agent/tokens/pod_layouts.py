"""Pods of llm-d and KServe: annotations that they would have for discovery, from their labels and containers. Pure.

Read from manifests: llm-d-modelservice (examples), llm-d (guides), KServe (config/llmisvcconfig, config/runtimes). Labels and
containers are the choice of the pod's creator, as annotations are; discovery treats both alike.

    llm-d                        label llm-d.ai/role; container vllm or modelserver; a decode pod has a proxy at another port
    KServe LLMInferenceService   the same label; container main, in a decode pod with the same proxy; SGLang by its command
    KServe InferenceService      label serving.kserve.io/inferenceservice; container kserve-container with vLLM, port 8080
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from energy_agent.tokens.discovery import PATH, PORT, ROLE, SCHEME, SERVER

LLMD_ROLE: Final = "llm-d.ai/role"
KSERVE_SERVICE: Final = "serving.kserve.io/inferenceservice"
_ENGINE_TYPE: Final = "llm-d.ai/engine-type"
_SERVERS: Final = {
    "vllm": ("vllm", "/metrics"),
    "sglang": ("sglang", "/metrics"),
    "trtllm-serve": ("tensorrt_llm", "/prometheus/metrics"),
}
"""Server and path by llm-d's name of an engine."""
_SGLANG: Final = "sglang.launch_server"
_ROLES: Final = {"prefill": "prefill", "encode-prefill": "prefill", "decode": "decode"}
_ENCODE: Final = "encode"
_ENGINES: Final = ("vllm", "sglang", "modelserver", "main")
_KSERVE_ENGINE: Final = "kserve-container"
_KSERVE_IMAGES: Final = ("huggingfaceserver", "vllm")
"""Images of predictors whose engine is vLLM; those of other frameworks have no token counters."""
_KSERVE_PORT, _KSERVE_PATH = "prometheus.kserve.io/port", "prometheus.kserve.io/path"
_CONTAINERS_MAX: Final = 32


def layout_annotations(labels: Mapping[str, str], annotations: Mapping[str, str], spec: Mapping[str, Any]) -> dict[str, str]:
    """Annotations as of `discovery`; empty for another pod."""
    if LLMD_ROLE in labels:
        engine, role = _container(spec, _ENGINES), labels[LLMD_ROLE]
        if engine is None or role == _ENCODE:  # the prefill pods count the prompts of encoders as well
            return {}
        server, path = _SERVERS.get(labels.get(_ENGINE_TYPE, _engine_type(engine)), ("", ""))
        if not server:
            return {}
        pod_annotations = {PORT: _port(engine, "8000"), PATH: path, SERVER: server} | _scheme(engine)
        return pod_annotations | ({ROLE: _ROLES[role]} if role in _ROLES else {})
    if KSERVE_SERVICE in labels:
        engine = _container(spec, (_KSERVE_ENGINE,))
        if engine is None or not any(name in str(engine.get("image", "")) for name in _KSERVE_IMAGES):
            return {}
        port = annotations.get(_KSERVE_PORT) or _port(engine, "8080")
        return {PORT: port, PATH: annotations.get(_KSERVE_PATH, "/metrics"), SERVER: "vllm"} | _scheme(engine)
    return {}


def _container(spec: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any] | None:
    """The first container with one of these names. Proxies are init containers, or have other names."""
    containers = spec.get("containers", ())[:_CONTAINERS_MAX]
    return next((each for each in containers if each.get("name") in names), None)


def _engine_type(engine: Mapping[str, Any]) -> str:
    """That of a pod without the label, as KServe's: SGLang's presets start it by the name of its module."""
    words = [*engine.get("command", ())[:_CONTAINERS_MAX], *engine.get("args", ())[:_CONTAINERS_MAX]]
    return "sglang" if any(_SGLANG in str(word) for word in words) else "vllm"


def _port(engine: Mapping[str, Any], default: str) -> str:
    """The port named metrics, else the first one: engines declare side channels after it."""
    ports = [each for each in engine.get("ports", ()) if isinstance(each.get("containerPort"), int)]
    named = next((each for each in ports if each.get("name") == "metrics"), None)
    port = named or next(iter(ports), None)
    return default if port is None else str(port["containerPort"])


def _scheme(engine: Mapping[str, Any]) -> dict[str, str]:
    """That of the probes, which go to the same port as the metrics."""
    probes = (engine.get(name, {}).get("httpGet", {}) for name in ("readinessProbe", "startupProbe", "livenessProbe"))
    return {SCHEME: "https"} if any(probe.get("scheme") == "HTTPS" for probe in probes) else {}
