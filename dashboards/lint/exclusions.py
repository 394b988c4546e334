"""Where the linter's rules do not hold, and why. An exclusion that excludes nothing is a finding itself."""

from dashboards.lint.lint import Exclusion

_OF_SITES = "it shows sites, with one process per site: `site` is selected instead"
_OF_MODELS = "a rule aggregated over all nodes that serve a model"
_OF_PROMETHEUS = "a metric of Prometheus itself, which has its own job and instance"

EXCLUSIONS = (
    Exclusion("target-job-rule", _OF_SITES, "wattlens-facility"),
    Exclusion("target-instance-rule", _OF_SITES, "wattlens-facility"),
    Exclusion("target-instance-rule", "a fleet has too many nodes to select from; links lead to each node", "wattlens-fleet"),
    Exclusion(
        "target-job-rule", "some of its rules describe a site's energy and have the job of the site process", "wattlens-fleet"
    ),
    Exclusion("target-instance-rule", "a run spans several nodes and is selected by its workloads", "wattlens-training"),
    *(
        Exclusion("target-instance-rule", _OF_MODELS, "wattlens-inference", panel)
        for panel in (
            "Energy per request by model, mean",
            "Median energy per request by model",
            "95th percentile of energy per request by model",
        )
    ),
    Exclusion("target-job-rule", "alerts have the job label of their subject, or none", "wattlens-stack", "Firing alerts"),
    Exclusion("target-instance-rule", "a fleet-wide alert has no instance", "wattlens-stack", "Firing alerts"),
    Exclusion("target-job-rule", _OF_PROMETHEUS, "wattlens-stack", "Rule evaluation duration"),
    Exclusion("target-instance-rule", _OF_PROMETHEUS, "wattlens-stack", "Rule evaluation duration"),
    Exclusion("target-job-rule", _OF_PROMETHEUS, "wattlens-stack", "Failed rule evaluations"),
    Exclusion("target-instance-rule", _OF_PROMETHEUS, "wattlens-stack", "Failed rule evaluations"),
    Exclusion(
        "target-instance-rule",
        "a rule aggregated over the nodes of a site, for fleets of 100,000 GPUs",
        "wattlens-stack",
        "Power by measurement method",
    ),
)
