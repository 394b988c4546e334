"""Power meters that speak Modbus TCP: an energy register, a power register, or both.

Sources: Modbus Application Protocol V1.1b3 (functions 3 and 4, exception codes) and Modbus Messaging on TCP/IP V1.0b (header).
"""

import socket
import struct
import time
from decimal import Decimal
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from energy_agent.config.formats import Host
from energy_agent.config.section import Section
from energy_agent.core.meters.reading import MeterError, MeterReading
from energy_agent.core.ports import Clock
from energy_agent.runtime.network.connection import ConnectError, DeadlineError, connect
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters._age import EdgeAge
from energy_agent.site.meters._registers import Type, number, range_of, resolution, words_of
from energy_agent.site.meters._source import FacilitySource, reading

_NEAR_WORDS: Final = 60  # so far apart, registers are read in one request, which may take 125
_ADDRESSES: Final = 65_536
_HEADER_B: Final = 7  # transaction, protocol, length: two bytes each; unit: one
_REQUEST_B: Final = 6  # from the unit on
_LENGTHS: Final = (3, 254)  # of an answer, from the unit on: that of an exception, and the largest
_FRAME_MAX_B: Final = 260
_TRANSACTIONS: Final = 0xFFFF
_REFUSED: Final = 0x80  # added to the function of the request
_INCOMPLETE: Final = "incomplete response"
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
    def _check_end_address(self) -> Self:
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
    def _check_registers(self) -> Self:
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
    """A connection to one address. `deadline_s` is for all of connecting, asking and answering."""

    def __init__(self, host: str, port: int, unit: int) -> None:
        self._host, self._port, self._unit = host, port, unit
        self.deadline_s = 0.0
        self._socket: socket.socket | None = None
        self._transaction = 0

    def ask(self, table: str, address: int, count: int) -> list[int]:
        """The words of `count` registers.

        Raises:
            MeterError: no such answer.
        """
        function = _FUNCTIONS[table]
        self._transaction = self._transaction % _TRANSACTIONS + 1
        asked = struct.pack(">HHHBBHH", self._transaction, 0, _REQUEST_B, self._unit, function, address, count)
        try:
            line = self._connect()
            line.settimeout(self._remaining_s(asked, b""))
            line.sendall(asked)
            answer = self._receive(line, asked)
        except OSError as error:
            raise MeterError(self._named(error.strerror or str(error) or type(error).__name__)) from None
        if answer[0] == function | _REFUSED:
            code = answer[1]
            which = f"{table} registers {address} to {address + count - 1}"
            refused = _NotThereError if code in _NOT_THERE else MeterError
            raise refused(self._named(f"refuses {which}: {_EXCEPTIONS.get(code, 'exception')} (code {code})"))
        if answer[0] != function:
            raise MeterError(self._named(f"expected a response of function {function}, got function {answer[0]}"))
        size, words = answer[1], answer[2:]
        if size != len(words) or size % 2:
            raise MeterError(self._named(f"invalid response ({size} bytes announced, {len(words)} sent)"))
        if len(words) != 2 * count:
            raise MeterError(self._named(f"incomplete response: {len(words) // 2} of {count} registers"))
        return list(struct.unpack(f">{count}H", words))

    def close(self) -> None:
        """Hang up."""
        line, self._socket = self._socket, None
        if line is not None:
            line.close()

    def _named(self, reason: str) -> str:
        return f"{self._host}:{self._port} unit {self._unit}: {reason}"

    def _remaining_s(self, asked: bytes, received: bytes) -> float:
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            raise MeterError(self._named(_fault(asked, received) or "no response in time"))
        return max(_LEAST_S, left_s)

    def _connect(self) -> socket.socket:
        if self._socket is None:
            try:
                self._socket = connect(self._host, self._port, self.deadline_s)
            except DeadlineError:
                raise MeterError(self._named("no connection in time")) from None
            except ConnectError as error:
                raise MeterError(self._named(str(error))) from None
        return self._socket

    def _receive(self, line: socket.socket, asked: bytes) -> bytes:
        """The function and the data of the answer: what follows its header."""
        received = b""
        while len(received) < _HEADER_B + 1 or _fault(asked, received):
            if received and not _fault(asked, received).startswith(_INCOMPLETE):
                raise MeterError(self._named(_fault(asked, received)))
            line.settimeout(self._remaining_s(asked, received))
            try:
                data = line.recv(_FRAME_MAX_B)
            except TimeoutError:
                continue
            if not data:
                raise MeterError(self._named(_fault(asked, received) or "closed the connection without a response"))
            received += data
        return received[_HEADER_B : 6 + int.from_bytes(received[4:6], "big")]


def _fault(asked: bytes, received: bytes) -> str:
    """What is wrong with what came after a request; "" where nothing did, or a whole answer."""
    if not received:
        return ""
    if len(received) <= _HEADER_B:
        return f"{_INCOMPLETE}: {len(received)} bytes"
    transaction, protocol, length, unit = struct.unpack(">HHHB", received[:_HEADER_B])
    if protocol:
        return "the response is not Modbus TCP"
    if received[:2] != asked[:2]:
        return f"a response to another request: expected transaction {int.from_bytes(asked[:2], 'big')}, got {transaction}"
    if unit != asked[6]:
        return f"a response from another unit: {unit}"
    if not _LENGTHS[0] <= length <= _LENGTHS[1]:
        return f"invalid response (a length of {length} bytes)"
    return f"{_INCOMPLETE}: {len(received)} of {length + 6} bytes" if len(received) < length + 6 else ""


SPEC = FacilitySource("a power meter with Modbus TCP", Modbus, ModbusMeter)
