"""The server of the component `secured`, run as its manifest says, but for where its volumes are mounted: these are laid out as
the kubelet does it, and swapped as it does when a Secret changes."""

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from checks import FILES, TLS_NAME, kvstore, of_kind, pod, probes_of, variable
from rendering import ROOT, binary, objects, rendered

DEADLINE_S = 60

OPERATIONS = ROOT / "docs" / "operations.md"


def until(what: str, probe: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not probe():
        assert time.monotonic() < deadline, f"{what} within {DEADLINE_S} s"


def section() -> str:
    """What docs/operations.md says of it."""
    found = re.search(r"^### Secured$(.*?)^##+ ", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL)
    assert found, "docs/operations.md has no section Secured"
    return found[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(), re.DOTALL)


def by_hand(folder: Path) -> dict[str, bytes]:
    """The files of a Secret as the page has them made, by its own commands."""
    folder.mkdir()
    commands = [block for block in blocks("console") if "openssl" in block]
    assert len(commands) == 1
    script = "".join(line.removeprefix("$ ") + "\n" for line in commands[0].splitlines() if "kubectl" not in line)
    made = subprocess.run([shutil.which("bash"), "-euc", script], cwd=folder, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return {name: (folder / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")}


def drawn(name: str) -> tuple[str, bytes]:
    """A token, and the file that knows it."""
    made = subprocess.run([binary(), "token", "--name", name, "--access", "admin"], check=True, capture_output=True)
    return made.stdout.decode().strip(), made.stderr


class Volume:
    """A Secret that is mounted: files are links to those of a folder that a link names, which is swapped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times = 0
        folder.mkdir()

    def holds(self, files: dict[str, bytes]) -> None:
        self.times += 1
        now, new = f"..2026_{self.times}", self.folder / "..data_tmp"
        (self.folder / now).mkdir()
        for name, content in files.items():
            (self.folder / now / name).write_bytes(content)
            if self.times == 1:
                (self.folder / name).symlink_to(f"..data/{name}")
        before = self.folder / f"..2026_{self.times - 1}"
        new.symlink_to(now)
        new.rename(self.folder / "..data")
        if before.exists():
            shutil.rmtree(before)


class Pod:
    """The container's process, with its Secrets mounted below a folder."""

    def __init__(self, folder: Path) -> None:
        self.manifests = objects(rendered("embedded", "secured monitoring-operator"))
        container = kvstore(self.manifests)
        secrets = {each["name"]: each["secret"] for each in pod(self.manifests)["volumes"]}
        self.secrets = {}
        for mount in container["volumeMounts"]:
            if mount["name"] in secrets:
                self.secrets[secrets[mount["name"]]["secretName"]] = (secrets[mount["name"]], Volume(folder / mount["name"]))
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.environment = {"PATH": os.environ["PATH"]}
        for entry in container["env"]:
            value = entry["value"].replace("[::]:8000", f"127.0.0.1:{self.port}")
            for mount in container["volumeMounts"]:
                value = value.replace(mount["mountPath"], str(folder / mount["name"]))
            self.environment[entry["name"]] = value

    def mount(self, secret: str, files: dict[str, bytes]) -> None:
        """What of the Secret the volume lists, under the names that it gives."""
        listed, volume = self.secrets[secret]
        volume.holds({item["path"]: files[item["key"]] for item in listed["items"]})

    def start(self) -> None:
        self.process = subprocess.Popen([binary()], env=self.environment, stderr=subprocess.PIPE, text=True)

    def connect(self, context: ssl.SSLContext) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", self.port)), server_hostname=TLS_NAME)
        return connection


def trusting(files: dict[str, bytes]) -> ssl.SSLContext:
    """As the ServiceMonitor and the Gateway see whom they ask: by ca.crt, and by the name."""
    return ssl.create_default_context(cadata=files["ca.crt"].decode())


def status(connection: http.client.HTTPConnection, path: str, token: str | None = None) -> int:
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.fixture(name="one")
def one_that_is_secured(tmp_path: Path) -> Iterator[Pod]:
    one = Pod(tmp_path)
    yield one
    one.process.kill()
    one.process.wait()
    one.process.stderr.close()


def test_the_probes_ask_it_and_what_its_secrets_hold_next_is_in_force_without_a_restart(one: Pod, tmp_path: Path) -> None:
    certificates = by_hand(tmp_path / "first")
    token, tokens = drawn("first")
    one.mount("kvstore-tls", certificates)
    one.mount("kvstore-tokens", {"tokens.toml": tokens})
    one.start()
    # As the kubelet asks: with no certificate of its own, for any of the server's, and with no token.
    kubelet = ssl.create_default_context()
    kubelet.check_hostname, kubelet.verify_mode = False, ssl.CERT_NONE

    def probed(path: str) -> bool:
        assert one.process.poll() is None, one.process.stderr.read()
        try:
            return status(one.connect(kubelet), path) == 200
        except OSError:
            return False

    for kind, probe in probes_of(kvstore(one.manifests)):
        assert probe["httpGet"]["scheme"] == "HTTPS"
        until(f"the {kind} succeeds", lambda asked=probe["httpGet"]["path"]: probed(asked))
    kept = one.connect(trusting(certificates))
    assert status(kept, "/search?prefix=", token) == 200
    assert status(kept, "/search?prefix=") == 401
    assert status(kept, "/metrics") == 200, "the ServiceMonitor has no token"

    next_certificates = by_hand(tmp_path / "second")
    next_token, next_tokens = drawn("second")
    one.mount("kvstore-tls", next_certificates)

    def shown() -> bool:
        try:
            return status(one.connect(trusting(next_certificates)), "/livez") == 200
        except ssl.SSLCertVerificationError:
            return False

    until("the next certificate is shown", shown)
    # Both are known while clients are led over, and then the next alone.
    one.mount("kvstore-tokens", {"tokens.toml": tokens + next_tokens})
    until("the next token is known", lambda: status(kept, "/search?prefix=", next_token) == 200)
    assert status(kept, "/search?prefix=", token) == 200
    one.mount("kvstore-tokens", {"tokens.toml": next_tokens})
    until("the first is not any more", lambda: status(kept, "/search?prefix=", token) == 401)
    assert status(kept, "/search?prefix=", next_token) == 200, "no connection has ended"


def test_without_its_files_it_ends_with_what_to_do(one: Pod) -> None:
    one.start()
    assert one.process.wait(DEADLINE_S) == 78
    said = one.process.stderr.read()
    assert any(name.removeprefix("KVSTORE_").lower() in said for name in FILES), said


def test_the_page_has_cert_manager_write_what_is_mounted() -> None:
    documents = [each for block in blocks("yaml") for each in yaml.safe_load_all(block)]
    of_server = [each["spec"] for each in documents if each["kind"] == "Certificate" and not each["spec"].get("isCA")]
    assert len(of_server) == 1
    manifests = objects(rendered("multi-node", "secured gateway"))
    mounted = {each["secret"]["secretName"] for each in pod(manifests)["volumes"]}
    assert of_server[0]["secretName"] in mounted
    assert TLS_NAME in of_server[0]["dnsNames"]
    assert of_server[0]["privateKey"]["algorithm"] == "ECDSA"
    issuers = {each["metadata"]["name"] for each in documents if each["kind"] == "Issuer"}
    assert {each["spec"]["issuerRef"]["name"] for each in documents if each["kind"] == "Certificate"} <= issuers
    policy = next(of_kind(manifests, "BackendTLSPolicy"))["spec"]["validation"]
    for made in [*mounted & {"kvstore-tls", "kvstore-tokens"}, policy["caCertificateRefs"][0]["name"], "kvstore-metrics"]:
        assert made in section()
    assert variable(kvstore(manifests), "KVSTORE_AUTH_FILE").rsplit("/", 1)[1] in section()
