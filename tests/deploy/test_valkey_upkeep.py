"""The commands of docs/valkey.md, as they stand: `kubectl` runs what it would run in a pod on this machine, on Redis, beside a
server that is asked meanwhile."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from rendering import ROOT, binary

PAGE = (ROOT / "docs" / "valkey.md").read_text()

DEADLINE_S = 60

KUBECTL = r"""#!/bin/bash
# Pods are processes of this machine: Valkey, and one server of kvstore.
cd "$HERE"
echo "$*" >> asked
shift 2
here() { printf '%s' "${1//\/data/$HERE\/data}" | sed "s|/etc/valkey-auth|$HERE/auth|g"; }
start_valkey() { valkey-server conf/valkey.conf --daemonize yes --pidfile "$HERE/valkey.pid" > /dev/null; }
stop() { kill -TERM "$(cat "$1")" && while kill -0 "$(cat "$1")" 2> /dev/null; do sleep 0.05; done; }
start_kvstore() {
    "$KVSTORE" --listen "127.0.0.1:$SERVED" --drain-ms 0 --engine "redis://127.0.0.1:$PORT" \
        --engine-password-file "$HERE/auth/password" 2>> kvstore.log < /dev/null > /dev/null &
    echo $! > kvstore.pid
}
case "$*" in
    exec*) while [[ $1 != -- ]]; do shift; done; shift
        command=(); for part in "$@"; do command+=("$(here "$part")"); done
        exec "${command[@]}" ;;
    "patch secret kvstore-engine"*) python3 -c '
import json, pathlib, sys
for name, text in json.load(sys.stdin)["stringData"].items():
    pathlib.Path("auth", name).write_text(text)' ;;
    "rollout restart deployment/kvstore") stop kvstore.pid; start_kvstore ;;
    "rollout status deployment/kvstore") until curl -sf "127.0.0.1:$SERVED/readyz" > /dev/null; do sleep 0.05; done ;;
    "rollout restart statefulset/valkey") stop valkey.pid; start_valkey ;;
    "rollout status statefulset/valkey") until echo ping | REDISCLI_AUTH=$(cat auth/password) valkey-cli | grep -q PONG; do sleep 0.05; done ;;
    "scale deployment/kvstore --replicas=0") stop kvstore.pid ;;
    "scale deployment/kvstore --replicas=1") start_kvstore ;;
    "scale statefulset/valkey --replicas=0") stop valkey.pid ;;
    "scale statefulset/valkey --replicas=1") start_valkey ;;
    "get deployment kvstore -o jsonpath"*) echo 1 ;;
    wait* | apply* | delete*) ;;
    *) echo "the kubectl of this test does not know: $*" >&2; exit 1 ;;
esac
"""


def commands(section: str) -> list[str]:
    """Those of a section of the page, after those before all sections."""
    found = []
    for text in (PAGE.partition("\n## ")[0], PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]):
        for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            found += [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    assert len(found) > 3, section
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Machine:
    """What stands for the namespace: a Valkey with a volume and a Secret, and a server over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.served = free_port(), free_port()
        for name in ("data", "auth", "conf", "bin"):
            (folder / name).mkdir()
        shutil.copytree(ROOT / "k8s", folder / "k8s")
        (folder / "auth" / "password").write_text("old")
        (folder / "auth" / "auth.conf").write_text("requirepass old\nmasterauth old\n")
        config = (ROOT / "k8s" / "valkey" / "node" / "valkey.conf").read_text()
        config = config.replace("/etc/valkey-auth", f"{folder}/auth").replace("dir /data", f"dir {folder}/data")
        (folder / "conf" / "valkey.conf").write_text(config.replace("port 6379", f"port {self.port}"))
        self.program("kubectl", KUBECTL)
        # What `make deploy` does to Valkey, of all that it does.
        self.program("make", '#!/bin/bash\nexec kubectl -n kvstore rollout restart statefulset/valkey\n')
        self.program("valkey-cli", f'#!/bin/bash\nexec redis-cli -p {self.port} "$@"\n')
        (folder / "bin" / "valkey-server").symlink_to(shutil.which("redis-server"))
        self.kubectl("-n", "kvstore", "scale", "statefulset/valkey", "--replicas=1")
        self.kubectl("-n", "kvstore", "scale", "deployment/kvstore", "--replicas=1")
        self.kubectl("-n", "kvstore", "rollout", "status", "deployment/kvstore")

    def program(self, name: str, text: str) -> None:
        file = self.folder / "bin" / name
        file.write_text(text)
        file.chmod(0o755)

    def environment(self) -> dict[str, str]:
        here = {"HERE": str(self.folder), "PORT": str(self.port), "SERVED": str(self.served), "KVSTORE": str(binary())}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KVSTORE_")}
        return clean | here | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def kubectl(self, *arguments: str) -> None:
        subprocess.run([self.folder / "bin" / "kubectl", *arguments], env=self.environment(), check=True)

    def follow(self, section: str) -> str:
        """Runs a section's commands in one shell, and says what they printed."""
        script = "set -euo pipefail\n" + "\n".join(commands(section))
        run = subprocess.run(["bash", "-c", script], cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "ERR" not in run.stdout + run.stderr
        assert "WRONGPASS" not in run.stdout + run.stderr
        return run.stdout

    def request(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        asked = urllib.request.Request(f"http://127.0.0.1:{self.served}{path}", body, method="PUT" if body else "GET")
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def store(self, *keys: str) -> None:
        for key in keys:
            assert self.request(f"/set/{key}", key.encode())[0] == 200

    def until(self, what: str, probe: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not probe():
            assert time.monotonic() < deadline, f"{what} within {DEADLINE_S} s"
            time.sleep(0.05)

    def takes(self, password: str) -> bool:
        variables = self.environment() | {"REDISCLI_AUTH": password}
        return "PONG" in subprocess.run(["valkey-cli", "ping"], env=variables, capture_output=True, text=True).stdout

    def remove(self) -> None:
        for name in ("kvstore", "valkey"):
            try:
                os.kill(int((self.folder / f"{name}.pid").read_text()), signal.SIGKILL)
            except (OSError, ValueError):
                continue


@pytest.fixture(name="machine")
def made(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        yield machine
    finally:
        machine.remove()


def test_an_upgrade_keeps_every_key(machine: Machine) -> None:
    machine.store("a", "b")
    said = machine.follow("Upgrading")
    assert re.search(r"^(redis|valkey)_version:", said, re.MULTILINE)
    for name in ("node", "cluster"):
        assert "newTag: 8.1.5-alpine" in (machine.folder / f"k8s/valkey/{name}/kustomization.yaml").read_text()
    machine.until("the keys are read again", lambda: machine.request("/get/a") == (200, b"a"))
    assert machine.request("/get/b") == (200, b"b")


def test_the_version_that_the_page_names_is_the_one_that_is_there() -> None:
    for name in ("node", "cluster"):
        tag = yaml.safe_load((ROOT / "k8s" / "valkey" / name / "kustomization.yaml").read_text())["images"][0]["newTag"]
        assert f"newTag: {tag}/" in PAGE
        assert f":{tag}\n" in (ROOT / "k8s" / "valkey" / "restore.yaml").read_text()


def test_the_password_is_changed_while_it_serves_and_outlives_a_restart(machine: Machine) -> None:
    machine.store("a")
    failed, stop = [], threading.Event()

    def ask_without_pause() -> None:
        while not stop.is_set():
            status, _ = machine.request("/get/a")
            # There is but one server here, so that its restart is noticed; two follow each other in a cluster.
            if status not in (200, 0):
                failed.append(status)

    client = threading.Thread(target=ask_without_pause)
    client.start()
    try:
        said = machine.follow("Another password")
    finally:
        stop.set()
        client.join()
    assert said.count("OK") == 3
    assert set(failed) <= {503}, "the server that reads its index"
    new = (machine.folder / "auth" / "password").read_text()
    assert len(new) == 48
    assert machine.takes(new)
    assert not machine.takes("old")
    assert new not in (machine.folder / "asked").read_text(), "not among a process' arguments"
    assert (machine.folder / "auth" / "auth.conf").read_text() == f"requirepass {new}\nmasterauth {new}\n"
    assert (machine.folder / "auth" / "exporter.json").read_text() == f'{{"redis://localhost:6379": "{new}"}}'
    machine.kubectl("-n", "kvstore", "rollout", "restart", "statefulset/valkey")
    machine.until("the key is read again", lambda: machine.request("/get/a") == (200, b"a"))
    assert machine.takes(new)
    assert not machine.takes("old")


def test_a_backup_of_the_volume_is_restored_over_what_was_done_since(machine: Machine) -> None:
    machine.store("kept", "deleted-later")
    said = machine.follow("Backing up")
    assert "appendonlydir/appendonly.aof.manifest" in said
    assert said.count("OK") == 2, "it rewrites its file again"
    machine.store("added-later")
    delete = urllib.request.Request(f"http://127.0.0.1:{machine.served}/delete/deleted-later", method="DELETE")
    urllib.request.urlopen(delete, timeout=10)
    machine.follow("Restoring")
    assert machine.request("/get/kept") == (200, b"kept")
    assert machine.request("/get/deleted-later") == (200, b"deleted-later")
    assert machine.request("/get/added-later")[0] == 404
    assert machine.request("/search?prefix=") == (200, b'["deleted-later","kept"]')
    asked = (machine.folder / "asked").read_text()
    assert "apply -f k8s/valkey/restore.yaml" in asked
    assert "delete pod valkey-restore" in asked


def test_the_pod_for_restoring_has_the_volume_of_the_single_node() -> None:
    pod = yaml.safe_load((ROOT / "k8s" / "valkey" / "restore.yaml").read_text())
    node = yaml.safe_load((ROOT / "k8s" / "valkey" / "node" / "statefulset.yaml").read_text())
    claim = node["spec"]["volumeClaimTemplates"][0]["metadata"]["name"]
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == f"{claim}-{node['metadata']['name']}-0"
    assert pod["spec"]["securityContext"] == node["spec"]["template"]["spec"]["securityContext"], "whose files it writes"
