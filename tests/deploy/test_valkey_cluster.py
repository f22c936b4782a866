"""The scripts of the bundled Valkey Cluster, run by Redis on six hosts of their own: network namespaces on one bridge.

Pods come back under other addresses. When all do at once, as after a power cut, nobody knows anybody's.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from string import ascii_lowercase

import pytest
import yaml
from rendering import ROOT

SOURCE = ROOT / "k8s" / "valkey" / "cluster"

NODES = 6

DEADLINE_S = 90

LETTERS = iter(ascii_lowercase)
"""One for each of these tests in a process."""


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def until(what: str, probe: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not probe():
        assert time.monotonic() < deadline, f"{what} within {DEADLINE_S} s"
        time.sleep(0.1)


class Hosts:
    """Six hosts that find each other by the names that the headless Service gives pods."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The kernel takes a while to remove links, so that those of the test before may be there still. Names are short.
        self.bridge = f"kvt{os.getpid() % 100000}{next(LETTERS)}"
        self.names = [f"{self.bridge}-{number}" for number in range(NODES)]
        self.processes: list[subprocess.Popen] = []
        self.addresses: list[str] = []
        # The scripts and the configuration as they are, but for where a container would have things.
        config = folder / "config"
        config.mkdir()
        for file in SOURCE.glob("*"):
            if file.suffix in (".sh", ".conf"):
                text = file.read_text().replace("/etc/valkey-auth", str(folder / "auth"))
                (config / file.name).write_text(text.replace("/etc/valkey/", f"{config}/"))
        (folder / "auth").mkdir()
        (folder / "auth" / "password").write_text("geheim")
        (folder / "auth" / "auth.conf").write_text("requirepass geheim\nmasterauth geheim\n")
        programs = folder / "programs"
        programs.mkdir()
        for name in ("server", "cli"):
            (programs / f"valkey-{name}").symlink_to(shutil.which(f"redis-{name}"))
        self.environment = {"PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin:/sbin", "REDISCLI_AUTH": "geheim"}
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "link", "set", self.bridge, "up")
        for number, name in enumerate(self.names):
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"{self.bridge}v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"{self.bridge}v{number}", "master", self.bridge, "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
            (folder / f"data-{number}").mkdir()

    def start(self, first: int) -> None:
        """Starts every node, at addresses from this one on."""
        self.addresses = addresses = [f"10.213.0.{first + number}" for number in range(NODES)]
        lines = [f"{address} valkey-{number // 2}-{number % 2}.valkey" for number, address in enumerate(addresses)]
        for number, name in enumerate(self.names):
            private = Path("/etc/netns") / name
            private.mkdir(parents=True, exist_ok=True)
            (private / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
            run("ip", "-n", name, "address", "flush", "dev", "eth0")
            run("ip", "-n", name, "address", "add", f"{addresses[number]}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            start = (self.folder / "config" / "start.sh").read_text()
            config = (self.folder / "config" / "valkey.conf").read_text()
            own = self.folder / f"own-{number}"
            own.mkdir(exist_ok=True)
            (own / "valkey.conf").write_text(config.replace("/data", str(self.folder / f"data-{number}")))
            (own / "start.sh").write_text(start.replace(str(self.folder / "config"), str(own)))
            self.processes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", name, "sh", own / "start.sh"],
                    env=self.environment | {"POD_IP": addresses[number]},
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
        for number in range(NODES):
            until(f"node {number} answers", lambda number=number: "PONG" in self.cli(number, "ping"))

    def stop(self) -> None:
        for process in self.processes:
            # The whole session: its shell tells the others of it in the background.
            os.killpg(process.pid, 15)
        for process in self.processes:
            process.wait()
        self.processes.clear()

    def on(self, number: int, *command: str | Path) -> subprocess.CompletedProcess:
        inside = ["ip", "netns", "exec", self.names[number], *command]
        return subprocess.run([str(part) for part in inside], env=self.environment, capture_output=True, text=True)

    def cli(self, number: int, *command: str) -> str:
        return self.on(number, "valkey-cli", *command).stdout

    def is_whole(self) -> bool:
        """Whether every node serves all slots and is connected to all six nodes, each where it is now."""
        return all(self.sees_all(number) for number in range(NODES))

    def sees_all(self, number: int) -> bool:
        info = self.cli(number, "cluster", "info")
        nodes = [line.split() for line in self.cli(number, "cluster", "nodes").splitlines()]
        return (
            all(word in info for word in ("cluster_state:ok", "cluster_slots_ok:16384"))
            and sorted(node[1].partition(":")[0] for node in nodes) == sorted(self.addresses)
            and all(node[7] == "connected" and "fail" not in node[2] for node in nodes)
        )

    def known(self) -> list[str]:
        """The nodes that the first knows, by their IDs; one that it only shakes hands with has none of its own yet."""
        nodes = [line.split() for line in self.cli(0, "cluster", "nodes").splitlines()]
        return sorted(node[0] for node in nodes if "handshake" not in node[2])

    def pairs(self) -> list[set[int]]:
        """Which nodes are a master and its replica."""
        ids = {self.cli(number, "cluster", "myid").strip(): number for number in range(NODES)}
        nodes = [line.split() for line in self.cli(0, "cluster", "nodes").splitlines()]
        return sorted(({ids[node[0]], ids[node[3]]} for node in nodes if node[3] != "-"), key=min)

    def bootstrap(self) -> str:
        done = self.on(0, "sh", self.folder / "config" / "bootstrap.sh")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def is_ready(self, number: int) -> bool:
        """By the probe of the StatefulSet, as it is but for where a container would have things."""
        template = yaml.safe_load((SOURCE / "shard" / "statefulset.yaml").read_text())["spec"]["template"]
        command = template["spec"]["containers"][0]["readinessProbe"]["exec"]["command"]
        return self.on(number, *[part.replace("/etc/valkey-auth", str(self.folder / "auth")) for part in command]).returncode == 0

    def remove(self) -> None:
        for process in self.processes:
            os.killpg(process.pid, 9)
            process.wait()
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)
        subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True)


@pytest.fixture(name="hosts")
def made(tmp_path: Path) -> Iterator[Hosts]:
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("skipped: network namespaces are made by root, with iproute2")
    hosts = Hosts(tmp_path)
    try:
        yield hosts
    finally:
        hosts.remove()


def test_a_cluster_is_made_once_and_survives_that_all_its_pods_move(hosts: Hosts) -> None:
    hosts.start(10)
    assert all(hosts.is_ready(number) for number in range(NODES)), "before there is a cluster, so that it can be made"
    hosts.bootstrap()
    until("the cluster is whole", hosts.is_whole)
    until("all are ready", lambda: all(hosts.is_ready(number) for number in range(NODES)))
    # A replica that does not follow its master is not.
    hosts.cli(1, "config", "set", "masterauth", "wrong")
    hosts.cli(1, "client", "kill", "type", "master")
    until("the replica is not ready", lambda: not hosts.is_ready(1))
    hosts.cli(1, "config", "set", "masterauth", "geheim")
    until("the replica is ready", lambda: hosts.is_ready(1))
    # The nodes of a shard, which Kubernetes keeps on different hosts.
    until("the nodes have heard of all pairs", lambda: hosts.pairs() == [{0, 1}, {2, 3}, {4, 5}])
    for number in range(100):
        assert "OK" in hosts.cli(0, "-c", "set", f"key-{number}", str(number))
    assert hosts.bootstrap() == "the cluster is whole\n", "nothing was to do"
    before = hosts.known()
    hosts.stop()
    hosts.start(50)
    until("the cluster is whole again", hosts.is_whole)
    assert hosts.known() == before, "the same nodes at other addresses"
    for number in range(100):
        assert hosts.cli(0, "-c", "get", f"key-{number}").strip() == str(number)
    until("the nodes have heard of all pairs", lambda: hosts.pairs() == [{0, 1}, {2, 3}, {4, 5}])


def test_a_bootstrap_that_was_broken_off_goes_on(hosts: Hosts) -> None:
    hosts.start(10)
    assert "OK" in hosts.cli(0, "cluster", "addslotsrange", "0", "5460")
    assert "OK" in hosts.cli(2, "cluster", "meet", hosts.addresses[0], "6379")
    hosts.bootstrap()
    until("the cluster is whole", hosts.is_whole)
    until("the nodes have heard of all pairs", lambda: hosts.pairs() == [{0, 1}, {2, 3}, {4, 5}])


def test_a_node_that_lost_its_volume_comes_in_again_under_whoever_took_its_place(hosts: Hosts) -> None:
    hosts.start(10)
    hosts.bootstrap()
    until("the cluster is whole", hosts.is_whole)
    for number in range(100):
        assert "OK" in hosts.cli(0, "-c", "set", f"key-{number}", str(number))
    until("the replica has all", lambda: hosts.cli(1, "dbsize") == hosts.cli(0, "dbsize"))
    assert "OK" in hosts.cli(1, "cluster", "failover", "takeover")
    until("the other is the master", lambda: "role:slave" in hosts.cli(0, "info", "replication"))
    # As a new volume: nothing is known, not even itself.
    old = hosts.cli(0, "cluster", "myid").strip()
    hosts.cli(0, "cluster", "reset", "hard")
    until("it knows itself only", lambda: "cluster_known_nodes:1\n" in hosts.cli(0, "cluster", "info").replace("\r", ""))
    for number in range(1, NODES):
        hosts.cli(number, "cluster", "forget", old)
    hosts.bootstrap()
    until("the cluster is whole", hosts.is_whole)
    until("the nodes have heard of all pairs", lambda: hosts.pairs() == [{0, 1}, {2, 3}, {4, 5}])
    for number in range(100):
        assert hosts.cli(2, "-c", "get", f"key-{number}").strip() == str(number)
