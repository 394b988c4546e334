"""MIB modules from the bytecode cache: each engine has symbols of its own, and the same ones as pysnmp loads."""

import builtins

import pytest
from pysnmp.smi.builder import MibBuilder
from pysnmp.smi.error import MibNotFoundError

from energy_agent.site.meters._snmp_session import create_controller

MODULES = ("SNMPv2-MIB", "SNMP-COMMUNITY-MIB", "SNMP-TARGET-MIB", "SNMP-USER-BASED-SM-MIB", "PYSNMP-USM-MIB")


def test_symbols_are_those_that_pysnmp_loads():
    expected, actual = MibBuilder(), create_controller().get_mib_builder()
    for builder in (expected, actual):
        builder.load_modules(*MODULES)
    assert {name: set(symbols) for name, symbols in actual.mibSymbols.items()} == {
        name: set(symbols) for name, symbols in expected.mibSymbols.items()
    }


def test_a_second_engine_compiles_nothing_and_shares_no_table(monkeypatch):
    first, second = create_controller().get_mib_builder(), create_controller().get_mib_builder()
    first.load_modules(*MODULES)
    compiled, before = [], builtins.compile
    monkeypatch.setattr(
        builtins, "compile", lambda *arguments, **named: compiled.append(arguments) or before(*arguments, **named)
    )
    second.load_modules(*MODULES)
    monkeypatch.undo()
    assert compiled == []
    (users,), (other_users,) = (each.import_symbols("SNMP-USER-BASED-SM-MIB", "usmUserEntry") for each in (first, second))
    assert users is not other_users


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(MibNotFoundError, match="NO-SUCH-MIB"):
        create_controller().get_mib_builder().load_modules("NO-SUCH-MIB")
