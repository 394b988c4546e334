"""Write the pages of the documentation that follow from the code: `python -m tools.docs`, part of `make docs`.

A generated part of a page lies between two comments with its name, a key of PARTS.
"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from energy_agent.core.errors import UsageError
from tools import cli_docs, config_docs, factor_docs, otlp_docs, report_input_docs, token_docs, validated_docs

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = (
    "docs/configuration.md",
    "docs/factor-tables.md",
    "docs/otlp.md",
    "docs/report-sheets.md",
    "docs/validated-on.md",
    "energy_agent/tokens/servers/README.md",
)
PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "agent keys": config_docs.agent_tables,
    "site keys": config_docs.site_tables,
    "factor files": factor_docs.tables,
    "tables in addition to energy": factor_docs.other_tables,
    "OpenTelemetry names": otlp_docs.table,
    "sheets": report_input_docs.tables,
    "results": validated_docs.table,
    "servers": token_docs.tables,
}
PART: Final = re.compile(r"(<!-- (.+): begin, written by make docs -->\n)(.*?)(<!-- \2: end -->\n)", re.DOTALL)


def rebuild(page: str) -> str:
    """Return a page with its generated parts rebuilt. Raises UsageError: a part has wrong input."""
    return PART.sub(lambda part: part[1] + PARTS[part[2]]() + part[4], page)


def main() -> int:
    """Write all pages."""
    try:
        for path in map(ROOT.joinpath, PAGES):
            path.write_text(rebuild(path.read_text(encoding="utf-8")), encoding="utf-8")
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    (ROOT / "docs/cli.md").write_text(cli_docs.reference(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
