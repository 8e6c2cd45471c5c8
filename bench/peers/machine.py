"""A server as a process: started with a directory and a port of its own, looked at in /proc, stopped or killed."""

import asyncio
import os
import signal
import socket
import subprocess
import time

PATIENCE_S = 30
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Server:
    """A process with its children."""

    def __init__(self, command, folder, port):
        self.command, self.folder, self.port = command, folder, port
        self.process = None

    async def start(self):
        """Returns when it takes connections."""
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.folder, start_new_session=True)
        for _ in range(PATIENCE_S * 20):
            if self.process.poll() is not None:
                break
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.05)
        with open(os.path.join(self.folder, "log"), errors="replace") as log:
            tail = log.read()[-2000:]
        self.kill()
        raise SystemExit(f"{self.command[0]} did not start; its log ends with:\n{tail}")

    def kill(self):
        """As the kernel does when memory is short: without a word."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process = None
        # A child may outlive its parent by a moment, and the socket with it.
        for _ in range(PATIENCE_S * 100):
            if not listens(self.port):
                break
            time.sleep(0.01)

    def cpu_s(self):
        """User and system time of all its processes so far."""
        def ticks(pid):
            # Fields 14 and 15 of proc(5), counted from behind the name in parentheses.
            fields = read(pid, "stat").rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
        return sum(ticks(pid) for pid in self.pids()) / TICKS_PER_S

    def memory(self):
        """Octets of memory of its own: anonymous of each process, and what they share once."""
        def field(pid, name):
            lines = (line.split() for line in read(pid, "status").splitlines() if line.startswith(name + ":"))
            return sum(int(words[1]) for words in lines) * 1024
        pids = self.pids()
        return sum(field(pid, "RssAnon") for pid in pids) + max(field(pid, "RssShmem") for pid in pids)

    async def settled_memory(self):
        """The memory when it has stopped to change, within a hundredth."""
        before = self.memory()
        for _ in range(PATIENCE_S):
            await asyncio.sleep(1)
            now = self.memory()
            if abs(now - before) * 100 < now:
                return now
            before = now
        return before

    def pids(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
            return [self.process.pid, *map(int, children.read().split())]


def read(pid, name):
    with open(f"/proc/{pid}/{name}") as file:
        return file.read()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
