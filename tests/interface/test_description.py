"""What `/openapi.json` says, for those who read it by program: that it is valid, that the server keeps to it, and that a
client made from it works. `tests/http` holds every answer that its tests see against it."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from openapi_spec_validator import validate

HERE = Path(__file__).parent


def test_it_is_valid(description: dict) -> None:
    validate(description)


def test_schemathesis_finds_nothing(url: str, description: dict, tmp_path: Path) -> None:
    """Requests made from the description, valid and not: no answer that it does not have, no failure of the server."""
    (tmp_path / "openapi.json").write_text(json.dumps(description))
    examples = os.environ.get("KVSTORE_TEST_EXAMPLES", "30")
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml", "run"]
    command += [tmp_path / "openapi.json", "--url", url, "--max-examples", examples, "--request-timeout", "5"]
    # The same ones each time, so that whoever changes something else is not stopped by what it finds by chance.
    command += ["--no-color", "--seed", os.environ.get("KVSTORE_TEST_SEED", "1")]
    variables = os.environ | {"SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")}
    run = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    print(run.stdout.splitlines()[-1])


@pytest.fixture
def client(url: str, description: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """The package that a generator makes of it, for a server."""
    (tmp_path / "openapi.json").write_text(json.dumps(description))
    command = [Path(sys.executable).with_name("openapi-python-client"), "generate", "--path", tmp_path / "openapi.json"]
    command += ["--output-path", tmp_path / "generated", "--meta", "none"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "Endpoint will not be generated" not in made.stdout + made.stderr
    subprocess.run([sys.executable, "-m", "compileall", "-q", tmp_path / "generated"], check=True)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("generated").Client(base_url=url)


def test_a_generated_client_makes_a_round_trip(client: object) -> None:
    def call(name: str, *arguments: object, **more: object) -> object:
        module = importlib.import_module(f"generated.api.{name}")
        return module.sync_detailed(*arguments, client=client, **more)

    models = importlib.import_module("generated.models")
    types = importlib.import_module("generated.types")

    def put() -> object:
        body = types.File(payload=BytesIO(b"any bytes"), mime_type="application/octet-stream")
        return call("values.put_value", "generated/one", body=body, if_none_match="*")

    first = put()
    assert first.status_code == 200 and first.parsed.created is True
    again = put()
    assert again.status_code == 412 and again.parsed.code == models.ProblemCode.PRECONDITION_FAILED
    json_body = models.SetRequest.from_dict({"key": "generated/two", "value": {"n": 1}})
    assert call("values.set_values", body=json_body).status_code == 200
    read = call("values.get_value", "generated/two")
    assert read.status_code == 200 and read.parsed == {"n": 1}
    found = call("searches.search", prefix="generated/", suffix="o")
    assert found.status_code == 200 and found.parsed == ["generated/two"]
    assert call("values.delete_value", "generated/one", if_match=first.headers["etag"]).status_code == 204
    missing = call("values.get_value", "generated/one")
    assert missing.status_code == 404 and missing.parsed.code == models.ProblemCode.KEY_NOT_FOUND


def test_a_typescript_client_compiles_and_makes_a_round_trip(url: str, description: dict, tmp_path: Path) -> None:
    """openapi-typescript makes types, by which `round_trip.ts` is compiled as strictly as one can, and then runs."""
    node = Path(sys.executable).with_name("node")
    packages = Path(sys.prefix) / "npm" / "node_modules"
    (tmp_path / "node_modules").symlink_to(packages)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "openapi.json").write_text(json.dumps(description))
    shutil.copy(HERE / "round_trip.ts", tmp_path)

    def run(*command: str | Path) -> None:
        ran = subprocess.run([node, *command], cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    # As a module and not as declarations, so that the compiler checks it without checking the libraries'.
    run(packages / "openapi-typescript" / "bin" / "cli.js", "openapi.json", "--output", "kvstore.ts")
    options = ["--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--skipLibCheck"]
    options += ["--target", "es2022", "--module", "nodenext", "--types", "node"]
    run(packages / "typescript" / "bin" / "tsc", *options, "round_trip.ts")
    run("round_trip.js", url)
