"""Manifests as they would be applied, and what the binary says of itself."""

import os
import re
import shutil
import signal
import subprocess
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TARGET = Path(subprocess.run([ROOT / "scripts" / "target-dir.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
"""Where cargo builds into."""

OVERLAYS = ["embedded", "single-node", "multi-node", "external"]
COMPONENTS = ["monitoring", "monitoring-operator", "gateway"]
SECURED = ["secured", "metrics-token"]
"""Components that take Secrets which somebody must have made."""


def environment(**settings: str) -> dict[str, str]:
    """This process' environment, with kubectl from the tests' packages where there is none."""
    tools = str(TARGET / "venv" / "bin")
    return os.environ | {"PATH": os.environ["PATH"] + os.pathsep + tools} | settings


INGRESSES = ["plain", "nginx", "haproxy", "none"]


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C takes a tenth of the time, where there is one."""


@cache
def rendered(overlay: str, components: str = "", **more: str) -> str:
    """What `make manifests` prints, which is rendered once for all tests of a process."""
    settings = environment(OVERLAY=overlay, COMPONENTS=components, IMAGE="registry.example.org/kvstore:1.2.3", **more)
    command = ["make", "--silent", "--no-print-directory", "manifests"]
    return subprocess.run(command, cwd=ROOT, env=settings, check=True, capture_output=True, text=True).stdout


def objects(text: str) -> list[dict]:
    return [document for document in yaml.load_all(text, LOADER) if document]


def binary() -> Path:
    """The binary to ask, as it was built last."""
    if named := os.environ.get("KVSTORE_BINARY"):
        return Path(named)
    built = [TARGET / profile / "kvstore" for profile in ("debug", "release")]
    there = [path for path in built if path.exists()]
    assert there, f"there is no kvstore in {TARGET}: build it first (cargo build), or name one by KVSTORE_BINARY"
    return max(there, key=lambda path: path.stat().st_mtime)


@contextmanager
def server(*arguments: str):
    """A running server; its URL and its process' number."""
    command = [binary(), "--listen", "127.0.0.1:0", *arguments]
    clean = {"PATH": os.environ["PATH"]}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean)
    try:
        for line in process.stderr:
            if " listens on " in line:
                yield "http://" + line.split(" listens on ")[1].strip(), process.pid
                break
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()


@dataclass(frozen=True)
class Facts:
    """What the binary and the documents say, for the manifests to be held against."""

    settings: dict[str, str | None]
    """Defaults by environment variable; `None` where a setting has none."""
    answering: frozenset[str]
    """Paths that a server answers with 200."""
    idle_bytes: int
    """Resident memory of an idle server."""
    bytes_per_key: dict[str, int]
    """Documented memory of a key, by where its value is: memory, or an engine."""
    load_seconds_per_million: float
    """Documented time to read a million keys at the start."""
    bulk_silence_s: int
    """How long a bulk body may wait for room, unread and unanswered."""
    link_bytes: int
    """The longest link in the head of an answer."""
    disk_per_memory: float
    """Documented size of a data directory's disk, for each byte of the memory limit."""
    disk_beside_bytes: int
    """What the disk takes besides."""
    checkpoint_bytes_per_second: int
    """How fast a checkpoint is taken to be, before one was."""


def facts() -> Facts:
    text = subprocess.run([binary(), "--help"], check=True, capture_output=True, text=True).stdout
    settings: dict[str, str | None] = {}
    for block in re.split(r"\n(?=      --)", text)[1:]:
        if name := re.search(r"\[env:\s+(\w+)\]", block):
            default = re.search(r"\[default:\s+([^\]]+)\]", " ".join(block.split()))
            settings[name[1]] = default[1] if default else None
    with server("--workers", "2") as (url, pid):
        answering = set()
        for path in ("/livez", "/readyz", "/healthz", "/metrics"):
            with urllib.request.urlopen(url + path, timeout=10) as answer:
                if answer.status == 200:
                    answering.add(path)
        status = Path(f"/proc/{pid}/status").read_text()
        idle_kb = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])
    operations = (ROOT / "docs" / "operations.md").read_text()
    row = re.search(r"\| key of 20 bytes, value of 32 \| (.*) \|", operations)[1]
    most = [int(cell.split(" to ")[-1]) for cell in row.split(" | ")]
    load = re.search(r"are read in \d\.\d to (\d\.\d) s at the start", operations)[1]
    disk = re.search(r"give the disk (\d\.\d) times the memory limit and (\d+) MiB", operations)
    return Facts(
        settings=settings,
        answering=frozenset(answering),
        idle_bytes=idle_kb * 1024,
        bytes_per_key={"memory": most[0], "engine": most[1]},
        load_seconds_per_million=float(load),
        bulk_silence_s=constant("src/store/mod.rs", r"BULK_PATIENCE: Duration = Duration::from_secs\((\d+)\)"),
        link_bytes=constant("src/http/search/asked.rs", r"LINK_BYTES_MAX: usize = (\d+)"),
        disk_per_memory=float(disk[1]),
        disk_beside_bytes=int(disk[2]) << 20,
        checkpoint_bytes_per_second=constant("src/store/checkpointer.rs", r"BYTES_PER_SECOND: f64 = (\d+)e6") * 1_000_000,
    )


def constant(path: str, pattern: str) -> int:
    found = re.search(pattern, (ROOT / path).read_text())
    assert found, f"{path} has no {pattern}: where has it gone?"
    return int(found[1])


def tool(name: str) -> str:
    """The path of a program that the tests' packages bring, or the machine has."""
    found = shutil.which(name, path=environment()["PATH"])
    assert found, f"{name} is not installed: make test-deploy does it"
    return found
