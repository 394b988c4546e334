"""The meters of a simulated building on the wire: a Modbus TCP gateway on loopback with each meter as a unit behind it.

The register map is in energy_agent/sim/README.md. Requests of one connection are answered one after another, as by a gateway
with one serial line; a meter that is slow or silent holds up only those who wait for it on the same connection.
"""

import asyncio
import struct
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from energy_agent.core.errors import WattlensError
from energy_agent.runtime.threads import start_thread
from energy_agent.sim.building.meters import MeterRegisters

if TYPE_CHECKING:
    from pymodbus.pdu import ModbusPDU
    from pymodbus.simulator import SimDevice

HOST: Final = "127.0.0.1"
ADDRESSES: Final = {"energy": 0, "power": 2, "energy_wh": 4, "power_w": 8}
"""The same as holding and as input registers: two uint32, a uint64 and a float32, most significant word first."""
PYMODBUS_MIN: Final = (3, 13)
"""Earlier ones serve no devices whose registers are computed when they are read."""
_LENGTH: Final = 10
_START_S: Final = 60.0


def registers(shown: MeterRegisters) -> list[int]:
    """The registers of a meter from address 0 on."""
    packed = struct.pack(">IIQf", shown.count, shown.power, shown.energy_wh, shown.power_w)
    return list(struct.unpack(f">{_LENGTH}H", packed))


class ModbusMeters:
    """Serves in its own thread until `stop`. Unit n is the n-th of `meters`, from 1; `read` returns a meter's registers now."""

    def __init__(self, meters: Sequence[str], read: Callable[[str], MeterRegisters], port: int = 0) -> None:
        """Serve.

        Raises:
            ImportError: pymodbus is not installed, or too old for this server.
            WattlensError: the port is taken.
        """
        import pymodbus

        if tuple(map(int, pymodbus.__version__.split(".")[:2])) < PYMODBUS_MIN:
            raise ImportError(f"pymodbus {pymodbus.__version__} is too old")
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
        from pymodbus.server import ModbusTcpServer
        from pymodbus.server.requesthandler import ServerRequestHandler

        shown = self._registers_of

        class Gateway(ServerRequestHandler):
            """One connection. Its answers go out in the order of the requests, each with the number of its own request."""

            def __init__(self, owner: ModbusTcpServer) -> None:
                super().__init__(owner, None, None, None)  # type: ignore[no-untyped-call]
                self._turn = asyncio.Lock()
                self._tasks: set[asyncio.Task[None]] = set()

            def callback_data(self, data: bytes, addr: tuple[Any, ...] | None = None) -> int:
                used = 0
                while used < len(data):  # one segment may bring many requests
                    taken: int = super().callback_data(data[used:], addr)
                    if not taken:
                        break
                    used += taken
                    if self.last_pdu is not None:
                        task = self.loop.create_task(self._answer(self.last_pdu, addr))
                        self._tasks.add(task)
                        task.add_done_callback(self._tasks.discard)
                return used

            def handle_later(self) -> None:
                """Nothing: the library's way forgets which request an answer that comes late belongs to."""

            async def _answer(self, pdu: "ModbusPDU", address: tuple[Any, ...] | None) -> None:
                async with self._turn:
                    meter = shown(pdu.dev_id)
                    if meter is not None and meter.silent:
                        return
                    if meter is not None and meter.delay_s:
                        await asyncio.sleep(meter.delay_s)
                    answer = await pdu.datastore_update(self.server.context, pdu.dev_id)
                answer.transaction_id, answer.dev_id = pdu.transaction_id, pdu.dev_id
                self.server_send(answer, address)  # type: ignore[no-untyped-call]

        class Server(ModbusTcpServer):
            """The gateway."""

            def callback_new_connection(self) -> Gateway:
                return Gateway(self)

        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = Server(self._devices(), address=(HOST, self._wanted_port))
            await server.serve_forever(background=True)
            self.port = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        except (OSError, RuntimeError) as error:
            self._failure = str(error)
            return
        finally:
            self._up.set()
        await self._ended.wait()
        await server.shutdown()  # type: ignore[no-untyped-call]

    def _devices(self) -> "list[SimDevice]":
        """Each meter as a device of pymodbus; device 0 is every unit that is not there."""
        from pymodbus.constants import ExcCodes
        from pymodbus.simulator import DataType, SimData, SimDevice

        def device(unit: int) -> SimDevice:
            async def fill(
                function: int, start: int, address: int, count: int, current: list[int], written: object
            ) -> ExcCodes | None:
                meter = self._registers_of(unit)
                if meter is None or meter.gateway_failure:
                    return ExcCodes.GATEWAY_NO_RESPONSE
                current[:_LENGTH] = registers(meter)
                return None

            data = SimData(0, count=_LENGTH, datatype=DataType.REGISTERS, readonly=True)
            return SimDevice(unit, [data], action=fill)

        return [device(unit) for unit in (0, *self._by_unit)]

    def _registers_of(self, unit: int) -> MeterRegisters | None:
        return self._read(self._by_unit[unit]) if unit in self._by_unit else None
