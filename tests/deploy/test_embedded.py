"""The server of the overlay `embedded`, run as its manifest says, but for where its volume is mounted: what a restart costs,
and that it costs no more."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from checks import kvstore, pod, variable
from rendering import binary, objects, rendered

KEYS = 100_000

DEADLINE_S = 60


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Pod:
    """The container's process, time and again, over one volume."""

    def __init__(self, volume: Path) -> None:
        manifests = objects(rendered("embedded"))
        self.container = kvstore(manifests)
        self.grace_s = pod(manifests)["terminationGracePeriodSeconds"]
        mount = self.container["volumeMounts"][0]["mountPath"]
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {"PATH": os.environ["PATH"]} | {
            entry["name"]: entry["value"].replace(mount, str(volume)).replace("8000", str(port)) for entry in self.container["env"]
        }

    def start(self) -> Counter:
        """How often /livez and /readyz said what until the server was ready."""
        self.process = subprocess.Popen([binary()], env=self.environment, stderr=subprocess.DEVNULL)
        said: Counter = Counter()
        deadline = time.monotonic() + DEADLINE_S
        while not said["/readyz", 200]:
            assert self.process.poll() is None
            assert time.monotonic() < deadline, said
            for path in ("/livez", "/readyz"):
                if status := self.status(path):
                    said[path, status] += 1
        return said

    def status(self, path: str) -> int | None:
        """None where nobody listens yet."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def end(self, how: int) -> tuple[int, float]:
        """Its exit code, and how many seconds that took."""
        begun = time.monotonic()
        self.process.send_signal(how)
        return self.process.wait(DEADLINE_S), time.monotonic() - begun

    def load(self) -> None:
        lines = "".join(f'{{"key": "k{number}", "value": {number}}}\n' for number in range(KEYS))
        subprocess.run([binary(), "import", "-", "--url", self.url], input=lines.encode(), check=True, stderr=subprocess.DEVNULL)

    def total(self) -> int:
        with urllib.request.urlopen(f"{self.url}/search?prefix=k&limit=1", timeout=5) as answer:
            return int(answer.headers["X-Total-Count"])


@pytest.fixture(name="one")
def one_on_a_volume(tmp_path: Path):
    (tmp_path / "lost+found").mkdir()
    one = Pod(tmp_path)
    one.start()
    yield one
    one.process.kill()
    one.process.wait()


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)], ids=["stopped", "killed"])
def test_a_restart_loses_nothing_and_the_probes_let_it_load(one: Pod, how: int, code: int) -> None:
    one.load()
    ended, took_s = one.end(how)
    assert ended == code
    assert took_s < one.grace_s / 4, "nothing is waited for"
    said = one.start()
    assert one.total() == KEYS
    assert said["/readyz", 503] > 0, "it loads meanwhile"
    assert {status for path, status in said if path == "/livez"} == {200}, said


def test_a_second_process_does_not_get_the_volume(one: Pod) -> None:
    settings = one.environment | {"KVSTORE_LISTEN": "127.0.0.1:0"}
    second = subprocess.run([binary()], env=settings, capture_output=True, text=True, timeout=DEADLINE_S)
    assert second.returncode == 78, second.stderr
    assert "another process" in second.stderr
    assert one.status("/readyz") == 200


def test_all_is_below_the_root_of_the_volume(one: Pod) -> None:
    directory = Path(variable(one.container, "KVSTORE_DATA_DIR")).name
    volume = Path(one.environment["KVSTORE_DATA_DIR"]).parent
    assert {each.name for each in volume.iterdir()} == {directory, "lost+found"}
