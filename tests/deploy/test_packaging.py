"""What is there for machines without a cluster, as far as it can be tried without the machines: the unit by systemd's own
checks and by the system calls that the binary makes, the compose file by its schema and by running what it says."""

import configparser
import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rendering import ROOT, binary, environment, facts, tool

UNIT = ROOT / "packaging" / "kvstore.service"
COMPOSE = ROOT / "compose.yaml"

EXPOSURE = 15
"""The most that `systemd-analyze security` may count, in tenths; a unit that says nothing has 96."""

DEADLINE_S = 30


def until(what: str, probe: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not probe():
        assert time.monotonic() < deadline, f"{what} within {DEADLINE_S} s"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""


# The unit.


def unit(folder: Path, *changes: tuple[str, str]) -> Path:
    """The unit, with a binary that is there, and changed."""
    text = UNIT.read_text().replace("/usr/local/bin/kvstore\nEnv", f"{shutil.which('true')}\nEnv")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = folder / "kvstore.service"
    file.write_text(text)
    return file


def systemd(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def complaints(file: Path) -> str:
    run = systemd("verify", "--man=no", file)
    # It also names what is wrong with other units of the machine.
    return "\n".join(line for line in run.stderr.splitlines() if "kvstore" in line)


def test_systemd_has_no_objection_to_the_unit(tmp_path: Path) -> None:
    assert complaints(unit(tmp_path)) == ""


@pytest.mark.parametrize("old", ["DynamicUser=yes", "RestartSec=1", "SystemCallFilter=@system-service", "MemoryMax=2G"])
def test_systemd_would_object(old: str, tmp_path: Path) -> None:
    assert complaints(unit(tmp_path, (old, f"X{old}" if "User" in old else f"{old.partition('=')[0]}=@wrong"))) != ""


def exposure(file: Path) -> int:
    return systemd("security", "--offline=true", f"--threshold={EXPOSURE}", file).returncode


def test_the_unit_is_exposed_to_little(tmp_path: Path) -> None:
    assert exposure(unit(tmp_path)) == 0
    assert exposure(unit(tmp_path, ("DynamicUser=yes", ""), ("CapabilityBoundingSet=", ""))) != 0
    assert exposure(unit(tmp_path, ("SystemCallFilter=@system-service", ""), ("PrivateUsers=yes", ""))) != 0


def settings_of(section: str) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=["="])
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return dict(parser[section])


def test_the_unit_waits_for_a_stop_and_does_not_try_again_what_cannot_work() -> None:
    said = facts().settings
    needed_s = (int(said["KVSTORE_DRAIN_MS"]) + int(said["KVSTORE_SHUTDOWN_TIMEOUT_MS"])) / 1000
    service = settings_of("Service")
    assert int(service["TimeoutStopSec"]) > needed_s
    assert service["RestartPreventExitStatus"].split() == ["2", "78"]
    name, _, _ = service["Environment"].partition("=")
    assert name in said


def allowed_calls() -> set[str]:
    """What the unit's filters leave, as systemd spells its groups out."""

    def calls(group: str) -> set[str]:
        lines = [line.strip() for line in systemd("syscall-filter", group).stdout.splitlines()]
        found = {line for line in lines if re.fullmatch(r"[a-z]\w+", line)}
        return found.union(*(calls(line) for line in lines if line.startswith("@") and line != group))

    allowed: set[str] = set()
    for line in UNIT.read_text().splitlines():
        if line.startswith("SystemCallFilter=~"):
            allowed -= set().union(*(calls(group) for group in line.partition("~")[2].split()))
        elif line.startswith("SystemCallFilter="):
            allowed |= set().union(*(calls(group) for group in line.partition("=")[2].split()))
    return allowed


def test_the_unit_allows_every_system_call_that_a_server_makes(tmp_path: Path) -> None:
    allowed = allowed_calls()
    assert {"read", "accept4", "futex"} <= allowed
    assert not {"mount", "ptrace", "reboot", "setuid", "chroot"} & allowed
    port, trace = free_port(), tmp_path / "trace"
    server = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", trace, binary(), "--listen", f"[::]:{port}", "--workers", "2", "--drain-ms", "0"],
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until("the server answers", lambda: "ready" in get(f"{url}/readyz"))
        lines = "".join(f'{{"key": "key-{number}", "value": {number}}}\n' for number in range(5000))
        body = urllib.request.Request(f"{url}/set", lines.encode(), {"Content-Type": "application/x-ndjson"})
        assert json.loads(urllib.request.urlopen(body, timeout=60).read())["created"] == 5000
        assert '"key-1"' in get(f"{url}/search?prefix=key")
        assert "kvstore_keys 5000" in get(f"{url}/metrics")
        started = int(re.match(r"\d+", trace.read_text())[0])
        subprocess.run(["kill", "-TERM", str(started)], check=True)
        assert server.wait(timeout=60) == 0
    finally:
        server.kill()
        server.wait()
    made = set(re.findall(r"^\d+ +([a-z]\w+)\(", trace.read_text(), re.MULTILINE))
    assert len(made) > 30
    # systemd makes these before the filter holds.
    assert made - allowed - {"execve"} == set()


# The compose file.


def compose() -> dict:
    return yaml.safe_load(COMPOSE.read_text())


def valid(file: Path) -> bool:
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", file]
    return subprocess.run(command, capture_output=True, env=environment()).returncode == 0


def test_the_compose_file_is_valid_and_one_with_a_mistake_is_not(tmp_path: Path) -> None:
    assert valid(COMPOSE)
    for old, new in [("stop_grace_period", "stop_graceperiod"), ("condition: service_healthy", "condition: healthy"),
                     ("cap_drop: [ALL]", "cap_drop: ALL")]:  # fmt: skip
        file = tmp_path / "compose.yaml"
        file.write_text(COMPOSE.read_text().replace(old, new))
        assert not valid(file), old


def test_the_compose_file_agrees_with_itself_the_binary_and_the_cluster() -> None:
    whole = compose()
    said = facts().settings
    kvstore, valkey = whole["services"]["kvstore"], whole["services"]["valkey"]
    assert kvstore["environment"].keys() <= said.keys()
    assert kvstore["environment"]["KVSTORE_ENGINE"] == "redis://valkey:6379"
    assert all(port.startswith("127.0.0.1:") for port in kvstore["ports"]), "there is no authentication"
    needed_s = (int(said["KVSTORE_DRAIN_MS"]) + int(said["KVSTORE_SHUTDOWN_TIMEOUT_MS"])) / 1000
    assert int(kvstore["stop_grace_period"].removesuffix("s")) > needed_s
    for service in (kvstore, valkey):
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["mem_limit"]
        for secret in service["secrets"]:
            assert secret in whole["secrets"]
    node = yaml.safe_load((ROOT / "k8s/valkey/node/kustomization.yaml").read_text())["images"][0]
    assert valkey["image"] == f"{node['newName']}:{node['newTag']}", "the Valkey that is in the cluster"
    sources = [volume.split(":")[0] for volume in valkey["volumes"]]
    for source in sources:
        assert (ROOT / source).exists() if source.startswith(".") else source in whole["volumes"]


@pytest.fixture(name="machine")
def what_a_compose_would_mount(tmp_path: Path) -> Path:
    """Stand-ins for what containers would have, with Valkey's programs played by those of Redis."""
    for folder in ("data", "etc-valkey", "valkey-auth", "secrets", "bin"):
        (tmp_path / folder).mkdir()
    (tmp_path / "secrets" / "valkey-password").write_text("geheim")
    for name in ("server", "cli"):
        (tmp_path / "bin" / f"valkey-{name}").symlink_to(shutil.which(f"redis-{name}"))
    return tmp_path


def placed(text: str, machine: Path, port: int) -> str:
    """A command or a file of a container, for this machine."""
    text = text.replace("$$", "$").replace("/etc/valkey-auth", f"{machine}/valkey-auth").replace("/etc/valkey/", f"{machine}/etc-valkey/")
    text = text.replace("/run/secrets", f"{machine}/secrets").replace("/data", f"{machine}/data")
    return text.replace("port 6379", f"port {port}").replace("valkey-cli", f"valkey-cli -p {port}")


def started(machine: Path, port: int) -> subprocess.Popen:
    config = (ROOT / "k8s/valkey/node/valkey.conf").read_text()
    (machine / "etc-valkey" / "valkey.conf").write_text(placed(config, machine, port))
    command = [placed(part, machine, port) for part in compose()["services"]["valkey"]["command"]]
    variables = environment()
    variables["PATH"] = f"{machine}/bin:{variables['PATH']}"
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
    _, check = compose()["services"]["valkey"]["healthcheck"]["test"]
    until("Valkey is healthy", lambda: subprocess.run(["sh", "-c", placed(check, machine, port)], env=variables).returncode == 0)
    return process


def test_what_the_compose_file_says_serves_and_keeps_its_keys(machine: Path) -> None:
    engine, port = free_port(), free_port()
    valkey = started(machine, engine)
    variables = compose()["services"]["kvstore"]["environment"]
    variables = {name: placed(value, machine, engine).replace("valkey:6379", f"127.0.0.1:{engine}") for name, value in variables.items()}
    server = subprocess.Popen([binary(), "--listen", f"127.0.0.1:{port}"], env=environment(**variables), stderr=subprocess.DEVNULL)
    try:
        until("kvstore is ready", lambda: "ready" in get(f"http://127.0.0.1:{port}/readyz"))
        body = urllib.request.Request(f"http://127.0.0.1:{port}/set/a", b"kept", method="PUT")
        urllib.request.urlopen(body, timeout=5).read()
        # As `docker compose restart valkey`: the process itself is told, not a shell before it.
        valkey.send_signal(signal.SIGTERM)
        assert valkey.wait(timeout=30) == 0
        valkey = started(machine, engine)
        until("the key is there again", lambda: get(f"http://127.0.0.1:{port}/get/a") == "kept")
    finally:
        for process in (server, valkey):
            process.kill()
            process.wait()
