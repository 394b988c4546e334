"""The meters of a simulated building on the wire: a Modbus TCP gateway on loopback with each meter as a unit behind it.

The register map is in energy_agent/sim/README.md. Requests of one connection are answered one after another, as by a gateway
with one serial line; a meter that is slow or silent holds up only those who wait for it on the same connection.
"""

import asyncio
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from energy_agent.core.errors import WattlensError
from energy_agent.runtime.threads import start_thread
from energy_agent.sim.building.meters import MeterRegisters

HOST: Final = "127.0.0.1"
ADDRESSES: Final = {"energy": 0, "power": 2, "energy_wh": 4, "power_w": 8}
"""The same as holding and as input registers: two uint32, a uint64 and a float32, most significant word first."""
_LENGTH: Final = 10
_START_S: Final = 60.0
_HEADER_B: Final = 7
_REQUEST_MAX_B: Final = 254  # from the unit on
_FUNCTIONS: Final = (3, 4)
_REGISTERS_MAX: Final = 125  # of one request
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE, _NO_RESPONSE = 1, 2, 3, 11


def registers(meter_registers: MeterRegisters) -> list[int]:
    """The registers of a meter from address 0 on."""
    packed = struct.pack(
        ">IIQf", meter_registers.count, meter_registers.power, meter_registers.energy_wh, meter_registers.power_w
    )
    return list(struct.unpack(f">{_LENGTH}H", packed))


class ModbusMeters:
    """Serves in its own thread until `stop`. Unit n is the n-th of `meters`, from 1; `read` returns a meter's registers now."""

    def __init__(self, meters: Sequence[str], read: Callable[[str], MeterRegisters], port: int = 0) -> None:
        """Serve.

        Raises:
            WattlensError: the port is taken.
        """
        self.units = {meter: unit for unit, meter in enumerate(meters, 1)}
        self._by_unit = dict(enumerate(meters, 1))
        self._read, self._wanted_port = read, port
        self.port, self._failure = 0, ""
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="modbus-meters", daemon=True)
        start_thread(self._thread)
        self._up.wait(_START_S)
        if not self.port:
            raise WattlensError(f"cannot serve the meters on {HOST}:{port}: {self._failure or 'no response'}")

    def stop(self) -> None:
        """Answer no more."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await asyncio.start_server(self._converse, HOST, self._wanted_port)
            self.port = server.sockets[0].getsockname()[1]
        except OSError as error:
            self._failure = str(error)
            return
        finally:
            self._up.set()
        await self._ended.wait()
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after another."""
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                transaction, protocol, length, unit = struct.unpack(">HHHB", await reader.readexactly(_HEADER_B))
                if protocol or not 1 < length <= _REQUEST_MAX_B:
                    break
                answer = await self._answer(unit, await reader.readexactly(length - 1))
                if answer:
                    writer.write(struct.pack(">HHHB", transaction, 0, len(answer) + 1, unit) + answer)
                    await writer.drain()
        writer.close()

    async def _answer(self, unit: int, request: bytes) -> bytes:
        """Function and data of the answer to those of a request; none while the meter is silent."""
        meter, function = self._read(self._by_unit[unit]) if unit in self._by_unit else None, request[0]
        if meter is not None and meter.silent:
            return b""
        if meter is not None:
            await asyncio.sleep(meter.delay_s)

        def refuse(code: int) -> bytes:
            return bytes([function | 0x80, code])

        if function not in _FUNCTIONS:
            return refuse(_ILLEGAL_FUNCTION)
        if len(request) != struct.calcsize(">BHH"):
            return refuse(_ILLEGAL_VALUE)
        first, count = struct.unpack(">HH", request[1:])
        if not 1 <= count <= _REGISTERS_MAX:
            return refuse(_ILLEGAL_VALUE)
        if first + count > _LENGTH:
            return refuse(_ILLEGAL_ADDRESS)
        if meter is None or meter.gateway_failure:
            return refuse(_NO_RESPONSE)
        return struct.pack(f">BB{count}H", function, 2 * count, *registers(meter)[first : first + count])
