"""Write the snapshot of a site as /metrics. Pure."""

from functools import lru_cache, partial

from energy_agent.core.catalogue.metric import Scrape
from energy_agent.core.catalogue.node import SITE_PROCESS
from energy_agent.exposition.openmetrics import FamilySamples, Format, ShownSignals, collect, page
from energy_agent.site.snapshot import SiteSnapshot

_selected = lru_cache(partial(ShownSignals, SITE_PROCESS))


def render(snapshot: SiteSnapshot, fmt: Format) -> bytes:
    """The page: families in the catalogue's order; a family without series is absent."""
    return page(families(snapshot), fmt)


def families(snapshot: SiteSnapshot) -> FamilySamples:
    """Samples of each family that is shown, by the name of its signal."""
    return collect(Scrape(snapshot), _selected(snapshot.selection))
