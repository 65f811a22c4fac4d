#!/usr/bin/env python3
"""Measures Headrace beside its ceilings and its peers, in turn, and prints every figure as a share of its ceiling.

    make bench                                      all of it
    python3 Benchmarks/run.py --workloads tar       one workload
    python3 Benchmarks/run.py --list

The share of a ceiling is the median of the rounds' ratios, each round measuring all contenders one after the other;
`CPU` is the same ratio of CPU seconds, which a machine that has other work to do disturbs less.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import data
import workloads
from workloads import HERE, ROOT


def build():
    subprocess.run(["make", "-s", "-C", HERE / "Ceilings"], check=True)
    subprocess.run(["swift", "build", "-c", "release", "--package-path", HERE, "--product", "headrace-bench"], check=True)


def say(text):
    """Tells a person who waits what is going on."""
    if sys.stderr.isatty():
        print(f"\r{text:100.100}\r", end="", file=sys.stderr, flush=True)


def run(contender):
    """One run: what its JSON line says, or why there is none."""
    done = subprocess.run([str(word) for word in contender.command], capture_output=True, text=True)
    if done.returncode != 0:
        return None, (done.stderr.strip() or f"ended with {done.returncode}").splitlines()[-1]
    return json.loads(done.stdout.splitlines()[-1]), None


def check_samples(workload, contender, result):
    """All read the same: a contender that delivers another number of samples is no contender."""
    if workload.samples and result["samples"] % workload.samples:
        sys.exit(f"{contender.name} delivered {result['samples']} samples of {workload.samples} an epoch")


def measure(workload, files, rounds):
    """Results by contender; the first, unmeasured round fills the page cache and finds out who is absent."""
    results, absent = {}, {}
    for contender in workload.contenders:
        result, problem = run(contender)
        if problem and contender.kind != "peer":
            sys.exit(f"{contender.name}: {problem}")
        if problem:
            absent[contender.name] = problem
        else:
            check_samples(workload, contender, result)
            results[contender.name] = []
    epoch_bytes = sum(os.path.getsize(file) for file in files)
    for number in range(rounds):
        for contender in workload.contenders:
            if contender.name in results:
                say(f"{workload.name}: round {number + 1} of {rounds}, {contender.name}")
                result, problem = run(contender)
                if problem:
                    sys.exit(f"{contender.name}: {problem}")
                results[contender.name].append(figures(workload, result, epoch_bytes))
    say("")
    return results, absent


def figures(workload, result, epoch_bytes):
    """Rates and costs of one run. Bytes are those of the shards for all, so that no way of counting payloads matters."""
    size = result["samples"] / workload.samples * epoch_bytes if workload.samples else result["bytes"]
    return {
        **result,
        "samples_per_s": result["samples"] / result["wall_s"],
        "gb_per_s": size / result["wall_s"] / 1e9,
        "cpu_s_per_gb": result["cpu_s"] / size * 1e9,
    }


def median(rounds, key):
    return statistics.median(one[key] for one in rounds)


def ratio(ours, theirs, key):
    """How many times theirs ours is, by the median of the rounds."""
    return statistics.median(one[key] / other[key] for one, other in zip(ours, theirs))


def summarise(workload, results, absent):
    first = {kind: [c.name for c in workload.contenders if c.kind == kind and c.name in results] for kind in ("ours", "ceiling", "peer")}
    reference = results[first["ceiling"][0]]
    rows = []
    for contender in workload.contenders:
        if contender.name not in results:
            continue
        rounds = results[contender.name]
        row = {key: median(rounds, key) for key in ("samples_per_s", "gb_per_s", "cpu_s_per_gb", "peak_rss_mb")}
        share, cpu = ratio(rounds, reference, "gb_per_s"), ratio(reference, rounds, "cpu_s_per_gb")
        rows.append({"name": contender.name, "kind": contender.kind, **row, "share": share, "cpu_share": cpu})
    ours = results[first["ours"][0]]
    goals = []
    for figure, least, among in workload.goals:
        if figure == "peer":
            rivals = [name for name in first["peer"] if not among or name in among.split(",")]
            value = min((ratio(ours, results[name], "samples_per_s") for name in rivals), default=None)
        else:
            value = next(row for row in rows if row["kind"] == "ours")[figure]
        goals.append({"figure": figure, "among": among, "goal": least, "value": value})
    return {"workload": workload.name, "title": workload.title, "rows": rows, "goals": goals, "absent": absent, "rounds": results}


def show(summary):
    print(f"\n{summary['title']}")
    print(f"  {'':34}{'samples/s':>12}{'GB/s':>8}{'CPU s/GB':>10}{'peak MB':>9}{'share':>8}{'CPU':>7}")
    for row in summary["rows"]:
        print(
            f"  {row['name']:34}{row['samples_per_s']:12,.0f}{row['gb_per_s']:8.2f}{row['cpu_s_per_gb']:10.3f}"
            f"{row['peak_rss_mb']:9.0f}{row['share']:8.2f}{row['cpu_share']:7.2f}"
        )
    for name, reason in summary["absent"].items():
        print(f"  {name:34}absent: {reason}")
    for goal in summary["goals"]:
        value = goal["value"]
        met = "-" if value is None else "met" if value >= goal["goal"] else "MISSED"
        text = "not measured" if value is None else f"{value:.2f}"
        print(f"  goal: {goal['figure']} {goal['among']} at least {goal['goal']}: {text} ({met})")


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(), "load": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default=",".join(workloads.ALL), help="comma-separated; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "data/benchmark")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "data/benchmark/results.json")
    parser.add_argument("--list", action="store_true", help="say which workloads there are")
    options = parser.parse_args()
    if options.list:
        return print("\n".join(workloads.ALL))
    build()
    report = {"machine": machine(), "workloads": []}
    print("{cores} cores of {cpu}, Linux {kernel}, load {load:.1f} at the start".format(**report["machine"]))
    for name in options.workloads.split(","):
        data_set, describe = workloads.ALL[name]
        files = data.files(options.data, data_set)
        workload = describe(files)
        results, absent = measure(workload, files, options.rounds)
        report["workloads"].append(summarise(workload, results, absent))
        show(report["workloads"][-1])
        options.json.write_text(json.dumps(report, indent=1))
    print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    main()
