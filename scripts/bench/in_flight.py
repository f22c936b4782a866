#!/usr/bin/env python3
"""What the process takes while clients hold it up: bodies that do not end, and answers that are not read.

Prints resident memory in MiB, by case. `BINARY=…` measures another binary, with `ARGUMENTS`.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from targets import BUILT

BINARY = os.environ.get("BINARY", str(BUILT / "kvstore"))
ARGUMENTS = os.environ.get("ARGUMENTS", "--buffers-bytes-max 67108864").split()


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """A server on a free port: the port, and its process."""
    process = subprocess.Popen(
        [BINARY, "--listen", "127.0.0.1:0", "--workers", "2", *ARGUMENTS], stderr=subprocess.PIPE, text=True
    )
    try:
        for line in process.stderr:
            if " listens on " in line:
                yield int(line.rsplit(":", 1)[1]), process.pid
                return
    finally:
        process.kill()
        process.wait()


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def pushed(port: int, data: bytes) -> socket.socket:
    """A client that has sent what the server takes within a moment."""
    client = socket.create_connection(("127.0.0.1", port))
    client.setblocking(False)
    sent, until = 0, time.monotonic() + 0.3
    while sent < len(data) and time.monotonic() < until:
        try:
            sent += client.send(data[sent:])
        except BlockingIOError:
            time.sleep(0.002)
        except OSError:
            break
    return client


def request(method: str, path: str, content_type: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def main() -> None:
    with server() as (port, pid):
        print(f"idle: {resident_mib(pid):.0f} MiB")
        body = request("POST", "/set", "application/json", b'"' + b"x" * 2_000_000)[:-1]
        clients = [pushed(port, body) for _ in range(200)]
        print(f"200 bodies of 2 MB that do not end: {resident_mib(pid):.0f} MiB")
        del clients
    with server() as (port, pid):
        lines = "".join(f'{{"key":"{number:06}{chr(92)}u0001{"x" * 1000}","value":1}}\n' for number in range(10_000))
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(request("POST", "/set", "application/x-ndjson", lines.encode()))
        assert b" 200 OK" in client.recv(1000)
        print(f"10,000 keys of 1 kB: {resident_mib(pid):.0f} MiB")
        page = b"GET /search?prefix=&limit=10000 HTTP/1.1\r\nHost: bench\r\n\r\n"
        clients = [pushed(port, page) for _ in range(100)]
        time.sleep(3)
        print(f"100 pages of all of them that nobody reads: {resident_mib(pid):.0f} MiB")
        del clients


if __name__ == "__main__":
    main()
