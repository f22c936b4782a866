"""A kubectl without a cluster: it keeps what it is given, as a cluster would, and writes down what it is asked.

It knows what the scripts rely on: labels, namespaces, fields that cannot be changed, pods and volumes that others make, what
outlives what. Whatever else a cluster may say is played to it: a test lists answers, each for commands that match. What it
does not know it refuses loudly, so that no script passes since its fake is lenient. `kustomize` is the real one's.

The program `kubectl` is a few lines of bash that ask the test's own process, since one that loads Python for each of
hundreds of questions takes minutes.
"""

import copy
import json
import re
import socketserver
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from rendering import LOADER, ROOT

SERVED = {
    "Namespace": "namespaces", "Secret": "secrets", "PersistentVolumeClaim": "persistentvolumeclaims",
    "ConfigMap": "configmaps", "Service": "services", "ServiceAccount": "serviceaccounts", "Pod": "pods", "Event": "events",
    "Endpoints": "endpoints", "Deployment": "deployments.apps", "StatefulSet": "statefulsets.apps", "Job": "jobs.batch",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers.autoscaling",
    "PodDisruptionBudget": "poddisruptionbudgets.policy", "Ingress": "ingresses.networking.k8s.io",
    "NetworkPolicy": "networkpolicies.networking.k8s.io", "StorageClass": "storageclasses.storage.k8s.io",
}  # fmt: skip
"""Kinds that every cluster has, by the names of their resources."""

EXTENSIONS = {
    "Gateway": "gateways.gateway.networking.k8s.io", "HTTPRoute": "httproutes.gateway.networking.k8s.io",
    "BackendTLSPolicy": "backendtlspolicies.gateway.networking.k8s.io",
    "ServiceMonitor": "servicemonitors.monitoring.coreos.com", "PodMonitor": "podmonitors.monitoring.coreos.com",
    "PrometheusRule": "prometheusrules.monitoring.coreos.com",
}  # fmt: skip
"""Kinds that some clusters have."""

WITHOUT_NAMESPACE = {"Namespace", "StorageClass"}

SHORT = {"hpa": "HorizontalPodAutoscaler", "pvc": "PersistentVolumeClaim"}

CHANGEABLE = {"StatefulSet": {"replicas", "template", "updateStrategy", "minReadySeconds", "ordinals",
                              "persistentVolumeClaimRetentionPolicy", "revisionHistoryLimit"}}  # fmt: skip
"""All that can be changed of a `spec`, where little can."""

FIXED = {"Deployment": {"selector"}, "Job": {"template", "selector"}, "Service": {"clusterIP"}}
"""What cannot be changed of a `spec`, where little cannot."""


PARTS = 4
"""Into how many tests those are cut that have each command of a script fail in turn, so that they run beside each other."""


class Refused(Exception):
    """What the cluster says no to, in its words."""


CLIENT = r"""#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/PORT
printf '%s\0' "$#" "$@" >&3
case " $* " in *" -f - "* | *" --stdin "*) cat >&3 ;; esac
printf '\0' >&3
IFS= read -r -d '' code <&3
IFS= read -r -d '' out <&3
IFS= read -r -d '' err <&3
printf '%s' "$out"
printf '%s' "$err" >&2
exit "$code"
"""
"""Sends how many arguments there are, these and standard input, each with a NUL behind; takes a code, output and errors."""


class Cluster:
    """One such cluster, and what it was asked."""

    rendered: dict[str, str] = {}
    """What the real kubectl rendered, by its input: all clusters of a run of the tests ask for the same."""

    def __init__(self, folder: Path, kubectl: str) -> None:
        self.folder = folder
        """Where the program is."""
        self.kubectl = kubectl
        """The real one."""
        self.kinds = dict(SERVED)
        self.state: list[dict] = []
        self.asked: list[str] = []
        self.answers: list[dict] = []
        self.given = ""
        """What was sent to a container's standard input."""
        self.put({"kind": "Namespace", "metadata": {"name": "default"}})
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        self.put({"kind": "StorageClass", "metadata": {"name": "standard", "annotations": default}})

    def extend(self) -> None:
        """Adds the kinds that operators bring."""
        self.kinds |= EXTENSIONS

    def play(self, *answers: dict) -> None:
        """Has commands that `match` a pattern answered by `stdout`, `stderr` and `code`; after the first `skip`, and `times`
        times, if these are given."""
        self.answers = [dict(answer) for answer in answers]

    def put(self, each: dict) -> None:
        """What somebody else made."""
        self.state.append(completed(copy.deepcopy(each)))

    def objects(self, kind: str | None = None, namespace: str | None = None) -> list[dict]:
        return [
            each for each in self.state if kind in (None, each["kind"]) and namespace in (None, each["metadata"].get("namespace"))
        ]

    def names(self, namespace: str | None = None) -> set[str]:
        """`Kind name` of all that is there, or in a namespace; pods left out."""
        return {title(each) for each in self.objects(namespace=namespace) if each["kind"] != "Pod"}

    def answer(self, arguments: list[str], given: str) -> tuple[int, str, str]:
        if arguments[0] == "kustomize":
            return self.kustomize(Path(arguments[1]))
        line = " ".join(arguments)
        self.asked.append(line)
        if played := self.played(line):
            return played.get("code", 0), played.get("stdout", ""), played.get("stderr", "")
        command = Command(self, arguments, given)
        try:
            command.run()
        except Refused as why:
            command.failed.append(str(why))
        return int(bool(command.failed)), command.said, "".join(f"{why}\n" for why in command.failed)

    def played(self, line: str) -> dict | None:
        for answer in self.answers:
            if re.search(answer["match"], line) and answer.get("times", 1) > 0:
                if answer.get("skip", 0) > 0:
                    answer["skip"] -= 1
                    continue
                if "times" in answer:
                    answer["times"] -= 1
                return answer
        return None

    def kustomize(self, folder: Path) -> tuple[int, str, str]:
        text = (ROOT / folder / "kustomization.yaml").read_text()
        if text not in self.rendered:
            done = subprocess.run([self.kubectl, "kustomize", ROOT / folder], capture_output=True, text=True)
            if done.returncode != 0:
                return done.returncode, done.stdout, done.stderr
            self.rendered[text] = done.stdout
        return 0, self.rendered[text], ""


@contextmanager
def played(folder: Path, kubectl: str) -> Iterator[Cluster]:
    """A new cluster, with a program `kubectl` in the folder that asks it. The real one is named for `kustomize`."""
    cluster = Cluster(folder, kubectl)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            count = int(self.until_nul())
            arguments = [self.until_nul() for _ in range(count)]
            code, out, err = cluster.answer(arguments, self.until_nul())
            self.wfile.write(f"{code}\0{out}\0{err}\0".encode())

        def until_nul(self) -> str:
            text = bytearray()
            while (byte := self.rfile.read(1)) not in (b"\0", b""):
                text += byte
            return text.decode()

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        program = folder / "kubectl"
        program.write_text(CLIENT.replace("PORT", str(server.server_address[1])))
        program.chmod(0o755)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield cluster
        finally:
            server.shutdown()
            thread.join()


def title(each: dict) -> str:
    return f"{each['kind']} {each['metadata']['name']}"


def completed(each: dict) -> dict:
    """As the cluster keeps it."""
    if each["kind"] == "Namespace":
        each["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = each["metadata"]["name"]
    if each["kind"] == "Secret" and "stringData" in each:
        each["data"] = {name: b64encode(text.encode()).decode() for name, text in each["stringData"].items()}
    return each


class Command:
    """One command."""

    def __init__(self, cluster: Cluster, arguments: list[str], given: str) -> None:
        self.cluster = cluster
        self.given = given
        """Standard input."""
        self.arguments = arguments
        self.said = ""
        self.failed: list[str] = []
        self.positional: list[str] = []
        self.options: dict[str, str] = {}
        valued = {"-n", "-f", "-l", "-o", "--replicas", "--timeout", "--for", "--labels", "--image", "--restart", "--overrides",
                  "--override-type", "--tail", "--sort-by", "--verbs", "--dry-run", "--raw", "--namespace", "--field-selector", "--wait", "--grace-period"}  # fmt: skip
        switches = {"--ignore-not-found", "--no-headers", "--overwrite", "--attach", "--rm", "--quiet", "--stdin", "--prefix",
                    "--command", "--all", "--namespaced", "--previous", "--all-containers"}  # fmt: skip
        self.valued, self.switches = valued, switches

    def parse(self) -> None:
        rest = iter(self.arguments)
        for argument in rest:
            name, given, value = argument.partition("=")
            if argument == "--":
                self.positional.extend(rest)
            elif name in self.switches:
                self.options[name] = value or "true"
            elif name in self.valued:
                self.options[name] = value if given else next(rest)
            elif argument.startswith("-"):
                raise Refused(f"the fake kubectl does not know {argument}")
            else:
                self.positional.append(argument)
        self.namespace = self.options.get("-n", self.options.get("--namespace", "default"))

    def run(self) -> None:
        self.parse()
        verb = self.positional.pop(0).replace("-", "_")
        handler = getattr(self, f"do_{verb}", None)
        if not handler:
            raise Refused(f"the fake kubectl does not know {verb}")
        handler()

    # What there is.

    def kind_of(self, name: str) -> str:
        for kind, resource in self.cluster.kinds.items():
            plain = resource.partition(".")[0]
            if name.lower() in (resource, plain, kind.lower()) or SHORT.get(name) == kind or name == f"{kind.lower()}.{resource.partition('.')[2]}":
                return kind
        raise Refused(f'error: the server doesn\'t have a resource type "{name}"')

    def wanted(self) -> list[dict]:
        """What a command names: by a file, by kinds and labels, or by names."""
        if "-f" in self.options:
            given = {(each["kind"], self.at(each), each["metadata"]["name"]) for each in self.documents()}
            return [each for each in self.cluster.state if self.key(each) in given]
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
            for each in self.cluster.state
            if each["kind"] in kinds
            and (each["kind"] in WITHOUT_NAMESPACE or each["metadata"].get("namespace") == self.namespace)
            and name in (None, each["metadata"]["name"])
        ]

    def selects(self, each: dict) -> bool:
        labels = each["metadata"].get("labels", {})
        if phase := self.options.get("--field-selector", "").removeprefix("status.phase="):
            if each.get("status", {}).get("phase") != phase:
                return False
        for term in filter(None, self.options.get("-l", "").split(",")):
            if term.startswith("!"):
                if term[1:] in labels:
                    return False
                continue
            key, operator, value = re.fullmatch(r"([^!=]+)(!?=)(.*)", term).groups()
            if (labels.get(key) == value) == (operator == "!="):
                return False
        return True

    def documents(self) -> list[dict]:
        text = self.given if self.options["-f"] == "-" else Path(self.options["-f"]).read_text()
        return [each for each in yaml.load_all(text, LOADER) if each]

    def at(self, each: dict) -> str | None:
        return None if each["kind"] in WITHOUT_NAMESPACE else each["metadata"].get("namespace", self.namespace)

    def key(self, each: dict) -> tuple:
        return each["kind"], self.at(each), each["metadata"]["name"]

    def find(self, each: dict) -> dict | None:
        return next((other for other in self.cluster.state if self.key(other) == self.key(each)), None)

    def named(self, each: dict) -> str:
        resource = self.cluster.kinds[each["kind"]]
        group = resource.partition(".")[2]
        return f"{each['kind'].lower()}{'.' if group else ''}{group}/{each['metadata']['name']}"

    # Verbs.

    def say(self, *words: object, end: str = "\n") -> None:
        self.said += " ".join(str(word) for word in words) + end

    def do_api_resources(self) -> None:
        for kind, resource in self.cluster.kinds.items():
            if not ("--namespaced" in self.options and kind in WITHOUT_NAMESPACE):
                self.say(resource)

    def do_get(self) -> None:
        if "--raw" in self.options:
            raw = RAW.get(self.options["--raw"])
            if not raw:
                raise Refused("Error from server (NotFound): the server could not find the requested resource")
            self.say(raw)
            return
        self.show(self.wanted())

    def show(self, found: list[dict]) -> None:
        form = self.options.get("-o", "")
        if form == "name":
            for each in found:
                self.say(self.named(each))
        elif form.startswith("custom-columns="):
            paths = [column.partition(":")[2] for column in form.removeprefix("custom-columns=").split(",")]
            for each in found:
                self.say("   ".join(str(value_at(each, path) or "<none>") for path in paths))
        elif form.startswith("jsonpath="):
            for each in found:
                self.say(value_at(each, form.removeprefix("jsonpath=").strip("{}")) or "", end="")
        elif not form:
            for each in found:
                self.say(f"{self.named(each)}   Running")
        else:
            raise Refused(f"the fake kubectl does not know -o {form}")

    def do_create(self) -> None:
        if "-f" not in self.options:
            raise Refused("the fake kubectl creates from files only")
        for each in self.documents():
            if self.find(each):
                raise Refused(f"Error from server (AlreadyExists): {self.named(each)} already exists")
            self.keep(each, None)
            self.say(f"{self.named(each)} created")

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
            self.say(self.named(each) if self.options.get("-o") == "name" else f"{self.named(each)} {done}")

    def check(self, each: dict, old: dict | None) -> None:
        kind, spec = each["kind"], each.get("spec", {})
        if kind not in self.cluster.kinds:
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
            self.cluster.state.remove(old)
        self.cluster.state.append(completed(each))
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
        made = {"kind": kind, "metadata": {"name": name, "namespace": self.at(beside), **metadata}, "status": {"phase": "Running"}}
        if not self.find(made):
            self.cluster.state.append(made)

    def do_delete(self) -> None:
        for each in self.wanted():
            self.remove(each)
            self.say(f'{self.named(each)} deleted')

    def remove(self, each: dict) -> None:
        name = each["metadata"]["name"]
        gone = [other for other in self.cluster.state if other is each
                or (each["kind"] == "Namespace" and other["metadata"].get("namespace") == name)
                or (self.at(other) == self.at(each) and {"kind": each["kind"], "name": name} in other["metadata"].get("ownerReferences", []))]  # fmt: skip
        self.cluster.state = [other for other in self.cluster.state if not any(other is one for one in gone)]
        if each["kind"] == "Pod" and (owner := each["metadata"].get("ownerReferences")):
            maker = next(iter(self.among({owner[0]["kind"]}, owner[0]["name"])), None)
            if maker:
                self.follow(maker)

    def do_rollout(self) -> None:
        action = self.positional.pop(0)
        for each in self.wanted():
            self.say(f"{self.named(each)} successfully rolled out" if action == "status" else f"{self.named(each)} restarted")

    def do_scale(self) -> None:
        for each in self.wanted():
            each["spec"]["replicas"] = int(self.options["--replicas"])
            self.follow(each)

    def do_auth(self) -> None:
        self.say("yes")

    def do_run(self) -> None:
        name = self.positional[0]
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name):
            raise Refused(f'The Pod "{name}" is invalid: metadata.name: Invalid value')
        labels = dict(pair.split("=") for pair in self.options.get("--labels", f"run={name}").split(","))
        if "--stdin" in self.options:
            self.cluster.given = self.given
        if "--rm" not in self.options:
            phase = "Running" if "--command" in self.options else "Succeeded"
            pod = {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "status": {"phase": phase}}
            if self.find(pod):
                raise Refused(f'Error from server (AlreadyExists): pods "{name}" already exists')
            pod["metadata"]["namespace"] = self.namespace
            self.cluster.put(pod)

    def do_wait(self) -> None:
        self.wanted()

    def do_logs(self) -> None:
        """What the container printed: an export prints what an import was given, one that runs on prints its counts."""
        if "-l" in self.options:
            return
        for each in self.among({"Pod"}, self.positional[0]):
            if each["status"]["phase"] == "Succeeded":
                self.say(self.cluster.given.replace(": ", ":").replace(", ", ","), end="")
            else:
                each["asked"] = each.get("asked", 0) + 30
                self.say(f"requests {each['asked']} failed 0")


RAW = {"/version": '{"major": "1",\n "minor": "33+"}', "/apis/metrics.k8s.io/v1beta1/nodes": "{}"}
"""Paths that are asked for as they are."""


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
