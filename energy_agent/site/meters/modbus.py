"""Power meters that speak Modbus TCP: an energy register, a power register, or both.

Sources: Modbus Application Protocol V1.1b3 (functions 3 and 4, exception codes) and Modbus Messaging on TCP/IP V1.0b (header).
"""

import logging
import socket
import time
from decimal import Decimal
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from energy_agent.config.formats import Host
from energy_agent.config.section import Section
from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from energy_agent.core.meters.reading import MeterError, MeterReading
from energy_agent.core.ports import Clock
from energy_agent.runtime.network.connection import ConnectError, DeadlineError, connect
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters._age import EdgeAge
from energy_agent.site.meters._registers import Type, number, range_of, resolution, words_of
from energy_agent.site.meters._source import FacilitySource, reading

_NEAR_WORDS: Final = 60  # so far apart, registers are read in one request, which may take 125
_ADDRESSES: Final = 65_536
_HEADER_B: Final = 8  # transaction, protocol, length: two bytes each; unit and function: one each
_HEARD_MAX_B: Final = 4_096  # an answer has at most 260
_LEAST_S: Final = 0.001
_FUNCTIONS: Final = {"holding": 3, "input": 4}
_NOT_THERE: Final = (2, 3)
_EXCEPTIONS: Final = {
    1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure", 5: "acknowledge",
    6: "device busy", 8: "memory parity error", 10: "gateway path unavailable", 11: "gateway: the unit does not respond",
}  # fmt: skip


class _Register(Section):
    address: int = Field(
        ge=0, lt=_ADDRESSES, description="address in the request, from 0: register 40001 of a manual is often address 0"
    )
    table: Literal["holding", "input"] = Field(
        "holding", description="holding registers (function 3) or input registers (function 4)"
    )
    type: Type = Field(description="type of the number; 32 bits take two registers, 64 bits four")
    word_order: Literal["big", "little"] = Field("big", description="big: the register with the high word comes first")
    scale: float = Field(1.0, gt=0, le=1e12, description="factor from the register's value to `unit`")

    @property
    def end(self) -> int:
        """Address after its last word."""
        return self.address + words_of(self.type)

    @property
    def exact_scale(self) -> Decimal:
        """0.1 is a tenth."""
        return Decimal(repr(self.scale))

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.end > _ADDRESSES:
            raise ValueError(f"a register of type {self.type} at {self.address} ends after the last address")
        return self


class EnergyRegister(_Register):
    """A register that counts energy."""

    unit: Literal["J", "kJ", "MJ", "Wh", "kWh", "MWh", "GWh"] = Field("kWh", description="unit of energy")
    wrap: float | None = Field(
        None,
        gt=0,
        description=(
            "value in `unit` at which the register wraps to 0; default: the end of its type's range, if it has 16 or 32 bits"
        ),
    )

    @property
    def exact_wrap(self) -> Decimal | None:
        """Where it goes on at 0, in `unit`."""
        if self.wrap is not None:
            return Decimal(repr(self.wrap))
        end = range_of(self.type)
        return None if end is None else end * self.exact_scale


class PowerRegister(_Register):
    """A register of power."""

    unit: Literal["W", "kW", "MW"] = Field("W", description="unit of power")


class Modbus(Section):
    """A meter that speaks Modbus TCP, or one behind a gateway that does."""

    host: Host = Field(description="host name or address of the meter, or of its gateway")
    port: int = Field(502, ge=1, le=65_535, description="TCP port of the meter")
    unit: int = Field(1, ge=0, le=255, description="unit (device id) at that address")
    energy: EnergyRegister | None = Field(None, description="the register that counts energy")
    power: PowerRegister | None = Field(None, description="the power register")
    renewal_s: float = Field(1.0, ge=0, le=3600, description="seconds between updates of the meter's registers")

    @model_validator(mode="after")
    def _tells(self) -> Self:
        if self.energy is None and self.power is None:
            raise ValueError("no register for energy or power: nothing would be read")
        return self


class _NotThereError(MeterError):
    """It has no such registers."""


class ModbusMeter:
    """One meter; its connection stays open until something goes wrong."""

    def __init__(self, section: Modbus, meter: MeterConfig, clock: Clock) -> None:
        self._section, self._meter, self._clock = section, meter, clock
        energy, power = section.energy, section.power
        self._line = _Line(section.host, section.port, section.unit)
        self._joint = (
            energy is not None
            and power is not None
            and energy.table == power.table
            and abs(energy.address - power.address) <= _NEAR_WORDS
        )
        self._age = EdgeAge()

    def read(self) -> tuple[MeterReading, ...]:
        """What is in its registers."""
        energy, power = self._section.energy, self._section.power
        began_s = time.monotonic()
        self._line.deadline_s = began_s + self._meter.timeout_s
        try:
            numbers = self._numbers([r for r in (energy, power) if r is not None])
        except BaseException:
            self._line.close()  # what comes late must not answer the next request
            raise
        counted, drawn = (None if r is None else numbers[r] for r in (energy, power))
        age_s = self._age.of(self._section.renewal_s + time.monotonic() - began_s, counted)
        return (
            reading(
                self._meter,
                self._clock,
                energy=None if energy is None or counted is None else counted * energy.exact_scale,
                energy_unit="kWh" if energy is None else energy.unit,
                energy_step=_step(energy, counted),
                wrap=None if energy is None else energy.exact_wrap,
                power=None if power is None or drawn is None else drawn * power.exact_scale,
                power_unit="W" if power is None else power.unit,
                power_step=_step(power, drawn),
                age_s=age_s,
            ),
        )

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def _numbers(self, registers: list[EnergyRegister | PowerRegister]) -> dict[_Register, Decimal]:
        first, end = min(r.address for r in registers), max(r.end for r in registers)
        if self._joint:
            try:
                words = self._line.ask(registers[0].table, first, end - first)
            except _NotThereError:
                self._joint = False  # many a meter has no registers between those that it has
            else:
                return {r: _number(r, words[r.address - first : r.end - first]) for r in registers}
        return {r: _number(r, self._line.ask(r.table, r.address, r.end - r.address)) for r in registers}


def _number(register: _Register, words: list[int]) -> Decimal:
    return number(words, register.type, little=register.word_order == "little")


def _step(register: _Register | None, value: Decimal | None) -> Decimal:
    if register is None or value is None:
        return Decimal(1)
    return resolution(value, register.type) * register.exact_scale


class _Line:
    """A connection to one address. `deadline_s` is for all of connecting, asking and answering.

    The library's own timeout begins again with every byte, and its select() knows no file above 1024; so bytes are read here.
    """

    def __init__(self, host: str, port: int, unit: int) -> None:
        self._host, self._port, self._unit = host, port, unit
        self.deadline_s = 0.0
        self._client: Any = None
        self._sent = self._heard = b""

    def ask(self, table: str, address: int, count: int) -> list[int]:
        """The words of `count` registers.

        Raises:
            MeterError: no such answer.
        """
        try:
            from pymodbus.client import ModbusTcpClient
            from pymodbus.exceptions import ModbusException
        except ImportError:
            raise UsageError(f"Modbus requires the extra `facility`: {install_hint('facility')}") from None
        if self._client is None:
            logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # a failure becomes a reason, reported once
            self._client = ModbusTcpClient(self._host, port=self._port, retries=0, trace_packet=self._trace)
            self._client.connect, self._client.recv = self._connect, self._receive
        ask = self._client.read_holding_registers if table == "holding" else self._client.read_input_registers
        try:
            answer = ask(address, count=count, device_id=self._unit)
        except ModbusException as error:
            raise MeterError(self._named(f"invalid response ({self._unanswered() or error.string})")) from None
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise MeterError(self._named(said)) from None
        if answer.isError():
            code = int(getattr(answer, "exception_code", 0))
            which = f"{table} registers {address} to {address + count - 1}"
            refused = _NotThereError if code in _NOT_THERE else MeterError
            raise refused(self._named(f"refuses {which}: {_EXCEPTIONS.get(code, 'exception')} (code {code})"))
        words = list(getattr(answer, "registers", ()))
        if answer.function_code != _FUNCTIONS[table]:
            raise MeterError(
                self._named(f"expected a response of function {_FUNCTIONS[table]}, got function {answer.function_code}")
            )
        if len(words) != count:
            raise MeterError(self._named(f"incomplete response: {len(words)} of {count} registers"))
        return words

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()

    def _named(self, reason: str) -> str:
        return f"{self._host}:{self._port} unit {self._unit}: {reason}"

    def _left_s(self) -> float:
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            raise MeterError(self._named(self._unanswered() or "no response in time"))
        return max(_LEAST_S, left_s)

    def _connect(self) -> bool:
        self._heard = b""
        if self._client.socket is None:
            try:
                self._client.socket = connect(self._host, self._port, self.deadline_s)
            except DeadlineError:
                raise MeterError(self._named("no connection in time")) from None
            except ConnectError as error:
                raise MeterError(self._named(str(error))) from None
        return True

    def _receive(self, _size: int | None) -> bytes:
        sock: socket.socket = self._client.socket
        while True:
            sock.settimeout(self._left_s())
            try:
                data = sock.recv(_HEARD_MAX_B)
            except TimeoutError:
                continue
            self._heard += data
            if not data:
                raise MeterError(self._named(self._unanswered() or "closed the connection without a response"))
            if len(self._heard) > _HEARD_MAX_B:
                raise MeterError(self._named(f"more than {_HEARD_MAX_B} bytes without a response"))
            return data

    def _trace(self, sending: bool, packet: bytes) -> bytes:
        if sending:
            self._sent = packet
        return packet

    def _unanswered(self) -> str:
        """What is wrong with what was heard since the request; "" where nothing was."""
        heard, sent = self._heard, self._sent
        if not heard:
            return ""
        if len(heard) < _HEADER_B:
            return f"incomplete response: {len(heard)} bytes"
        if heard[2:4] != b"\0\0":
            return "the response is not Modbus TCP"
        if heard[:2] != sent[:2]:
            asked, got = (int.from_bytes(frame[:2], "big") for frame in (sent, heard))
            return f"a response to another request: expected transaction {asked}, got {got}"
        if heard[6] != sent[6]:
            return f"a response from another unit: {heard[6]}"
        length = int.from_bytes(heard[4:6], "big")
        return f"incomplete response: {len(heard)} of {length + 6} bytes" if len(heard) < length + 6 else ""


SPEC = FacilitySource("a power meter with Modbus TCP", Modbus, ModbusMeter)
