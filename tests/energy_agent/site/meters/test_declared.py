"""A declared power: reported exactly, with the meter's name, and always with the author of the statement."""

import pytest
from pydantic import ValidationError

from energy_agent.core.meters.reading import MeterError, Scope
from energy_agent.runtime.clock import RealClock
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters.declared import SPEC, Declared

METER = MeterConfig(id="lights", role="lighting", accuracy_percent=20, max_power_w=5_000)


def test_declared_power_is_constant_to_a_milliwatt():
    meter = SPEC.open(Declared(power_w=1234.567, basis="data sheet"), METER, RealClock())
    before_ns = RealClock().boot_ns()
    readings = [meter.read() for _ in range(3)]
    meter.close()
    for (reading,) in readings:
        assert (reading.domain, reading.scope) == ("lights", Scope.FACILITY)
        assert (reading.power_mw, reading.step_mw, reading.energy_uj) == (1_234_567, 1, None)
        assert (reading.max_mw, reading.age_ns) == (5_000_000, 0)
        assert before_ns <= reading.boot_ns <= RealClock().boot_ns()
        before_ns = reading.boot_ns


def test_power_above_the_meter_maximum_is_rejected():
    meter = SPEC.open(Declared(power_w=5_000.001, basis="a guess"), METER, RealClock())
    with pytest.raises(MeterError, match="above the maximum of 5000 W"):
        meter.read()


@pytest.mark.parametrize(
    "section", [{"power_w": 5}, {"power_w": 5, "basis": ""}, {"power_w": -1, "basis": "x"}, {"basis": "x"}]
)
def test_section_without_power_or_basis_is_refused(section):
    with pytest.raises(ValidationError):
        Declared(**section)


@pytest.mark.parametrize("power_w", [True, float("nan"), float("inf")])
def test_what_is_no_power_is_refused(power_w):
    with pytest.raises(ValidationError):
        Declared(power_w=power_w, basis="x")
