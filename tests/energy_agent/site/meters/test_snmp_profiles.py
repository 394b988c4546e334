"""The profiles of SNMP devices: each is whole, says where it is from, and fills its OIDs from any index."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from energy_agent.site.meters import _snmp_profile as profiles
from energy_agent.site.meters._snmp_profile import FOLDER, SnmpProfile
from energy_agent.site.meters.snmp import Snmp

NAMES = profiles.names()
NUMBERED = re.compile(r"\d+(\.\d+)+")
ROW = st.integers(0, (1 << 31) - 1)


def registers(profile):
    return [r for r in (profile.energy, profile.power) if r is not None]


def test_the_kinds_of_device_that_are_known():
    assert NAMES == [
        "apc-rpdu2",
        "apc-rpdu2-outlet",
        "eaton-epdu",
        "eaton-epdu-phase",
        "raritan-px-inlet",
        "raritan-px-outlet",
        "ups-output",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_whole(name):
    profile = profiles.load(name)
    assert profile.mib
    assert registers(profile)
    for quantity in ("energy", "power"):
        register = getattr(profile, quantity)
        if register is not None:
            assert register.is_energy is (quantity == "energy")
            # The profile or the device states the step; if neither states where the register wraps, the profile says so.
            assert register.step or register.step_oid
            assert register.wrap or "wrap" in register.unverified or quantity == "power"
            assert register.source
    placed = {place for r in registers(profile) for oid in profiles._oids(r) for place in re.findall(r"\{(\w+)\}", oid)}
    assert placed == set(profile.index)


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_has_no_key_that_nothing_reads(name):
    body = json.loads((FOLDER / f"{name}.json").read_text())
    SnmpProfile.model_validate(body)
    with pytest.raises(ValidationError):
        SnmpProfile.model_validate(body | {"enrgy": body["power"]})


@given(name=st.sampled_from(NAMES), data=st.data())
def test_any_index_fills_every_oid_without_duplicates(name, data):
    index = {place: data.draw(ROW) for place in profiles.load(name).index}
    section = Snmp(host="pdu", version="2c", community_file="/c", profile=name, index=index)
    asked = [oid for rows in section.plan.values() for row in rows for oid in row.oids]
    assert all(NUMBERED.fullmatch(oid) for oid in asked)
    assert len(set(asked)) == len(asked)
    for rows in section.plan.values():
        for row in rows:
            assert row.oid == row.register.oid.format(**index)


@given(lines=st.lists(ROW, min_size=1, max_size=40, unique=True))
def test_list_index_requests_each_row(lines):
    section = Snmp(host="ups", version="2c", community_file="/c", profile="ups-output", index={"line": lines})
    assert [row.oid for row in section.plan["power"]] == [f"1.3.6.1.2.1.33.1.4.4.1.4.{line}" for line in lines]


def test_a_number_without_default_must_be_given():
    with pytest.raises(ValidationError, match="index 'outlet' is missing"):
        Snmp(host="pdu", version="2c", community_file="/c", profile="apc-rpdu2-outlet")


@pytest.mark.parametrize(
    "oid", ["", "1", "1.", "1..3", ".1.3.6.", "3.1.2", "1.3.a", "1.3.6." + "9" * 11, "1" + ".3" * 200, "1.{}", "1.{A}"]
)
def test_what_is_no_oid(oid):
    with pytest.raises(ValueError, match="expected an OID"):
        profiles.checked_oid(oid)
