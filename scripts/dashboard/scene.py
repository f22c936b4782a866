"""A Prometheus that scrapes two kvstore servers, one with a data directory and one on a Redis, under a load of every kind.

It starts the real programs on free ports and ends them with the block.
"""

import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

DEADLINE_S = 30


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **parameters: str | float) -> dict:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{parameters}: {error.read().decode()}") from error

    def now(self, expression: str) -> list[dict]:
        return self.ask("query", query=expression)["result"]

    def between(self, expression: str, start_s: float, end_s: float, step_s: float) -> list[dict]:
        return self.ask("query_range", query=expression, start=start_s, end=end_s, step=step_s)["result"]


def until(what: str, probe) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not probe():
        assert time.monotonic() < deadline, f"{what} within {DEADLINE_S} s"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running(*command: str | Path) -> Iterator[subprocess.Popen]:
    # Of our own environment only where programs are: no KVSTORE_ setting of the caller's.
    environment = {"PATH": os.environ["PATH"] + ":/usr/sbin"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([str(part) for part in command], stdout=quiet, stderr=quiet, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


@contextmanager
def scene(binary: Path, folder: Path, settings: list[str], rules: dict | None = None) -> Iterator[tuple[Prometheus, list[str]]]:
    """Prometheus and the URLs of the two servers."""
    with ExitStack() as stack:
        redis = free_port()
        stack.enter_context(running("redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", folder))
        ports = [free_port(), free_port()]
        settings = ["--workers", "1", "--value-bytes-max", "1000", *settings]
        keeps = [["--data-dir", folder / "kept"], ["--engine", f"redis://127.0.0.1:{redis}"]]
        for port, where in zip(ports, keeps, strict=True):
            stack.enter_context(running(binary, "--listen", f"127.0.0.1:{port}", *where, *settings))
        for port in ports:
            until("kvstore is ready", lambda port=port: answers(f"http://127.0.0.1:{port}/readyz"))
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [
                {
                    "job_name": "kvstore",
                    "static_configs": [
                        {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "kv", "pod": f"kvstore-{number}"}}
                        for number, port in enumerate(ports)
                    ],
                }
            ],
        }
        if rules:
            (folder / "rules.json").write_text(json.dumps(rules))
            config["rule_files"] = ["rules.json"]
        # JSON is YAML.
        (folder / "prometheus.json").write_text(json.dumps(config))
        port = free_port()
        stack.enter_context(
            running(
                "prometheus",
                f"--config.file={folder / 'prometheus.json'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            )
        )
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        until("Prometheus is ready", lambda: answers(f"{prometheus.url}/-/ready"))
        yield prometheus, [f"http://127.0.0.1:{port}" for port in ports]


class Load:
    """Requests of every kind, right and wrong, without a pause but that of `pace_s`."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self.pace_s = 0.0
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(url, number)) for url in urls for number in range(3)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def run(self, url: str, number: int) -> None:
        json_type = {"Content-Type": "application/json"}
        lines = {"Content-Type": "application/x-ndjson"}
        turn = 0
        while not self.stopped.is_set():
            turn += 1
            key = f"user:{number}:{turn}:name"
            self.send(url, "PUT", f"/set/{key}", b"Ada Lovelace")
            for back in range(8):
                self.send(url, "GET", f"/get/user:{number}:{max(1, turn - back)}:name")
            self.send(url, "GET", f"/search?prefix=user:{number}&suffix=name&limit=20")
            if turn % 5 == 0:
                self.send(url, "GET", "/get/nobody")
                self.send(url, "DELETE", f"/delete/user:{number}:{turn // 2}:name")
                self.send(url, "POST", "/set", b'{"key": "k", "value": 1}', json_type)
            if turn % 20 == 0:
                self.send(url, "POST", "/set", b"{", json_type)
                self.send(url, "PUT", "/set/large", b"x" * 2000)
                self.send(url, "GET", "/nowhere")
                self.send(url, "PATCH", "/get/k")
                bulk = "".join(f'{{"key": "bulk:{number}:{turn}:{line}", "value": {line}}}\n' for line in range(200))
                self.send(url, "POST", "/set", bulk.encode(), lines)
                self.send(url, "GET", "/search?prefix=")
            self.stopped.wait(self.pace_s)

    def send(self, url: str, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> None:
        request = urllib.request.Request(url + path, method=method, data=body, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()
        except OSError:
            # Many of these are wrong on purpose.
            pass
