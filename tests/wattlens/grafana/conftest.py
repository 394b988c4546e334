"""A Grafana, and the commands that write to it."""

import pytest

from tests.doubles.grafana.service import GrafanaService
from wattlens.cli import main


@pytest.fixture
def grafana():
    service = GrafanaService()
    yield service
    service.stop()


@pytest.fixture
def run_dashboards(grafana, tmp_path, capsys):
    """Runs an action of `wattlens dashboards` with a token of a role; gives exit code, output, errors."""

    def run(action, *options, role):
        token = tmp_path / f"token-{role}"
        if not token.exists():
            token.write_text(grafana.token(role) + "\n")
        capsys.readouterr()
        code = main(["dashboards", action, "--url", grafana.url, "--token-file", str(token), *map(str, options)])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run
