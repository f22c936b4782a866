"""A server of the binary that was built last."""

import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def binary() -> Path:
    target = subprocess.run([ROOT / "scripts" / "target-dir.sh"], check=True, capture_output=True, text=True).stdout.strip()
    built = [path for profile in ("debug", "release") if (path := Path(target) / profile / "kvstore").exists()]
    return max(built, key=lambda path: path.stat().st_mtime)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server listens that keeps its data in memory."""
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as stderr:
        server = subprocess.Popen([binary(), "--listen", "127.0.0.1:0"], stderr=stderr, env={})
    try:
        deadline = time.monotonic() + 30
        while not (found := re.search(r"127\.0\.0\.1:\d+", log.read_text())):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
        yield f"http://{found[0]}"
        assert server.poll() is None, f"it has ended:\n{log.read_text()}"
        assert "panic" not in log.read_text()
    finally:
        # As by SIGTERM, but without waiting for others to notice.
        server.send_signal(signal.SIGINT)
        server.wait(30)


@pytest.fixture(scope="session")
def description(url: str) -> dict:
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        return json.load(answer)
