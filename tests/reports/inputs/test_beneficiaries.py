"""For whom certificates may be retired: names compared as registries write them, legal forms kept apart."""

import pytest

from reports.inputs.beneficiaries import Beneficiaries

OURS = Beneficiaries(("Example AI", "Example AI GmbH"), ("Landlord S.A.",))


@pytest.mark.parametrize("name", ["Example AI", "EXAMPLE  AI GMBH", "Example-AI G.m.b.H.", "Ｅｘａｍｐｌｅ AI", "landlord SA"])
def test_spelling_of_a_name_does_not_matter(name: str) -> None:
    assert OURS.objection(name) == ""


@pytest.mark.parametrize("name", ["Example AI Inc.", "Example", "Another Ltd"])
def test_another_name_covers_nothing(name: str) -> None:
    """Scope 2 Guidance, table 7.1, criterion 3: retired "by or on behalf of the reporting entity"."""
    assert OURS.objection(name) == f"retired for {name!r}, which is neither the organisation nor an accepted beneficiary"


def test_only_names_of_others_are_accepted_ones() -> None:
    assert OURS.accepts_other("Landlord SA")
    assert not OURS.accepts_other("Example AI GmbH")
    assert not OURS.accepts_other("Another Ltd")


def test_without_a_name_of_the_organisation_nothing_is_compared() -> None:
    nameless = Beneficiaries(accepted=("Landlord",))
    assert nameless.objection("Another Ltd") == ""
    assert not nameless.accepts_other("Landlord")
