"""Student's t against published tables."""

import pytest

from energy_agent.core.interval import t_quantile


def test_t_quantile_of_published_tables() -> None:
    """The last four are far out: of one degree of freedom it is 1 / tan(pi x chance)."""
    for df, above, value in (
        (1, 0.025, 12.7062), (2, 0.025, 4.3027), (5, 0.025, 2.5706), (10, 0.025, 2.2281), (29, 0.025, 2.0452),
        (120, 0.025, 1.9799), (1, 1e-5, 31830.99), (3, 0.0005, 12.924), (10, 0.0005, 4.587), (60, 0.0005, 3.460),
    ):  # fmt: skip
        assert t_quantile(df, above) == pytest.approx(value, rel=2e-4 if above < 0.025 else 2e-5)
