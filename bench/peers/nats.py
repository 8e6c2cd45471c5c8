"""NATS with JetStream: a stream in files, a durable consumer for each subscriber; what is acknowledged is gone."""

import asyncio
import json
import os

NAME = "NATS JetStream, file store"
PROGRAMS = {"nats-server": "nats-server"}
TLS = False
DURABLE = "written, synced every 2 minutes"


class Peer:
    def command(self, folder, port):
        store = os.path.join(folder, "jetstream")
        return ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", store]

    async def prepare(self, port, agents):
        self.port = port
        self.admin = await Connection.open(port)
        stream = {"name": "push", "subjects": ["p.*"], "storage": "file", "retention": "workqueue"}
        await self.admin.ask("$JS.API.STREAM.CREATE.push", stream)
        self.consumers = set()

    async def agent(self, n, got):
        """Subscribes; `got` is called with each message once it is acknowledged."""
        agent = await Connection.open(self.port)
        agent.write(f"SUB d.{n} 1\r\n")
        # The answer to a ping shows that the subscription is there before anything is sent to it.
        await agent.ping()
        if n not in self.consumers:
            config = {"durable_name": f"c{n}", "deliver_subject": f"d.{n}", "filter_subject": f"p.{n}",
                      "ack_policy": "explicit", "deliver_policy": "all"}
            await self.admin.ask(f"$JS.API.CONSUMER.DURABLE.CREATE.push.c{n}",
                                 {"stream_name": "push", "config": config})
            self.consumers.add(n)
        agent.task = asyncio.create_task(agent.listen(got))
        return agent

    async def sender(self, n):
        return Sender(await Connection.open(self.port))


class Sender:
    def __init__(self, connection):
        self.connection = connection

    async def send(self, n, body):
        await self.connection.ask(f"p.{n}", body)

    def close(self):
        self.connection.close()


class Connection:
    task = None
    inboxes = 0

    @classmethod
    async def open(cls, port):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 14)
        await self.reader.readline()
        Connection.inboxes += 1
        self.inbox = f"_INBOX.{Connection.inboxes}"
        self.write('CONNECT {"verbose":false,"pedantic":false}\r\n')
        return self

    def write(self, text, payload=b""):
        self.writer.write(text.encode() + payload)

    async def ping(self):
        self.write("PING\r\n")
        while await self.reader.readline() != b"PONG\r\n":
            pass

    async def ask(self, subject, question):
        """The answer to a JetStream request: its JSON."""
        if self.inbox:
            self.reply, self.inbox = self.inbox, None
            self.write(f"SUB {self.reply} 2\r\n")
        payload = question if isinstance(question, bytes) else json.dumps(question).encode()
        self.write(f"PUB {subject} {self.reply} {len(payload)}\r\n", payload + b"\r\n")
        _, payload = await self.message()
        answer = json.loads(payload)
        if "error" in answer:
            raise SystemExit(f"{subject}: {answer['error']}")
        return answer

    async def message(self):
        """The next message: the subject that answers it, and its payload. Pings are answered on the way."""
        while True:
            words = (await self.reader.readline()).split()
            if not words:
                raise asyncio.IncompleteReadError(b"", 1)
            if words[0] == b"PING":
                self.write("PONG\r\n")
            if words[0] == b"-ERR":
                raise SystemExit(f"nats-server: {words}")
            if words[0] == b"MSG":
                payload = await self.reader.readexactly(int(words[-1]) + 2)
                return (words[3].decode() if len(words) == 5 else None), payload[:-2]

    async def listen(self, got):
        while True:
            reply, payload = await self.message()
            self.write(f"PUB {reply} 4\r\n+ACK\r\n")
            got(payload)

    def close(self):
        if self.task:
            self.task.cancel()
        self.writer.close()
