"""What two of the peers speak: HTTP/1.1 posts on a connection that stays, and WebSocket as a client."""

import asyncio
import base64
import os
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = b"\x01\x02\x03\x04"


async def answer(reader):
    """Status and headers of an HTTP answer; its body is read and dropped."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split()[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    await reader.readexactly(int(headers.get("content-length", 0)))
    return status, headers


class Post:
    """A connection that posts, one message at a time."""

    @classmethod
    async def connect(cls, port, headers=""):
        post = cls()
        post.reader, post.writer = await asyncio.open_connection("127.0.0.1", port)
        post.headers = f"Host: 127.0.0.1:{port}\r\n{headers}"
        return post

    async def send(self, path, body):
        """Returns when the server has answered that it took it."""
        head = f"POST {path} HTTP/1.1\r\n{self.headers}Content-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        status, _ = await answer(self.reader)
        if status not in (200, 201, 202):
            raise SystemExit(f"POST {path} was answered {status}")

    def close(self):
        self.writer.close()


class WebSocket:
    """A client's end. Pings are answered while messages are read."""

    @classmethod
    async def connect(cls, port, path):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 14)
        self.writer.write((f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                           "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise SystemExit(f"no WebSocket at {path}: {head.decode('latin-1')}")
        return self

    def send(self, payload, opcode=TEXT):
        length = len(payload)
        size = bytes([0x80 | length]) if length < 126 else struct.pack("!BH", 0x80 | 126, length)
        masked = bytes(octet ^ KEY[n % 4] for n, octet in enumerate(payload))
        self.writer.write(bytes([0x80 | opcode]) + size + KEY + masked)

    async def receive(self):
        """The next message; neither server cuts one into pieces."""
        while True:
            first, size = await self.reader.readexactly(2)
            if size == 126:
                size, = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                size, = struct.unpack("!Q", await self.reader.readexactly(8))
            payload = await self.reader.readexactly(size)
            opcode = first & 15
            if opcode in (TEXT, BINARY):
                return payload
            if opcode == PING:
                self.send(payload, PONG)
            if opcode == CLOSE:
                raise asyncio.IncompleteReadError(b"", 1)

    def close(self):
        self.writer.close()


def body(serial, size):
    """A message that can be told from all others, and looks encrypted."""
    serial = f"{serial:08}".encode()
    return serial + os.urandom(size - len(serial))


def serial_of(payload):
    return int(payload[:8])


def unpack(text):
    """Octets out of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
