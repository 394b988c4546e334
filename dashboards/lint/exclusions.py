"""Where the linter's rules do not hold, and why. An exclusion that excludes nothing is a finding itself."""

from dashboards.lint.lint import Exclusion

_OF_SITES = "it shows sites, whose process is one a site: `site` is chosen instead"
_OF_PROMETHEUS = "a metric of Prometheus itself, which has its own job and instance"

EXCLUSIONS = (
    Exclusion("target-job-rule", _OF_SITES, "wattlens-facility"),
    Exclusion("target-instance-rule", _OF_SITES, "wattlens-facility"),
    Exclusion("target-instance-rule", "a fleet has too many nodes to choose from; a link leads to each", "wattlens-fleet"),
    Exclusion("target-job-rule", "some of its rules are of a site's energy, whose job is that of the sites", "wattlens-fleet"),
    Exclusion("target-instance-rule", "a run is over nodes, and chosen by what it has there", "wattlens-training"),
    Exclusion("target-job-rule", "an alert has the job of what it is about, or none", "wattlens-stack", "Firing alerts"),
    Exclusion("target-instance-rule", "an alert of a fleet has no instance", "wattlens-stack", "Firing alerts"),
    Exclusion("target-job-rule", _OF_PROMETHEUS, "wattlens-stack", "Rule evaluation duration"),
    Exclusion("target-instance-rule", _OF_PROMETHEUS, "wattlens-stack", "Rule evaluation duration"),
    Exclusion("target-job-rule", _OF_PROMETHEUS, "wattlens-stack", "Failed rule evaluations"),
    Exclusion("target-instance-rule", _OF_PROMETHEUS, "wattlens-stack", "Failed rule evaluations"),
    Exclusion(
        "target-instance-rule",
        "a rule over the nodes of a site, so that a fleet of 100,000 GPUs can be shown",
        "wattlens-stack",
        "Power by measurement method",
    ),
)
