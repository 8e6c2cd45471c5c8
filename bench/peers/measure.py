"""What is measured of each peer: memory of idle subscribers, CPU of messages, and what is left after kill -9."""

import asyncio
import tempfile

import wire
from machine import PATIENCE_S, Server, free_port

# Subscribers that come before memory is measured: what a server allocates once is there then.
WARM_UP_MAX = 100
# Connections that send, each its next message when the one before is answered. `doorbell load` has as many messages
# under way.
SENDERS = 128
# A message that was on its way to a connection that ended may come again after the usual 30 s, and not before.
RETURN_S = 40
# Subscribers that are away while messages come for them, before the kill.
AWAY_MAX = 100


class Ledger:
    """Which messages came; every one is a serial number."""

    def __init__(self):
        self.seen, self.changed = set(), asyncio.Event()

    def got(self, payload):
        self.seen.add(wire.serial_of(payload))
        self.changed.set()

    async def wait_for(self, many, patience_s=PATIENCE_S):
        """Returns when so many have come, or when none has for a while."""
        while len(self.seen) < many:
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), patience_s)
            except asyncio.TimeoutError:
                return


async def measure(make_peer, options):
    """All figures of one peer, each part on a server of its own."""
    figures = await part(make_peer(), options, connected)
    figures.update(await part(make_peer(), options, killed))
    return figures


async def part(peer, options, what):
    with tempfile.TemporaryDirectory(prefix="doorbell-peers-", dir=options.state) as folder:
        port = free_port()
        server = Server(peer.command(folder, port), folder, port)
        try:
            await server.start()
            await peer.prepare(port, options.agents)
            return await what(peer, server, options)
        finally:
            server.kill()


async def connected(peer, server, options):
    ledger, agents = Ledger(), []
    await join(peer, agents, min(options.agents // 10, WARM_UP_MAX), ledger)
    before = await server.settled_memory()
    first = len(agents)
    await join(peer, agents, options.agents, ledger)
    idle = (await server.settled_memory() - before) / (len(agents) - first)

    cpu = server.cpu_s()
    took = await send(peer, options, options.agents)
    await ledger.wait_for(options.messages)
    cpu = server.cpu_s() - cpu
    for agent in agents:
        agent.close()
    return {"idle_bytes_per_subscriber": round(idle), "cpu_s_per_1000": cpu * 1000 / options.messages,
            "accepted_per_s": options.messages / took, "missing": options.messages - len(ledger.seen)}


async def killed(peer, server, options):
    """Messages to subscribers that are away; the server is killed at the last acknowledgement, and they come back."""
    many, ledger, agents, back = min(options.agents, AWAY_MAX), Ledger(), [], []
    await join(peer, agents, many, Ledger())
    for agent in agents:
        agent.close()
    await asyncio.sleep(1)
    await send(peer, options, many, at_end=server.kill)
    await server.start()
    await join(peer, back, many, ledger)
    await ledger.wait_for(options.messages, patience_s=RETURN_S)
    for agent in back:
        agent.close()
    return {"lost": options.messages - len(ledger.seen)}


async def join(peer, agents, until, ledger):
    for n in range(len(agents), until):
        agents.append(await peer.agent(n, ledger.got))


async def send(peer, options, agents, at_end=lambda: None):
    """Sends every message to one of the agents in turn: the seconds until the last one was acknowledged."""
    senders = [await peer.sender(n) for n in range(SENDERS)]
    serials = iter(range(options.messages))
    messages = ((serial, wire.body(serial, options.size)) for serial in serials)

    async def work(sender):
        for serial, body in messages:
            await sender.send(serial % agents, body)

    clock = asyncio.get_running_loop().time
    begun = clock()
    await asyncio.gather(*map(work, senders))
    at_end()
    took = clock() - begun
    for sender in senders:
        sender.close()
    return took
