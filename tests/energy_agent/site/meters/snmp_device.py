"""A small real device for the tests of SNMP: a UDP socket that answers what a test says, well-formed or not."""

import contextlib
import socket
import threading

from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto import api, rfc1902, rfc1905

from energy_agent.runtime.clock import RealClock
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters.snmp import SPEC, Snmp

SNMP = api.PROTOCOL_MODULES[api.SNMP_VERSION_2C]
ENERGY, POWER = "1.3.6.1.4.1.318.1.1.26.4.3.1.9.1", "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"
# However busy the machine is, it answers within that.
METER = MeterConfig(id="pdu-1", role="it", position="pdu_output", accuracy_percent=1, timeout_s=60, max_power_w=20_000)
HASTY = METER.model_copy(update={"timeout_s": 0.3})


class Device:
    """Answers GETs for `values`; `garble` changes the bytes of each answer, or what it means (`forge`)."""

    def __init__(self):
        self.requests = []
        self.reset()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def reset(self):
        """Reset to an APC PDU that returns correct values."""
        self.values = {ENERGY: rfc1902.Integer32(170_982), POWER: rfc1902.Integer32(185)}
        self.garble, self.forge = lambda data: [data], lambda message, pdu: None
        self.requests.clear()

    def run(self):
        while True:
            data, peer = self.socket.recvfrom(65535)
            if data == b"stop":
                return
            message, _ = decoder.decode(data, asn1Spec=SNMP.Message())
            asked = [str(oid) for oid, _ in SNMP.apiPDU.get_varbinds(SNMP.apiMessage.get_pdu(message))]
            self.requests.append(asked)
            answer = SNMP.apiMessage.get_response(message)
            pdu = SNMP.apiMessage.get_pdu(answer)
            SNMP.apiPDU.set_varbinds(pdu, [(oid, self.values.get(oid, rfc1905.noSuchInstance)) for oid in asked])
            self.forge(answer, pdu)
            for each in self.garble(encoder.encode(answer)):
                self.socket.sendto(each, peer)

    def stop(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as knock:
            knock.sendto(b"stop", ("127.0.0.1", self.port))
        self.thread.join()
        self.socket.close()


def section(device, community, **more):
    profile = {} if {"energy", "power"} & set(more) else {"profile": "apc-rpdu2"}
    where = {"host": "127.0.0.1", "port": device.port}
    return Snmp(version="2c", community_file=community, **where | profile | more)


@contextlib.contextmanager
def opened(device, community, meter=METER, **more):
    source = SPEC.open(section(device, community, **more), meter, RealClock())
    try:
        yield source
    finally:
        source.close()


def read(device, community, meter=METER, **more):
    with opened(device, community, meter, **more) as source:
        (reading,) = source.read()
        return reading
