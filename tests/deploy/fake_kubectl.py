"""A kubectl without a cluster: it keeps what it is given in a file, as a cluster would, and writes down what it is asked.

It knows what the scripts rely on: labels, namespaces, fields that cannot be changed, pods and volumes that others make, what
outlives what. Whatever else a cluster may say is played to it: a test lists answers, each for commands that match. What it
does not know it refuses loudly, so that no script passes since its fake is lenient. `kustomize` is the real one's.

Run as a program, in the folder that holds its files; `Cluster` is for the tests.
"""

import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import yaml


def folder_of(module: ModuleType) -> Path:
    """Where a package is; named outright, since to look for all of them takes longer than all else here."""
    return Path(module.__file__).parents[1]


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

SERVED = {
    "Namespace": "namespaces", "Secret": "secrets", "PersistentVolumeClaim": "persistentvolumeclaims",
    "ConfigMap": "configmaps", "Service": "services", "ServiceAccount": "serviceaccounts", "Pod": "pods", "Event": "events",
    "Endpoints": "endpoints", "Deployment": "deployments.apps", "StatefulSet": "statefulsets.apps", "Job": "jobs.batch",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers.autoscaling",
    "PodDisruptionBudget": "poddisruptionbudgets.policy", "Ingress": "ingresses.networking.k8s.io",
    "NetworkPolicy": "networkpolicies.networking.k8s.io",
}  # fmt: skip
"""Kinds that every cluster has, by the names of their resources."""

EXTENSIONS = {
    "Gateway": "gateways.gateway.networking.k8s.io", "HTTPRoute": "httproutes.gateway.networking.k8s.io",
    "ServiceMonitor": "servicemonitors.monitoring.coreos.com", "PodMonitor": "podmonitors.monitoring.coreos.com",
    "PrometheusRule": "prometheusrules.monitoring.coreos.com",
}  # fmt: skip
"""Kinds that some clusters have."""

SHORT = {"hpa": "HorizontalPodAutoscaler", "pvc": "PersistentVolumeClaim"}

CHANGEABLE = {"StatefulSet": {"replicas", "template", "updateStrategy", "minReadySeconds", "ordinals",
                              "persistentVolumeClaimRetentionPolicy", "revisionHistoryLimit"}}  # fmt: skip
"""All that can be changed of a `spec`, where little can."""

FIXED = {"Deployment": {"selector"}, "Job": {"template", "selector"}, "Service": {"clusterIP"}}
"""What cannot be changed of a `spec`, where little cannot."""


class Refused(Exception):
    """What the cluster says no to, in its words."""


class Cluster:
    """The files of one such cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def make(cls, folder: Path, kubectl: str) -> "Cluster":
        """A new one, with a program `kubectl` in its folder. The real one is named for `kustomize`."""
        program = folder / "kubectl"
        program.write_text(f'#!/bin/sh\nFAKE="{folder}" KUBECTL="{kubectl}" PYTHONPATH="{folder_of(yaml)}" exec "{sys.executable}" -S "{__file__}" "$@"\n')
        program.chmod(0o755)
        cluster = cls(folder)
        cluster.write({"kinds": SERVED, "objects": []})
        cluster.play()
        cluster.put({"kind": "Namespace", "metadata": {"name": "default"}})
        return cluster

    def read(self) -> dict:
        return json.loads((self.folder / "state.json").read_text())

    def write(self, state: dict) -> None:
        (self.folder / "state.json").write_text(json.dumps(state))

    def extend(self) -> None:
        """Adds the kinds that operators bring."""
        self.write(self.read() | {"kinds": SERVED | EXTENSIONS})

    def play(self, *answers: dict) -> None:
        """Has commands that `match` a pattern answered by `stdout`, `stderr` and `code`, the first `times` only."""
        (self.folder / "answers.json").write_text(json.dumps(answers))

    def put(self, each: dict) -> None:
        """What somebody else made."""
        state = self.read()
        state["objects"].append(completed(each))
        self.write(state)

    def objects(self, kind: str | None = None, namespace: str | None = None) -> list[dict]:
        return [
            each
            for each in self.read()["objects"]
            if kind in (None, each["kind"]) and namespace in (None, each["metadata"].get("namespace"))
        ]

    def names(self, namespace: str | None = None) -> set[str]:
        """`Kind name` of all that is there, or in a namespace; pods left out."""
        return {title(each) for each in self.objects(namespace=namespace) if each["kind"] != "Pod"}

    def asked(self) -> list[str]:
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []


def title(each: dict) -> str:
    return f"{each['kind']} {each['metadata']['name']}"


def completed(each: dict) -> dict:
    """As the cluster keeps it."""
    if each["kind"] == "Namespace":
        each["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = each["metadata"]["name"]
    return each


class Command:
    """One command, on one state."""

    def __init__(self, state: dict, arguments: list[str], told: Callable[[], str]) -> None:
        self.state = state
        self.told = told
        """Reads standard input."""
        self.positional: list[str] = []
        self.options: dict[str, str] = {}
        valued = {"-n", "-f", "-l", "-o", "--replicas", "--timeout", "--for", "--labels", "--image", "--restart", "--overrides",
                  "--override-type", "--tail", "--sort-by", "--verbs", "--dry-run", "--raw", "--wait", "--grace-period"}  # fmt: skip
        switches = {"--ignore-not-found", "--no-headers", "--overwrite", "--attach", "--rm", "--quiet", "--stdin", "--prefix",
                    "--command", "--all", "--namespaced", "--previous", "--all-containers"}  # fmt: skip
        rest = iter(arguments)
        for argument in rest:
            name, given, value = argument.partition("=")
            if argument == "--":
                self.positional.extend(rest)
            elif name in switches:
                self.options[name] = value or "true"
            elif name in valued:
                self.options[name] = value if given else next(rest)
            elif argument.startswith("-"):
                raise Refused(f"the fake kubectl does not know {argument}")
            else:
                self.positional.append(argument)
        self.namespace = self.options.get("-n", "default")
        self.failed: list[str] = []

    def run(self) -> None:
        verb = self.positional.pop(0).replace("-", "_")
        handler = getattr(self, f"do_{verb}", None)
        if not handler:
            raise Refused(f"the fake kubectl does not know {verb}")
        handler()

    # What there is.

    def kind_of(self, name: str) -> str:
        for kind, resource in self.state["kinds"].items():
            plain = resource.partition(".")[0]
            if name.lower() in (resource, plain, kind.lower()) or SHORT.get(name) == kind or name == f"{kind.lower()}.{resource.partition('.')[2]}":
                return kind
        raise Refused(f'error: the server doesn\'t have a resource type "{name}"')

    def wanted(self) -> list[dict]:
        """What a command names: by a file, by kinds and labels, or by names."""
        if "-f" in self.options:
            given = {(each["kind"], self.at(each), each["metadata"]["name"]) for each in self.documents()}
            return [each for each in self.state["objects"] if self.key(each) in given]
        if not self.positional:
            raise Refused("error: You must specify the type of resource")
        first = self.positional[0]
        if "/" in first:
            pairs = [word.split("/") for word in self.positional]
            found = [each for kind, name in pairs for each in self.among({self.kind_of(kind)}, name)]
        else:
            kinds = {self.kind_of(kind) for kind in first.split(",")}
            names = self.positional[1:]
            found = [each for name in names or [None] for each in self.among(kinds, name)]
            if not names:
                return [each for each in found if self.selects(each)]
        if not found and "--ignore-not-found" not in self.options:
            raise Refused(f'Error from server (NotFound): "{" ".join(self.positional)}" not found')
        return found

    def among(self, kinds: set[str], name: str | None) -> list[dict]:
        return [
            each
            for each in self.state["objects"]
            if each["kind"] in kinds
            and (each["kind"] == "Namespace" or each["metadata"].get("namespace") == self.namespace)
            and name in (None, each["metadata"]["name"])
        ]

    def selects(self, each: dict) -> bool:
        labels = each["metadata"].get("labels", {})
        for term in filter(None, self.options.get("-l", "").split(",")):
            key, operator, value = re.fullmatch(r"([^!=]+)(!?=)(.*)", term).groups()
            if (labels.get(key) == value) == (operator == "!="):
                return False
        return True

    def documents(self) -> list[dict]:
        text = self.told() if self.options["-f"] == "-" else Path(self.options["-f"]).read_text()
        return [each for each in yaml.load_all(text, LOADER) if each]

    def at(self, each: dict) -> str | None:
        return None if each["kind"] == "Namespace" else each["metadata"].get("namespace", self.namespace)

    def key(self, each: dict) -> tuple:
        return each["kind"], self.at(each), each["metadata"]["name"]

    def find(self, each: dict) -> dict | None:
        return next((other for other in self.state["objects"] if self.key(other) == self.key(each)), None)

    def named(self, each: dict) -> str:
        resource = self.state["kinds"][each["kind"]]
        group = resource.partition(".")[2]
        return f"{each['kind'].lower()}{'.' if group else ''}{group}/{each['metadata']['name']}"

    # Verbs.

    def do_api_resources(self) -> None:
        for kind, resource in self.state["kinds"].items():
            if not ("--namespaced" in self.options and kind == "Namespace"):
                print(resource)

    def do_get(self) -> None:
        if "--raw" in self.options:
            print("{}")
            return
        self.print(self.wanted())

    def print(self, found: list[dict]) -> None:
        form = self.options.get("-o", "")
        if form == "name":
            for each in found:
                print(self.named(each))
        elif form.startswith("custom-columns="):
            paths = [column.partition(":")[2] for column in form.removeprefix("custom-columns=").split(",")]
            for each in found:
                print("   ".join(str(value_at(each, path) or "<none>") for path in paths))
        elif form.startswith("jsonpath="):
            for each in found:
                print(value_at(each, form.removeprefix("jsonpath=").strip("{}")) or "", end="")
        elif not form:
            for each in found:
                print(f"{self.named(each)}   Running")
        else:
            raise Refused(f"the fake kubectl does not know -o {form}")

    def do_create(self) -> None:
        if "-f" not in self.options:
            raise Refused("the fake kubectl creates from files only")
        for each in self.documents():
            if self.find(each):
                raise Refused(f"Error from server (AlreadyExists): {self.named(each)} already exists")
            self.keep(each, None)
            print(f"{self.named(each)} created")

    def do_apply(self) -> None:
        tried = "--dry-run" in self.options
        for each in self.documents():
            if not self.selects(each):
                continue
            old = self.find(each)
            try:
                self.check(each, old)
            except Refused as why:
                self.failed.append(str(why))
                continue
            if not tried:
                self.keep(each, old)
            done = "created" if not old else "unchanged" if old.get("applied") == each else "configured"
            print(self.named(each) if self.options.get("-o") == "name" else f"{self.named(each)} {done}")

    def check(self, each: dict, old: dict | None) -> None:
        kind, spec = each["kind"], each.get("spec", {})
        if kind not in self.state["kinds"]:
            raise Refused(f'error: resource mapping not found for "{title(each)}": no matches for kind "{kind}"')
        if self.at(each) and not self.find({"kind": "Namespace", "metadata": {"name": self.at(each)}}):
            raise Refused(f'Error from server (NotFound): namespaces "{self.at(each)}" not found')
        if not old:
            return
        before = old.get("applied", old).get("spec", {})
        changed = {name for name in spec.keys() | before.keys() if spec.get(name) != before.get(name)}
        fixed = changed - CHANGEABLE[kind] if kind in CHANGEABLE else changed & FIXED.get(kind, set())
        if fixed:
            raise Refused(f'The {kind} "{each["metadata"]["name"]}" is invalid: spec: Forbidden: {sorted(fixed)}: field is immutable')

    def keep(self, each: dict, old: dict | None) -> None:
        self.check(each, old)
        applied = json.loads(json.dumps(each))
        if self.at(each):
            each["metadata"]["namespace"] = self.at(each)
        if each["kind"] == "Deployment" and "replicas" not in each["spec"]:
            # What was said once and is no longer goes back to 1; what never was said is left as it is.
            said = not old or "replicas" in old.get("applied", {}).get("spec", {})
            each["spec"]["replicas"] = 1 if said else old["spec"]["replicas"]
        each["applied"] = applied
        if old:
            self.state["objects"].remove(old)
        self.state["objects"].append(completed(each))
        self.follow(each)

    def follow(self, each: dict) -> None:
        """What controllers make of it: pods, and volumes that stay when they go."""
        spec, name = each.get("spec", {}), each["metadata"]["name"]
        if each["kind"] not in ("Deployment", "StatefulSet", "Job"):
            return
        for number in range(spec.get("replicas", 1)):
            for claim in spec.get("volumeClaimTemplates", []):
                labels = claim["metadata"].get("labels", {}) | spec["selector"]["matchLabels"]
                self.make("PersistentVolumeClaim", f"{claim['metadata']['name']}-{name}-{number}", each, labels=labels)
            owner = [{"kind": each["kind"], "name": name}]
            labels = spec["template"]["metadata"].get("labels", {})
            self.make("Pod", f"{name}-{number}", each, labels=labels, ownerReferences=owner)

    def make(self, kind: str, name: str, beside: dict, **metadata: object) -> None:
        made = {"kind": kind, "metadata": {"name": name, "namespace": self.at(beside), **metadata}}
        if not self.find(made):
            self.state["objects"].append(made)

    def do_delete(self) -> None:
        for each in self.wanted():
            self.remove(each)
            print(f'{self.named(each)} deleted')

    def remove(self, each: dict) -> None:
        name = each["metadata"]["name"]
        gone = [other for other in self.state["objects"] if other is each
                or (each["kind"] == "Namespace" and other["metadata"].get("namespace") == name)
                or (self.at(other) == self.at(each) and {"kind": each["kind"], "name": name} in other["metadata"].get("ownerReferences", []))]  # fmt: skip
        self.state["objects"] = [other for other in self.state["objects"] if not any(other is one for one in gone)]
        if each["kind"] == "Pod" and (owner := each["metadata"].get("ownerReferences")):
            maker = next(iter(self.among({owner[0]["kind"]}, owner[0]["name"])), None)
            if maker:
                self.follow(maker)

    def do_rollout(self) -> None:
        action = self.positional.pop(0)
        for each in self.wanted():
            print(f"{self.named(each)} successfully rolled out" if action == "status" else f"{self.named(each)} restarted")

    def do_scale(self) -> None:
        for each in self.wanted():
            each["spec"]["replicas"] = int(self.options["--replicas"])
            self.follow(each)

    def do_run(self) -> None:
        name = self.positional[0]
        labels = dict(pair.split("=") for pair in self.options.get("--labels", f"run={name}").split(","))
        if "--stdin" in self.options:
            self.state["given"] = self.told()
        if "--rm" not in self.options:
            pod = {"kind": "Pod", "metadata": {"name": name, "labels": labels}}
            if self.find(pod):
                raise Refused(f'Error from server (AlreadyExists): pods "{name}" already exists')
            self.make("Pod", name, pod, labels=labels)

    def do_wait(self) -> None:
        self.wanted()

    def do_logs(self) -> None:
        return


def value_at(each: dict, path: str) -> object:
    """By a path as in custom columns: `.metadata.labels.app\\.kubernetes\\.io/name`, `.spec.rules[0].host`."""
    value: object = each
    for step in re.findall(r"\[\d+\]|(?:\\.|[^.\[\\])+", path):
        if step.startswith("["):
            index = int(step[1:-1])
            value = value[index] if isinstance(value, list) and index < len(value) else None
        else:
            value = value.get(step.replace("\\.", ".")) if isinstance(value, dict) else None
    return value


def played(folder: Path, line: str) -> dict | None:
    answers = json.loads((folder / "answers.json").read_text())
    for answer in answers:
        if re.search(answer["match"], line) and answer.get("times", 1) > 0:
            if "times" in answer:
                answer["times"] -= 1
                (folder / "answers.json").write_text(json.dumps(answers))
            return answer
    return None


def main() -> int:
    arguments = sys.argv[1:]
    folder = Path(os.environ["FAKE"])
    if arguments[0] == "kustomize":
        return subprocess.run([os.environ["KUBECTL"], *arguments]).returncode
    line = " ".join(arguments)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (folder / "asked").open("a") as asked:
            asked.write(line.replace("\n", "\\n") + "\n")
        answer = played(folder, line)
        if answer and not answer.get("goes_on"):
            if "--stdin" in arguments:
                sys.stdin.read()
            sys.stdout.write(answer.get("stdout", ""))
            sys.stderr.write(answer.get("stderr", ""))
            return answer.get("code", 0)
        cluster = Cluster(folder)
        state = cluster.read()
        command = None
        try:
            command = Command(state, arguments, sys.stdin.read)
            command.run()
        except Refused as why:
            print(why, file=sys.stderr)
            return 1
        finally:
            cluster.write(state)
        for why in command.failed:
            print(why, file=sys.stderr)
        return 1 if command.failed else 0


if __name__ == "__main__":
    sys.exit(main())
