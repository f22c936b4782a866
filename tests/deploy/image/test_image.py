"""The very Containerfile, built and run. Where no registry is reached, on stand-ins for its bases."""

import hashlib
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from rendering import ROOT, TARGET, tool

BASES = ROOT / "tests" / "deploy" / "image" / "bases.sh"

FOLDER = TARGET / "image" / hashlib.sha256(BASES.read_bytes()).hexdigest()[:8]
"""Bases, layers and images, kept until others are asked for and apart from the user's own."""

STORE = ["--root", str(FOLDER / "storage"), "--runroot", str(FOLDER / "run")]

IMAGE = "localhost/kvstore:test"

QUICKLY = [f"CARGO_PROFILE_RELEASE_{name}" for name in ("OPT_LEVEL=0", "LTO=off", "CODEGEN_UNITS=16")]
"""Variables by which a build takes half the time. `make bench-http` builds as a user does."""


def test_hadolint_has_no_objection() -> None:
    run = subprocess.run([tool("hadolint"), ROOT / "Containerfile"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def run(*command: str | Path, **options) -> str:
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def buildah(*arguments: str | Path) -> str:
    return run("buildah", *STORE, *arguments)


def base(name: str, *settings: str) -> None:
    """Makes an image of a folder."""
    container = buildah("from", "scratch").strip()
    buildah("add", "--quiet", container, FOLDER / name, "/")
    buildah("config", *settings, container)
    buildah("commit", "--quiet", "--rm", container, f"localhost/{name}:test")


@pytest.fixture(scope="session", name="built")
def image() -> str:
    if os.geteuid() != 0:
        pytest.skip("skipped: the stand-ins for base images are made by root")
    missing = [name for name in ("buildah", "debootstrap") if not shutil.which(name)]
    if missing:
        pytest.skip(f"skipped: not installed: {missing}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    run(BASES, FOLDER)
    if "localhost/builder" not in buildah("images"):
        path = "PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        # Crates are there already, since this crate was built before its image. How well it is optimized is no matter here.
        variables = [path, "CARGO_HOME=/usr/local/cargo", "CARGO_NET_OFFLINE=true", *QUICKLY]
        base("builder", *(word for variable in variables for word in ("--env", variable)))
        base("runtime", "--env", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt")
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    run("cargo", "fetch", "--locked")
    buildah(
        "bud", "--isolation", "chroot", "--layers", "--pull-never", "--file", "Containerfile", "--tag", IMAGE,
        "--build-arg", "BUILDER=localhost/builder:test", "--build-arg", "RUNTIME=localhost/runtime:test",
        "--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=abc",
        "--volume", f"{home}/registry:/usr/local/cargo/registry", ".",
    )  # fmt: skip
    return IMAGE


def test_the_image_says_what_it_is(built: str) -> None:
    config = json.loads(buildah("inspect", "--type", "image", built))["OCIv1"]["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["kvstore"]
    assert "KVSTORE_LISTEN=[::]:8000" in config["Env"]
    assert list(config["ExposedPorts"]) == ["8000/tcp"]
    assert config["StopSignal"] == "SIGTERM"
    labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items() if "opencontainers" in name}
    assert labels["title"] == "kvstore"
    assert labels["version"] == "1.2.3"
    assert labels["revision"] == "abc"
    assert labels["licenses"] == "MIT OR Apache-2.0"


@pytest.fixture(name="root")
def mounted(built: str) -> Iterator[Path]:
    container = buildah("from", "--pull-never", built).strip()
    try:
        yield Path(buildah("mount", container).strip())
    finally:
        buildah("rm", container)


def test_there_is_no_shell_in_it(root: Path) -> None:
    programs = {path.name for folder in ("bin", "usr/bin", "usr/local/bin", "sbin") for path in root.glob(f"{folder}/*")}
    assert "kvstore" in programs
    assert not programs & {"sh", "bash", "dash", "busybox"}


def answer(url: str, data: bytes | None = None, method: str = "GET") -> bytes:
    request = urllib.request.Request(url, data=data, method=method)
    with urllib.request.urlopen(request, timeout=5) as response:
        return response.read()


def podman(*arguments: str) -> list[str]:
    return ["podman", *STORE, "--runtime", "runc", "--cgroup-manager", "cgroupfs", *arguments]


@pytest.fixture(name="container")
def running(built: str) -> Iterator[str]:
    """The image as its user, on a root that cannot be written, without capabilities and in a network of its own."""
    if not shutil.which("podman") or not shutil.which("runc"):
        pytest.skip("skipped: podman and runc are not installed, so that the image was built but not run")
    start = subprocess.run(
        podman(
            "run", "--detach", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges",
            "--ulimit=nofile=1024:1024", "--ulimit=nproc=512:512", "--network=none", built,
        ),
        capture_output=True, text=True,
    )  # fmt: skip
    if start.returncode != 0:
        pytest.skip(f"skipped: no container runs here, so that the image was built but not run: {start.stderr[-500:]}")
    container = start.stdout.strip()
    try:
        yield container
    finally:
        subprocess.run(podman("rm", "--force", "--time=0", container), capture_output=True)


def inspected(container: str) -> dict:
    return json.loads(run(*podman("inspect", container)))[0]


def test_it_serves_as_its_user_and_ends_when_told(container: str) -> None:
    pid = inspected(container)["State"]["Pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65532"] * 4
    assert int(fields["CapEff"], 16) == 0
    root = next(line for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines() if line.split()[4] == "/")
    assert "ro" in root.split()[5].split(",")
    # From its own network, which has no other way in: what it is bound to is what others would reach.
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net"]
    ask = [*inside, "curl", "--silent", "--fail-with-body", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"]
    assert json.loads(run(*ask, "http://127.0.0.1:8000/readyz")) == {"status": "ready"}
    bound = run(*inside, "ss", "--listening", "--tcp", "--numeric", "--no-header")
    assert "*:8000" in bound, "all addresses of either family, as ss writes it"
    run(*ask, "--request", "PUT", "--data", "1", "http://127.0.0.1:8000/set/a")
    assert run(*ask, "http://127.0.0.1:8000/get/a") == "1"
    assert json.loads(run(*ask, "http://127.0.0.1:8000/search?suffix=a")) == ["a"]
    assert "kvstore_keys 1" in run(*ask, "http://127.0.0.1:8000/metrics")
    run(*podman("kill", "--signal=INT", container))
    assert run(*podman("wait", container)).strip() == "0"
