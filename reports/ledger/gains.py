"""The gain error of every device's sensor, as the store's table `gain`: a GPU's as its ledger states it, a host's made."""

from typing import Final

from energy_agent.core.errors import ChainError
from energy_agent.ledger.rows.kinds import PPM
from energy_agent.ledger.rows.uncertainty import systematic_uj
from reports.ledger.store import DayDatabase

_COLUMNS: Final = {"site": "VARCHAR", "device": "VARCHAR", "gain_ppm": "HUGEINT", "sku": "VARCHAR", "counter_scope": "VARCHAR"}
_FACTS: Final = """
SELECT site, device, max(gain_ppm) AS gain_ppm, arg_max(sku, latest) AS sku, arg_max(counter_scope, latest) AS counter_scope
FROM (SELECT f.site, p.device, p.gain_ppm, p.sku, p.counter_scope,
             CAST(p.since_ns AS DECIMAL(38, 0)) * 1000000000 + max(p.sequence) AS latest
      FROM all_device AS p JOIN file AS f ON f.path = p.filename
      WHERE p.device NOT LIKE 'meter:%'
      GROUP BY f.site, p.device, p.gain_ppm, p.sku, p.counter_scope, p.since_ns) AS repeated
GROUP BY site, device ORDER BY site, device
"""  # every segment repeats device metadata, so the query merges duplicates first
_GPUS: Final = """
SELECT u.site, u.device, sum(u.energy_uj) AS energy_uj FROM classed AS u
WHERE u.class = 'gpu' AND EXISTS (
  SELECT 1 FROM classed AS h WHERE h.class = 'host' AND h.site = u.site AND h.cluster = u.cluster AND h.node = u.node)
GROUP BY u.site, u.device
"""
_HOSTS: Final = "SELECT site, sum(energy_uj) AS energy_uj FROM classed WHERE class = 'host' GROUP BY site"

_Gain = tuple[int, str, str]
"""ppm, sku and counter scope."""


def create(store: DayDatabase) -> None:
    """Make the table; a device without facts has no row, and whatever holds its energy has no bounds.

    Raises:
        ChainError: a gain that says nothing.
    """
    gain: dict[tuple[str, str], _Gain] = {(site, ""): (0, "", "") for site in store.windows}  # time without a device's name
    for site, device, ppm, sku, scope in store.rows(_FACTS):
        if not 0 <= ppm < PPM:
            raise ChainError(f"{device}: a gain uncertainty of {ppm} ppm is not from 0 to 1")
        gain[site, device] = ppm, sku, scope
    hosts = {key for key in gain if key[1].startswith("host:") and "/" not in key[1]}
    if hosts:
        for site, ppm in _of_hosts(store, gain, hosts).items():
            for key in hosts:
                if key[0] == site:
                    gain[key] = ppm, *gain[key][1:]
    store.table("gain", _COLUMNS, ((*device, *of) for device, of in sorted(gain.items())))


def create_empty(store: DayDatabase) -> None:
    """Make the table without rows: nothing that is made of it has bounds."""
    store.table("gain", _COLUMNS, ())


def _of_hosts(store: DayDatabase, gain: dict[tuple[str, str], _Gain], hosts: set[tuple[str, str]]) -> dict[str, int]:
    """Gain error of a site's hosts in ppm of their own energy: that of the meters on all that the nodes drew, and of the GPUs
    that were taken off it (energy_agent/ledger/summary.py).
    """
    wrong_uj: dict[str, int] = {}
    all_uj: dict[str, int] = {}
    for site, device, uj in store.rows(_GPUS):
        ppm, _, _ = gain.get((site, device), (0, "", ""))
        wrong_uj[site] = wrong_uj.get(site, 0) + systematic_uj(int(uj), ppm)
        all_uj[site] = all_uj.get(site, 0) + int(uj)
    gains = {}
    for site, site_uj in store.rows(_HOSTS):
        own_uj = int(site_uj)
        worst = max((gain[key][0] for key in hosts if key[0] == site), default=0)
        wrong = wrong_uj.get(site, 0) + systematic_uj(own_uj + all_uj.get(site, 0), worst)
        gains[site] = min(PPM - 1, -(-PPM * wrong // (own_uj + wrong))) if own_uj + wrong else 0
    return gains
