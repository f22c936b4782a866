"""Times kvstore over HTTP against its limit and its rivals, alternately, and prints a table.

    make bench-http ROUNDS=5 SECONDS=2 TARGETS="bare kvstore-1k" LOADS="get set" WRITE=yes

A bare handler is the limit: the same server with the same settings that answers a constant. Every figure is the median of
the rounds, with the least and the most; in every round each target has its turn, in an order that changes.
"""

import os
import platform
import random
import statistics
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from targets import ROOT, Request, Starter, Target

LOAD = Path(__file__).with_name("load.lua")

CONNECTIONS = [1, 64]

LOADS = {
    "get": "GET of a key that is there",
    "set": "PUT of a key that is there",
    "new": "PUT of a new key",
    "mix": "nine GETs to one PUT",
    "prefix": "search by prefix, limit=100",
    "suffix": "search by suffix, limit=100",
    "both": "search by both, limit=100",
}


@dataclass(frozen=True)
class Result:
    rate: float
    """Requests a second."""
    p50_us: float
    p99_us: float
    p999_us: float
    cpu_us: float
    """Processor time of the server for each request."""


def parameter(name: str, default: str) -> str:
    return os.environ.get(name) or default


def requests(target: Target, load: str) -> list[Request] | None:
    """What is sent; `None` where the target knows no such thing."""
    match load:
        case "get":
            return [target.get]
        case "set" | "new":
            return [target.set]
        case "mix":
            return [(90, *target.get[1:]), (10, *target.set[1:])]
    return [target.search[load]] if load in target.search else None


def cpu_s(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(target: Target, load: str, connections: int, seconds: str) -> Result:
    sent = requests(target, load)
    assert sent is not None
    words = [str(word) for request in sent for word in request]
    begun_s = cpu_s(target.pids)
    command = [
        "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(LOAD), target.url, "--",
        "new" if load == "new" else "random", str(target.keys), *words,
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    line = next(line for line in run.stdout.splitlines() if line.startswith("RESULT"))
    count, duration_us, p50_us, p99_us, p999_us, errors = (int(word) for word in line.split()[1:])
    # Figures of requests that failed are none.
    assert errors == 0, f"{target.name} {load}: {errors} of {count} failed"
    spent_us = (cpu_s(target.pids) - begun_s) * 1e6
    return Result(count / duration_us * 1e6, p50_us, p99_us, p999_us, spent_us / count)


def median(results: list[Result], name: str) -> float:
    return statistics.median(getattr(result, name) for result in results)


def table(load: str, connections: int, by_target: dict[str, list[Result]], limit: list[Result] | None) -> list[str]:
    plural = "connection" if connections == 1 else "connections"
    said = [
        f"{LOADS[load]}, {connections} {plural}:",
        "",
        "| | requests/s | least to most | of bare | p50, µs | p99, µs | p99.9, µs | CPU, µs |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, results in by_target.items():
        rates = [result.rate for result in results]
        # Of the same round, since the machine's speed changes between rounds.
        ratios = [own.rate / bare.rate for own, bare in zip(results, limit, strict=True)] if limit else []
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        said.append(
            f"| {name} | {median(results, 'rate'):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} | {ratio} "
            f"| {median(results, 'p50_us'):.0f} | {median(results, 'p99_us'):.0f} | {median(results, 'p999_us'):.0f} "
            f"| {median(results, 'cpu_us'):.1f} |"
        )
    return [*said, ""]


def main() -> None:
    rounds, seconds = int(parameter("ROUNDS", "5")), parameter("SECONDS", "2")
    workers = int(parameter("WORKERS", "2"))
    names = parameter("TARGETS", "bare bare-prom kvstore-1k kvstore-1m kvstore-10m kvstore-redis webdis etcd nginx").split()
    loads = parameter("LOADS", " ".join(LOADS)).split()
    said = [
        f"{rounds} rounds of {seconds} s each, {workers} workers, {os.cpu_count()} {platform.machine()} cores that wrk shares; "
        "values of 42 bytes. CPU is the server's own time for a request, without Redis'.",
        "",
    ]
    with ExitStack() as stack:
        starter = Starter(stack, workers)
        targets = [starter.start(name) for name in names]
        limits: dict[tuple[str, int], list[Result]] = {}
        for load in loads:
            for connections in CONNECTIONS:
                by_target: dict[str, list[Result]] = defaultdict(list)
                able = [target for target in targets if requests(target, load) and not (load == "new" and target.name == "etcd")]
                for _ in range(rounds):
                    for target in random.sample(able, len(able)):
                        by_target[target.name].append(measure(target, load, connections, seconds))
                limits[load, connections] = by_target["bare"]
                # A search is held against the limit of reads.
                limit = by_target.get("bare") or limits.get(("get", connections))
                ordered = {target.name: by_target[target.name] for target in able}
                some = table(load, connections, ordered, limit)
                print("\n".join(some), flush=True)
                said += some
    if parameter("WRITE", "no") == "yes":
        write(said)


def write(said: list[str]) -> None:
    path = ROOT / "docs" / "benchmarks.md"
    before, begin, rest = path.read_text().partition("<!-- bench-http begins -->\n")
    _, end, after = rest.partition("<!-- bench-http ends -->\n")
    if not begin or not end:
        sys.exit("docs/benchmarks.md has lost the marks between which the tables go")
    path.write_text(before + begin + "\n".join(said) + end + after)


if __name__ == "__main__":
    main()
