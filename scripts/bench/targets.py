"""What is measured: kvstore, its limit and its rivals, each started on a free port with its keys in it."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET = Path(subprocess.run([ROOT / "scripts" / "target-dir.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
BUILT = TARGET / "release"

VALUE = '"0123456789012345678901234567890123456789"'
"""42 bytes of JSON."""

SEARCHES = {
    "prefix": "/search?limit=100&prefix=user:{first6}",
    "suffix": "/search?limit=100&suffix={last5}",
    "both": "/search?limit=100&prefix=user:{first3}&suffix={last3}",
}
"""Each matches a hundred of ten million keys, and fewer of less. The last is the worst mix: a hundred thousand keys match
its prefix, ten thousand its suffix."""

Request = tuple[int, str, str, str]
"""Share in percent, method, format of the path, format of the body."""


@dataclass
class Target:
    """Something that serves, and how it is asked."""

    name: str
    keys: int
    url: str
    pids: list[int]
    """The processes whose time is the server's."""
    get: Request
    set: Request
    search: dict[str, Request] = field(default_factory=dict)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def send(url: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": kind} if body else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def until_answers(url: str, body: bytes | None = None) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            send(url, body)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def lines(keys: int) -> Iterator[bytes]:
    """Bulk lines of so many keys, some thousands at a time."""
    for first in range(0, keys, 10_000):
        some = range(first, min(first + 10_000, keys))
        yield "".join(f'{{"key":"user:{number:08d}","value":{VALUE}}}\n' for number in some).encode()


class Starter:
    """Starts targets by name. All end with the block."""

    def __init__(self, stack: ExitStack, workers: int) -> None:
        self.stack = stack
        self.workers = str(workers)
        self.redis: tuple[int, int] | None = None
        self.folder = TARGET / "bench-http"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def run(self, *command: str | Path) -> int:
        """Starts a program and returns its process' number."""
        log = self.stack.enter_context((self.folder / f"{Path(command[0]).name}.log").open("ab"))
        environment = {"PATH": os.environ["PATH"] + ":/usr/sbin"}
        try:
            process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, env=environment)
        except FileNotFoundError:
            sys.exit(f"{command[0]} is not installed: make bench-tools")
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process.pid

    def start(self, name: str) -> Target:
        kind, _, size = name.partition("-")
        match kind:
            case "bare":
                return self.bare(name, size == "prom")
            case "kvstore" if size == "redis":
                return self.kvstore(name, 1000, "--engine", f"redis://127.0.0.1:{self.shared_redis()[0]}")
            case "kvstore":
                return self.kvstore(name, int(float(size.replace("k", "e3").replace("m", "e6"))))
            case "webdis":
                return self.webdis(name)
            case "etcd":
                return self.etcd(name)
            case "nginx":
                return self.nginx(name)
        sys.exit(f"{name}: give any of bare bare-prom kvstore-1k kvstore-1m kvstore-10m kvstore-redis webdis etcd nginx")

    def bare(self, name: str, has_metrics: bool) -> Target:
        port = free_port()
        pid = self.run(BUILT / "examples" / "bare", f"127.0.0.1:{port}", self.workers, "metrics" if has_metrics else "")
        url = f"http://127.0.0.1:{port}"
        until_answers(f"{url}/get/a")
        return Target(name, 1000, url, [pid], *plain())

    def kvstore(self, name: str, keys: int, *more: str) -> Target:
        port = free_port()
        pid = self.run(BUILT / "kvstore", "--listen", f"127.0.0.1:{port}", "--workers", self.workers, *more)
        url = f"http://127.0.0.1:{port}"
        until_answers(f"{url}/readyz")
        for some in lines(keys):
            send(f"{url}/set", some, "application/x-ndjson")
        return Target(name, keys, url, [pid], *plain(), {kind: (100, "GET", path, "") for kind, path in SEARCHES.items()})

    def shared_redis(self) -> tuple[int, int]:
        """The port and process of the Redis that kvstore and webdis share."""
        if not self.redis:
            port = free_port()
            pid = self.run("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder)
            self.redis = port, pid
            time.sleep(0.2)
        return self.redis

    def webdis(self, name: str) -> Target:
        redis, _ = self.shared_redis()
        port = free_port()
        config = self.folder / "webdis.json"
        settings = {
            "redis_host": "127.0.0.1", "redis_port": redis, "http_host": "127.0.0.1", "http_port": port,
            "threads": int(self.workers), "pool_size": 10, "daemonize": False, "verbosity": 0, "logfile": "/dev/null",
        }  # fmt: skip
        config.write_text(json.dumps(settings))
        pid = self.run("webdis", config)
        url = f"http://127.0.0.1:{port}"
        until_answers(f"{url}/PING")
        commands = "".join(f'SET w:{number:08d} "{VALUE.replace(chr(34), chr(92) + chr(34))}"\n' for number in range(1000))
        subprocess.run(["redis-cli", "-p", str(redis)], input=commands, text=True, check=True, stdout=subprocess.DEVNULL)
        return Target(name, 1000, url, [pid], (100, "GET", "/GET/w:{8}.txt", ""), (100, "PUT", "/SET/w:{8}", VALUE))

    def etcd(self, name: str) -> Target:
        client, peer = free_port(), free_port()
        url = f"http://127.0.0.1:{client}"
        pid = self.run(
            "etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
            "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--log-level", "error", "--unsafe-no-fsync",
        )  # fmt: skip
        key, value = (base64.b64encode(text.encode()).decode() for text in ("user:00000001", VALUE))
        put = f'{{"key":"{key}","value":"{value}"}}'
        until_answers(f"{url}/v3/kv/put", put.encode())
        # Base64 of a number that changes is not to be had in a format: one key, which favours etcd.
        return Target(name, 1, url, [pid], (100, "POST", "/v3/kv/range", f'{{"key":"{key}"}}'), (100, "POST", "/v3/kv/put", put))

    def nginx(self, name: str) -> Target:
        port = free_port()
        config = self.folder / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes {self.workers}; pid {self.folder}/nginx.pid; error_log /dev/null;\n"
            "events { worker_connections 1024; }\n"
            "http { access_log off; keepalive_requests 1000000000; default_type application/json;\n"
            f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{VALUE}'; }} }} }}\n"
        )
        pid = self.run("nginx", "-c", config)
        url = f"http://127.0.0.1:{port}"
        until_answers(url)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return Target(name, 1000, url, [int(child) for child in children], *plain())


def plain() -> tuple[Request, Request]:
    """How a value is read and set under the paths of kvstore."""
    return (100, "GET", "/get/user:{8}", ""), (100, "PUT", "/set/user:{8}", VALUE)
