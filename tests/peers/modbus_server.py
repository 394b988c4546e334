"""A Modbus TCP server in a process of its own: `modbus_server.py PORT`; a line on stdin is a JSON object of what to change.

`holding` and `input`: [address, [words]] to set. `exception`: a code to answer with, 0 for none. `late_s`: seconds to wait
before each answer. `holes`: addresses that are not there. `raw`: bytes in hex to answer with instead, in which TTTT is the
request's transaction and UU its unit; `drip_s`: seconds between two of them; `then`: "hold" or "close" the connection. Each
line is answered by "ok" when it holds.
"""

import asyncio
import json
import sys

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

REGISTERS = 2_000
TABLES = {3: "holding", 4: "input"}
faults = {"exception": 0, "late_s": 0.0, "holes": [], "raw": None, "drip_s": 0.0, "then": "hold"}
words = {"holding": [0] * REGISTERS, "input": [0] * REGISTERS}


async def on_read(function_code, _start, address, count, registers, _set_values):
    await asyncio.sleep(faults["late_s"])
    if faults["exception"]:
        return ExcCodes(faults["exception"])
    if any(address <= hole < address + count for hole in faults["holes"]):
        return ExcCodes.ILLEGAL_ADDRESS
    registers[:] = words[TABLES[function_code]]
    return None


async def lie(reader, writer):
    """Answer every request with the given bytes."""
    while request := await reader.read(260):
        frame = faults["raw"].replace("TTTT", request[:2].hex()).replace("UU", request[6:7].hex())
        for byte in bytes.fromhex(frame):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(faults["drip_s"])
        if faults["then"] == "close":
            writer.close()
            return


async def front(upstream_port, reader, writer):
    """Forward a connection to the real server, unless a false response is set."""
    if faults["raw"] is not None:
        await lie(reader, writer)
        return
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", upstream_port)

    async def copy(source, sink):
        while data := await source.read(4096):
            sink.write(data)
            await sink.drain()
        sink.close()

    await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer), return_exceptions=True)


async def main(port):
    blocks = [SimData(0, count=REGISTERS, datatype=DataType.REGISTERS)]
    bits = [SimData(0, datatype=DataType.BITS)]
    device = SimDevice(id=1, simdata=(bits, bits, blocks, blocks), action=on_read)
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    upstream_port = server.transport.sockets[0].getsockname()[1]
    listening = await asyncio.start_server(lambda r, w: front(upstream_port, r, w), "127.0.0.1", port)
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    print("listening", flush=True)
    while line := await stdin.readline():
        change = json.loads(line)
        for table in words:
            for at, values in change.pop(table, []):
                words[table][at : at + len(values)] = values
        faults.update(change)
        print("ok", flush=True)
    listening.close()


asyncio.run(main(int(sys.argv[1])))
