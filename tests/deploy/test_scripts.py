"""The scripts, but for what `make deploy`, `make undeploy` and `make e2e` ask of a cluster: how they are written, what is
rendered, where they look for what was built, and what they install."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rendering import ROOT, environment, objects, rendered, tool

SCRIPTS = sorted([*ROOT.glob("scripts/**/*.sh"), *ROOT.glob("k8s/**/*.sh"), ROOT / ".ci" / "run"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.relative_to(ROOT)))
def test_shellcheck_has_no_objection(script: Path) -> None:
    run = subprocess.run([tool("shellcheck"), "-x", script], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_components_host_and_image_are_rendered(tmp_path: Path) -> None:
    settings = environment(
        OVERLAY="embedded",
        COMPONENTS="gateway",
        HOST="kv.test",
        GATEWAY_CLASS="mine",
        INGRESS="haproxy",
        INGRESS_CLASS="inside",
        NAMESPACE="elsewhere",
        IMAGE="registry.example.org:5000/kvstore@sha256:" + "0" * 64,
    )
    # In a copy: other tests render at the same time.
    for folder in ("scripts", "k8s"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns(".composed-*", "__pycache__"))
    command = [tmp_path / "scripts" / "manifests.sh"]
    text = subprocess.run(command, env=settings, check=True, capture_output=True, text=True).stdout
    by_kind = {each["kind"]: each for each in objects(text)}
    assert by_kind["Ingress"]["spec"]["rules"][0]["host"] == "kv.test"
    assert by_kind["Ingress"]["spec"]["ingressClassName"] == "inside"
    assert by_kind["HTTPRoute"]["spec"]["hostnames"] == ["kv.test"]
    assert by_kind["Gateway"]["spec"]["gatewayClassName"] == "mine"
    container = by_kind["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == settings["IMAGE"]
    assert {each["metadata"]["namespace"] for each in objects(text)} == {"elsewhere"}
    assert not list(tmp_path.glob("k8s/.composed-*")), "nothing is left behind"


@pytest.mark.parametrize("host", ["", "kv.test"])
def test_outside_speaks_tls_by_the_certificate_of_its_name(host: str) -> None:
    text = rendered("embedded", "gateway", INGRESS="plain", HOST=host, HOST_SECRET="host-tls")
    by_kind = {each["kind"]: each for each in objects(text)}
    ingress, gateway = by_kind["Ingress"]["spec"], by_kind["Gateway"]["spec"]
    name = ingress["rules"][0]["host"]
    assert name == (host or "kvstore.example.org")
    assert ingress["tls"] == [{"hosts": [name], "secretName": "host-tls"}]
    listener = gateway["listeners"][0]
    assert (listener["hostname"], listener["protocol"], listener["port"]) == (name, "HTTPS", 443)
    assert listener["tls"] == {"mode": "Terminate", "certificateRefs": [{"name": "host-tls"}]}


def test_all_overlays_render_without_settings() -> None:
    assert objects(rendered("single-node"))


def target_dir(**settings: str) -> str:
    """What the script says; with only these settings of cargo's."""
    variables = {name: value for name, value in os.environ.items() if not name.endswith("TARGET_DIR")}
    command = [ROOT / "scripts" / "target-dir.sh"]
    return subprocess.run(command, env=variables | settings, check=True, capture_output=True, text=True).stdout[:-1]


def test_what_was_built_is_looked_for_where_cargo_builds(tmp_path: Path) -> None:
    assert target_dir(CARGO_TARGET_DIR=f"{tmp_path}/with a space") == f"{tmp_path}/with a space"
    assert target_dir(CARGO_TARGET_DIR="beside/this") == str(ROOT / "beside" / "this"), "relative to the repository"
    assert target_dir(CARGO_BUILD_TARGET_DIR=str(tmp_path)) == str(tmp_path)
    (tmp_path / "config.toml").write_text('[build]\ntarget-dir = "/configured"\n')
    assert target_dir(CARGO_HOME=str(tmp_path)) == "/configured"


def test_the_binary_is_found_in_another_target_folder(tmp_path: Path) -> None:
    built = tmp_path / "elsewhere" / "release" / "kvstore"
    built.parent.mkdir(parents=True)
    built.touch()
    clean = {name: value for name, value in os.environ.items() if name != "KVSTORE_BINARY"}
    run = subprocess.run(
        [sys.executable, "-c", "import rendering; print(rendering.binary())"],
        cwd=Path(__file__).parent, env=clean | {"CARGO_TARGET_DIR": f"{tmp_path}/elsewhere"}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.stdout.strip() == str(built), run.stderr


def test_nothing_assumes_that_cargo_builds_into_target() -> None:
    # The image's own build has no other folder.
    suffixes = {".sh", ".py", ".rs", ""}
    folders = ["scripts", "tests", "benches", "examples", ".ci"]
    files = [path for folder in folders for path in ROOT.glob(f"{folder}/**/*") if path.suffix in suffixes and path.is_file()]
    assumed = re.compile(r"\btarget/(debug|release|venv|demo|image|bench)|ROOT / \"target\"")
    found = [f"{path}: {line}" for path in [ROOT / "Makefile", *files] for line in path.read_text().splitlines()
             if assumed.search(re.sub(r"\$\$?\{?target\}?/", "", line)) and "assumed =" not in line]  # fmt: skip
    assert not found


def test_make_help_shows_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    targets = set(re.findall(r"^([\w-]+):(?!=)", makefile, re.MULTILINE))
    phony = set(re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)[1].split())
    assert targets == phony, "each target has a name, not a file"
    help_text = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    shown = {line.split()[0] for line in help_text.splitlines() if len(line.split()) > 1}
    assert shown == phony
    assert "e2e" in shown


def test_ci_runs_only_targets_of_make() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    parts = re.search(r"^for part in (.*); do$", script, re.MULTILINE)[1].split()
    phony = re.search(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text().replace("\\\n", " "), re.MULTILINE)[1].split()
    assert set(parts) <= set(phony)
    assert "cargo" not in script


@pytest.fixture(name="machine")
def bare_machine(tmp_path: Path) -> Path:
    """A PATH with little on it but an apt-get that writes down what it is asked, and makes `wrk` where it is to."""
    for name in ("bash", "env", "chmod"):
        (tmp_path / name).symlink_to(shutil.which(name))
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/bash\necho "$*" >> {tmp_path}/asked\n' + INSTALLS.format(folder=tmp_path))
    apt.chmod(0o755)
    return tmp_path


INSTALLS = """
case "$*" in
    install*wrk*) echo "#!/bin/bash" > {folder}/wrk; chmod +x {folder}/wrk ;;
esac
"""


def packages(machine: Path, *parts: str, user: int = 0, **settings: str) -> subprocess.CompletedProcess:
    (machine / "id").write_text(f"#!/bin/bash\necho {user}\n")
    (machine / "id").chmod(0o755)
    # The script looks in sbin too, where nothing of what these parts need is.
    variables = {"PATH": str(machine)} | settings
    script = ROOT / "scripts" / "packages.sh"
    return subprocess.run(
        [shutil.which("bash"), script, *parts], env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def test_what_is_missing_is_said_with_its_purpose_and_only_that_is_installed(machine: Path) -> None:
    run = packages(machine, "bench-short")
    assert run.returncode == 0, run.stderr
    assert "wrk" in run.stderr
    assert "the load" in run.stderr
    asked = (machine / "asked").read_text().splitlines()
    assert asked == ["update -q", "install -y --no-upgrade --no-install-recommends wrk"]
    again = packages(machine, "bench-short")
    assert (again.returncode, again.stderr) == (0, ""), "nothing is to do the second time"
    assert (machine / "asked").read_text().splitlines() == asked


def test_without_root_the_command_to_run_is_said(machine: Path) -> None:
    run = packages(machine, "bench-short", user=1000)
    assert run.returncode == 1
    assert "sudo apt-get install --no-install-recommends wrk" in run.stderr
    assert not (machine / "asked").exists()


def test_without_consent_nothing_is_installed(machine: Path) -> None:
    run = packages(machine, "bench-short", INSTALL="no")
    assert run.returncode == 1
    assert "wrk" in run.stderr
    assert not (machine / "asked").exists()


def test_what_cannot_be_installed_is_said_with_what_is_left_out(machine: Path) -> None:
    run = packages(machine, "instructions")
    assert run.returncode == 1
    assert "Could not be installed: valgrind" in run.stderr
    assert run.stderr.count("counting instructions") == 2


def test_a_part_that_there_is_not_is_refused(machine: Path) -> None:
    run = packages(machine, "everything")
    assert run.returncode == 2
    assert "give any of test" in run.stderr


CARGO_DENY = """#!/bin/bash
echo "$*" >> {folder}/asked
case "$*" in
    "deny --version") exit {version} ;;
    "deny fetch db") {fetch} ;;
    *"fuzz/Cargo.toml check"*) exit {found} ;;
esac
"""


def audit(folder: Path, target: str = "audit", version: int = 0, fetch: str = "true", found: int = 0) -> tuple[int, str, list[str]]:
    """What `make audit` ends with, says and asks, where cargo-deny does so."""
    cargo = folder / "cargo"
    cargo.write_text(CARGO_DENY.format(folder=folder, version=version, fetch=fetch, found=found))
    cargo.chmod(0o755)
    command = ["make", "--no-print-directory", target, f"CARGO={cargo}"]
    run = subprocess.run(command, cwd=ROOT, env=environment(AUDIT_SECONDS="1"), capture_output=True, text=True)
    return run.returncode, run.stderr, (folder / "asked").read_text().splitlines()


def test_advisories_are_looked_for_in_both_lock_files(tmp_path: Path) -> None:
    code, _, asked = audit(tmp_path)
    assert code == 0
    assert [line.split()[2] for line in asked if "advisories" in line] == ["Cargo.toml", "fuzz/Cargo.toml"]


def test_an_advisory_fails_the_check(tmp_path: Path) -> None:
    for target in ("audit", "check"):
        code, said, _ = audit(tmp_path, target, found=1)
        assert code == 2, "as make says that a command failed"
        assert "fuzz/Cargo.toml: raise what is named above" in said


@pytest.mark.parametrize(
    ("cannot", "says"),
    [
        ({"version": 101}, "cargo-deny is not installed"),
        ({"fetch": "exit 1"}, "not to be had within 1 s"),
        ({"fetch": "exec sleep 60"}, "not to be had within 1 s"),
    ],
    ids=["no_tool", "no_network", "no_answer"],
)
def test_where_advisories_cannot_be_looked_for_it_is_said_and_the_check_goes_on(tmp_path: Path, cannot: dict, says: str) -> None:
    for target, ends in (("audit", 2), ("check", 0)):
        code, said, asked = audit(tmp_path, target, **cannot)
        assert code == ends, said
        assert says in said
        assert not any("advisories" in line for line in asked)
