"""Servers to look at, and asking them beside the page."""

import base64
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parents[2]


def binary() -> Path:
    """The binary to ask, as it was built last."""
    if named := os.environ.get("KVSTORE_BINARY"):
        return Path(named)
    said = subprocess.run([ROOT / "scripts" / "target-dir.sh"], check=True, stdout=subprocess.PIPE, text=True)
    target = Path(said.stdout.strip())
    there = [path for path in (target / profile / "kvstore" for profile in ("debug", "release")) if path.exists()]
    assert there, f"there is no kvstore in {target}: build it first (cargo build), or name one by KVSTORE_BINARY"
    return max(there, key=lambda path: path.stat().st_mtime)


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str):
        """The answer to a request: its status, headers and body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=named)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.headers, refused.read()

    def put(self, key: str, body: bytes, content_type: str = "text/plain", query: str = "", **headers: str) -> str:
        """Sets a key; gives its entity tag."""
        status, said, text = self.ask("PUT", f"/set/{quote(key, safe='')}{query}", body, Content_Type=content_type, **headers)
        assert status == 200, text
        return said["etag"]

    def set_all(self, lines) -> None:
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        status, _, text = self.ask("POST", "/set", body, Content_Type="application/x-ndjson")
        assert status == 200, text

    def get(self, key: str):
        """Its type and body, with its headers; None where there is none."""
        status, headers, body = self.ask("GET", f"/get/{quote(key, safe='')}")
        return None if status == 404 else (headers["content-type"], body, headers)

    def delete(self, key: str) -> None:
        status, _, text = self.ask("DELETE", f"/delete/{quote(key, safe='')}")
        assert status == 204, text


@contextmanager
def serving(*arguments: str, listen: str = "127.0.0.1:0"):
    """Runs a server until it is not needed any more."""
    command = [binary(), "--listen", listen, "--workers", "2", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]})
    try:
        for line in process.stderr:
            if " listens on " in line:
                yield Server("http://" + line.split(" listens on ")[1].strip())
                break
        else:
            raise AssertionError("the server ended before it listened")
    finally:
        process.send_signal(signal.SIGTERM if "wrapper" in str(binary()) else signal.SIGKILL)
        process.wait()
        process.stderr.close()


def packages() -> list[str]:
    """Keys as packages are named: 80,000 of them, each name once."""
    kinds = ["react", "vue", "angular", "node", "express", "webpack", "babel", "rollup"]
    ends = ["native", "plugin", "loader", "cli", "core", "utils", "types", "config", "theme", "server"]
    return [f"npm/{kind}-{number:04}-{end}" for kind in kinds for number in range(1000) for end in ends]


def store() -> list[dict]:
    """What is in the store that the tests look at: 100,000 keys."""
    lines = [{"key": key, "value": {"name": key.removeprefix("npm/"), "downloads": at}} for at, key in enumerate(packages())]
    lines += [{"key": f"user:{at:05}:profile", "value": {"id": 12345678901234567890 + at, "roles": ["reader", {"team": "a"}]}} for at in range(10_000)]
    text = base64.b64encode(b"all is well\n").decode()
    lines += [{"key": f"logs/{2020 + at // 2500}/{at % 50:02}/{at:05}.txt", "content_type": "text/plain", "base64": text} for at in range(10_000)]
    assert len(lines) == 100_000
    return lines
