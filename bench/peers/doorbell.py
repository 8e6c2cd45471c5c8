"""Doorbell by the same means as the peers: Firefox's protocol without TLS, posts over HTTP/1.1 without VAPID."""

import asyncio
import json
import os
import urllib.parse

import wire

NAME = "Doorbell, the same client"
TLS = False
DURABLE = "yes: synced before the answer"

# What would bound the measurement instead of the machine.
UNBOUNDED = ["--rate-per-subscription=0", "--rate-per-key=0", "--messages-per-agent-max=4000000000",
             "--bytes-per-agent-max=1000000000000", "--connections-max=1000000"]
CHANNEL = "d9b74644-4f97-46aa-b8fa-9393985cd6cd"
HEADERS = "TTL: 3600\r\nContent-Encoding: aes128gcm\r\n"


class Peer:
    def __init__(self, program):
        self.program = program
        self.uaids, self.paths = {}, {}

    def command(self, folder, port):
        return [self.program, "serve", *UNBOUNDED, "--plain", "--listen", f"127.0.0.1:{port}",
                "--state-dir", os.path.join(folder, "state")]

    async def prepare(self, port, agents):
        self.port = port

    async def agent(self, n, got):
        """Says hello, with a subscription of its own; `got` is called with each message once it is acknowledged."""
        socket = await wire.WebSocket.connect(self.port, "/")
        agent = Agent(socket, got)
        socket.send(json.dumps({"messageType": "hello", "use_webpush": True, "uaid": self.uaids.get(n, "")}).encode())
        hello = await agent.answer("hello")
        if hello["uaid"] != self.uaids.setdefault(n, hello["uaid"]):
            raise SystemExit("Doorbell did not know an agent any more")
        if n not in self.paths:
            socket.send(json.dumps({"messageType": "register", "channelID": CHANNEL}).encode())
            self.paths[n] = urllib.parse.urlsplit((await agent.answer("register"))["pushEndpoint"]).path
        agent.task = asyncio.create_task(agent.listen())
        return agent

    async def sender(self, n):
        return Sender(self, await wire.Post.connect(self.port, HEADERS))


class Sender:
    def __init__(self, peer, post):
        self.peer, self.post = peer, post

    async def send(self, n, body):
        await self.post.send(self.peer.paths[n], body)

    def close(self):
        self.post.close()


class Agent:
    def __init__(self, socket, got):
        self.socket, self.got = socket, got

    async def answer(self, kind):
        while True:
            message = json.loads(await self.socket.receive())
            if message["messageType"] == kind:
                return message
            self.take(message)

    async def listen(self):
        while True:
            self.take(json.loads(await self.socket.receive()))

    def take(self, message):
        update = {"channelID": message["channelID"], "version": message["version"], "code": 100}
        self.socket.send(json.dumps({"messageType": "ack", "updates": [update]}).encode())
        self.got(wire.unpack(message["data"]))

    def close(self):
        self.task.cancel()
        self.socket.close()
