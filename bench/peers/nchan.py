"""nchan, a module of nginx: HTTP posts in, WebSocket out. It has no acknowledgements and keeps messages in memory."""

import asyncio
import getpass
import os

import wire

NAME = "nchan in nginx"
PROGRAMS = {"nginx": "nginx", "/usr/lib/nginx/modules/ngx_nchan_module.so": "libnginx-mod-nchan"}
TLS = False
DURABLE = "no: in memory"

CONF = """
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off; worker_processes 1; worker_rlimit_nofile 65536; user {user};
pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 60000; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 1h;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    nchan_shared_memory_size 1024M; nchan_message_buffer_length 1000000; nchan_message_timeout 1h;
    server {{
        listen 127.0.0.1:{port};
        location ~ ^/pub/(\\w+)$ {{ nchan_publisher; nchan_channel_id $1; }}
        location ~ ^/sub/(\\w+)$ {{
            nchan_subscriber websocket; nchan_channel_id $1; nchan_subscriber_first_message oldest;
        }}
    }}
}}
"""


class Peer:
    def command(self, folder, port):
        conf = os.path.join(folder, "nginx.conf")
        with open(conf, "w") as file:
            file.write(CONF.format(folder=folder, port=port, user=getpass.getuser()))
        return ["nginx", "-e", os.path.join(folder, "error.log"), "-c", conf]

    async def prepare(self, port, agents):
        self.port = port

    async def agent(self, n, got):
        """Subscribes; `got` is called with each message."""
        return Agent(await wire.WebSocket.connect(self.port, f"/sub/{n}"), got)

    async def sender(self, n):
        return Sender(await wire.Post.connect(self.port))


class Sender:
    def __init__(self, post):
        self.post = post

    async def send(self, n, body):
        await self.post.send(f"/pub/{n}", body)

    def close(self):
        self.post.close()


class Agent:
    def __init__(self, socket, got):
        self.socket = socket
        self.task = asyncio.create_task(self.listen(got))

    async def listen(self, got):
        while True:
            got(await self.socket.receive())

    def close(self):
        self.task.cancel()
        self.socket.close()
