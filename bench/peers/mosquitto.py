"""mosquitto: MQTT 3.1.1, QoS 1, sessions that stay, persistence on (OASIS MQTT 3.1.1)."""

import asyncio
import getpass
import os
import struct

NAME = "mosquitto, QoS 1, persistence"
PROGRAMS = {"mosquitto": "mosquitto"}
TLS = False
DURABLE = "no: saved every 30 minutes and at the end"


class Peer:
    def command(self, folder, port):
        conf = os.path.join(folder, "mosquitto.conf")
        with open(conf, "w") as file:
            file.write(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser {getpass.getuser()}\n"
                       f"persistence true\npersistence_location {folder}/\nmax_queued_messages 0\n"
                       "set_tcp_nodelay true\nlog_type error\n")
        return ["mosquitto", "-c", conf]

    async def prepare(self, port, agents):
        self.port = port

    async def agent(self, n, got):
        """Subscribes; `got` is called with each message once it is acknowledged."""
        connection = await Connection.open(self.port, f"agent-{n}", clean=False)
        connection.packet(0x82, b"\x00\x01" + text(f"p/{n}") + b"\x01")
        await connection.expect(0x90, got)
        connection.task = asyncio.create_task(connection.listen(got))
        return connection

    async def sender(self, n):
        return Sender(await Connection.open(self.port, f"sender-{n}", clean=True))


class Sender:
    def __init__(self, connection):
        self.connection, self.id = connection, 0

    async def send(self, n, body):
        self.id = self.id % 65535 + 1
        self.connection.packet(0x32, text(f"p/{n}") + struct.pack("!H", self.id) + body)
        await self.connection.expect(0x40, None)

    def close(self):
        self.connection.close()


class Connection:
    task = None

    @classmethod
    async def open(cls, port, name, clean):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 14)
        # No keep-alive: an idle subscriber costs no CPU.
        self.packet(0x10, text("MQTT") + bytes([4, 2 if clean else 0, 0, 0]) + text(name))
        await self.expect(0x20, None)
        return self

    def packet(self, kind, payload):
        length, size = len(payload), bytearray()
        while True:
            length, low = divmod(length, 128)
            size.append(low | (0x80 if length else 0))
            if not length:
                break
        self.writer.write(bytes([kind]) + bytes(size) + payload)

    async def read(self):
        kind, = await self.reader.readexactly(1)
        length = shift = 0
        while True:
            octet, = await self.reader.readexactly(1)
            length |= (octet & 127) << shift
            shift += 7
            if octet < 128:
                return kind, await self.reader.readexactly(length)

    async def expect(self, wanted, got):
        """The packet of this kind. What waited for a session may come before it."""
        while True:
            kind, payload = await self.read()
            if kind == wanted:
                return payload
            self.take(kind, payload, got)

    async def listen(self, got):
        while True:
            self.take(*await self.read(), got)

    def take(self, kind, payload, got):
        if kind & 0xF0 != 0x30:
            raise SystemExit(f"mosquitto sent an MQTT packet of kind {kind:#x}")
        at = 2 + struct.unpack("!H", payload[:2])[0]
        self.packet(0x40, payload[at:at + 2])
        got(payload[at + 2:])

    def close(self):
        if self.task:
            self.task.cancel()
        self.writer.close()


def text(value):
    return struct.pack("!H", len(value)) + value.encode()
