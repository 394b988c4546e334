"""One `/metrics` response of an agent, with lookup by labels. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class ScrapeResponse:
    """One `/metrics` response: samples by name. `t_s` is the reader's monotonic time."""

    t_s: float
    samples: dict[str, dict[Labels, float]] = field(default_factory=dict)

    def one(self, name: str, **labels: str) -> float | None:
        """Return the sum of all samples with these labels; None without such samples."""
        want = labels.items()
        values = [v for k, v in self.samples.get(f"wattlens_{name}", {}).items() if want <= dict(k).items()]
        return sum(values) if values else None

    def rows(self, name: str) -> Iterable[tuple[dict[str, str], float]]:
        """Labels and value of each sample."""
        return ((dict(k), v) for k, v in self.samples.get(f"wattlens_{name}", {}).items())


def parse(text: str, t_s: float) -> ScrapeResponse:
    """A page from its text.

    Raises:
        ValueError: it is no Prometheus text.
    """
    from prometheus_client.parser import text_string_to_metric_families

    page = ScrapeResponse(t_s)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            page.samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return page
