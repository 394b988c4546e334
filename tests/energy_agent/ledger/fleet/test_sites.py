"""Where things stood, by an inventory that names boards alone."""

from datetime import UTC, datetime

import pytest

from energy_agent.core.boundary import host, meter, part
from energy_agent.core.errors import UsageError
from energy_agent.ledger.fleet.sites import read_inventory
from tests.energy_agent.ledger.shared_folder import inventory


def ns(*day: int) -> int:
    return int(datetime(*day, tzinfo=UTC).timestamp()) * 10**9  # type: ignore[arg-type,misc]


@pytest.fixture
def sites(tmp_path):
    boards = [("a,GPU-1", "oslo,2026-01-01,2026-06-01"), ("a,GPU-1", "paris,2026-06-01,"), ("b,GPU-3", "oslo,,")]
    boards += [("a,GPU-2", "oslo,2026-01-01,2026-06-01"), ("b,GPU-4", "paris,,")]
    return read_inventory(inventory(tmp_path / "segments", *(f"lab,{board},H100,{stay}" for board, stay in boards)))


@pytest.mark.parametrize("device", ["", host("lab", "a"), part(host("lab", "a"), "package-0")])
def test_a_host_stands_where_its_boards_stand(sites, device):
    assert sites.site_of("lab", "a", device, ns(2026, 2, 1)) == "oslo"
    assert sites.site_of("lab", "a", device, ns(2026, 7, 1)) == "paris"


def test_node_with_boards_at_several_sites_requires_an_assignment(sites):
    for device in ("", host("lab", "b")):
        with pytest.raises(UsageError, match=r"no site for lab/b.* on 2026-02-01"):
            sites.site_of("lab", "b", device, ns(2026, 2, 1))


def test_unassigned_board_has_no_guessed_site(sites):
    with pytest.raises(UsageError, match="no site for lab/a/GPU-9"):
        sites.site_of("lab", "a", "GPU-9", ns(2026, 2, 1))
    assert sites.site_of("lab", "a", meter("rome", "main"), 0) == "rome"
