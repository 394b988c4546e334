"""Values of CodeCarbon that inputs refer to: power of processors and memory, and the country of a cloud region.

Each answer is kept, and a report's manifest records it, so that the report is rebuilt from the same values with any later
version of CodeCarbon, or without it. CodeCarbon is used as a library of models and tables: it measures nothing here. Its public
classes give power and tables. Only its match of a processor's name has no public form (`TDP._get_matching_cpu`).
"""

import difflib
import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from importlib.metadata import version
from typing import Any, Final

from energy_agent.core.errors import UsageError, WattlensError
from reports.inputs.organisation import PowerEstimate
from reports.render.codecarbon import OTHER_INTERFACE, codecarbon_library

MODULE_HIGH: Final = Decimal(2)
"""Upper bound of memory over CodeCarbon's value, assumed: 10 W per module instead of 5 W."""
NO_LOAD: Final = Decimal("0.1")
"""Share of the TDP that CodeCarbon's model of a machine has without load; at full load it is 1."""
_USER: Final = "the key hosts or cloud_region"
Answer = tuple[str, ...]


class CodeCarbonTables:
    """Lookups in CodeCarbon's tables and models.

    Args:
        pinned: answers of an earlier run as `recorded` gave them; "": none.
    """

    def __init__(self, pinned: str = "") -> None:
        self._answers: dict[str, Answer] = {key: tuple(answer) for key, answer in json.loads(pinned or "{}").items()}

    @property
    def recorded(self) -> str:
        """All answers as JSON; "" without any."""
        return json.dumps(self._answers, sort_keys=True, separators=(",", ":")) if self._answers else ""

    def version(self) -> str:
        """The version that gave the answers."""
        return self._answer("version", lambda: (version("codecarbon"),))[0]

    def tdp(self, cpu: str) -> tuple[str, Decimal]:
        """Return (name in CodeCarbon's table, TDP in W) of a processor, as CodeCarbon matches the name that the system reports.

        Raises:
            UsageError: the table does not have it; the message names the nearest ones.
            WattlensError: CodeCarbon is not installed.
        """

        def ask() -> Answer:
            from codecarbon.core.cpu import TDP
            from codecarbon.input import DataSource

            source: Any = DataSource  # it has no types
            matching: Any = TDP
            table = source().get_cpu_power_data()
            name = matching._get_matching_cpu(None, cpu, table)
            if name is None:
                near = difflib.get_close_matches(cpu, [str(each) for each in table["Name"]], 3, 0.6)
                hint = f"; nearest: {', '.join(near)}" if near else ""
                raise UsageError(f"CodeCarbon's table of processors does not have {cpu!r}{hint}; or enter its TDP as cpu_tdp_w")
            return str(name), str(float(table[table["Name"] == name]["TDP"].iloc[0]))

        name, watts = self._answer(f"cpu {cpu}", ask)
        return name, Decimal(watts)

    def cpu_power(self, tdp_w: Decimal, sockets: int, name: str) -> PowerEstimate:
        """Power of a node's processors by CodeCarbon's constant mode; bounds: its model of a machine at no and full load."""
        whole_w = tdp_w * sockets

        def ask() -> Answer:
            from codecarbon.external.hardware import CPU

            processors: Any = CPU  # its types are narrower than its values
            constant = processors(output_dir="", mode="constant", model=name, tdp=float(whole_w))
            return tuple(map(_text, (constant.total_power().W, float(whole_w * NO_LOAD), float(whole_w))))

        return PowerEstimate(*map(Decimal, self._answer(f"power {sockets} x {_text(float(tdp_w))} W {name}".strip(), ask)))

    def ram_power(self, gb: Decimal) -> PowerEstimate:
        """Power of a node's memory by its size; lower bound: CodeCarbon's value for low-power modules."""

        def ask() -> Answer:
            from codecarbon.external.ram import RAM

            class NodeMemory(RAM):
                """Memory of a node instead of this machine."""

                machine_memory_GB = float(gb)  # noqa: N815

            memory, watts = NodeMemory(), list[float]()
            for is_low_power in (False, True):
                memory.is_arm_cpu = is_low_power
                watts.append(float(memory.total_power().W))
            if not all(watts):  # an error within its model is 0 W
                raise AttributeError("RAM.total_power gives 0 W")
            return tuple(map(_text, (*watts, watts[0] * float(MODULE_HIGH))))

        return PowerEstimate(*map(Decimal, self._answer(f"ram {_text(float(gb))} GB", ask)))

    def region(self, region: str) -> tuple[str, str]:
        """Return (ISO 3166-1 alpha-3 country, state or "") of a cloud region such as gcp/europe-west4.

        Raises:
            UsageError: the table does not have it; the message names its providers or the nearest regions.
            WattlensError: CodeCarbon is not installed.
        """

        def ask() -> Answer:
            from codecarbon.input import DataSource

            source: Any = DataSource  # it has no types
            rows: list[dict[str, Any]] = source().get_cloud_emissions_data().to_dict("records")
            regions = {f"{row['provider']}/{row['region']}": row for row in rows}
            row = regions.get(region)
            if row is None:
                provider = region.partition("/")[0]
                provider_regions = [name for name in regions if name.startswith(f"{provider}/")]
                near = difflib.get_close_matches(region, provider_regions, 3, 0.5)
                hint = f"nearest: {', '.join(near)}" if near else f"it has regions of {', '.join(_providers(regions))}"
                raise UsageError(
                    f"CodeCarbon's table of cloud regions does not have {region!r}; {hint}; or enter the zone and country"
                )
            state = row["state"]
            return str(row["countryIsoCode"]), state if isinstance(state, str) else ""

        country, state = self._answer(f"region {region}", ask)
        return country, state

    def _answer(self, key: str, ask: Callable[[], Answer]) -> Answer:
        if key not in self._answers:
            with codecarbon_library(_USER):
                try:
                    self._answers[key] = ask()
                except (AttributeError, LookupError, TypeError) as error:
                    raise WattlensError(f"{_USER}: {OTHER_INTERFACE.format(error=error)}") from error
        return self._answers[key]


def _text(number: float) -> str:
    return format(Decimal(repr(round(number, 9))).normalize(), "f")


def _providers(regions: Iterable[str]) -> list[str]:
    return sorted({region.partition("/")[0] for region in regions})
