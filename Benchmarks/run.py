#!/usr/bin/env python3
"""Measures Headrace beside its ceilings and its peers, in turn, and prints every figure as a share of its ceiling.

    make bench                                           all of it
    python3 Benchmarks/run.py --workloads tar,direct     some of it
    python3 Benchmarks/run.py --list                     what there is

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
    for product in ("headrace-bench", "headrace"):
        words = ["swift", "build", "--quiet", "-c", "release", "--package-path", HERE, "--product", product]
        subprocess.run(words, check=True)


def say(text):
    """Tells a person who waits what is going on."""
    if sys.stderr.isatty():
        print(f"\r{text:100.100}\r", end="", file=sys.stderr, flush=True)


def run(contender):
    """One run: what its JSON line says, or why there is none."""
    try:
        done = subprocess.run([str(word) for word in contender.command], capture_output=True, text=True)
    except OSError as problem:
        return None, str(problem)
    if done.returncode != 0:
        return None, (done.stderr.strip() or f"ended with {done.returncode}").splitlines()[-1]
    return json.loads(done.stdout.splitlines()[-1]), None


def check(workload, contender, result):
    """All read the same: who delivers another number of samples than there are is no contender."""
    expected = contender.samples or workload.samples
    if expected and result["samples"] and result["samples"] % expected:
        sys.exit(f"{contender.name} delivered {result['samples']} samples, where an epoch has {expected}")


def measure(name, workload, rounds):
    """Results by contender; a first, unmeasured round fills the page cache and finds out who is absent."""
    results, absent = {}, {}
    for number in range(rounds + 1):
        for contender in workload.contenders:
            if contender.name in absent:
                continue
            say(f"{name}: round {number} of {rounds}, {contender.name}")
            result, problem = run(contender)
            if problem and (number or contender.kind != "peer"):
                sys.exit(f"{contender.name}: {problem}")
            if problem:
                absent[contender.name] = problem
                continue
            check(workload, contender, result)
            if number:
                results.setdefault(contender.name, []).append(figures(workload, result))
    say("")
    return results, absent


def figures(workload, result):
    """Rates and costs of one run. Bytes are those of the shards for all, however each counts its payloads."""
    by_samples = workload.samples and result["samples"]
    size = result["samples"] / workload.samples * workload.size if by_samples else result["bytes"]
    more = {"samples_per_s": result["samples"] / result["wall_s"], "gb_per_s": size / result["wall_s"] / 1e9}
    more["cpu_s_per_gb"] = result["cpu_s"] / size * 1e9
    if peaks := result.get("rss_mb_by_epoch"):
        more["over_budget_mb"] = result["peak_rss_mb"] - result["budget_mb"]
        # A peak creeps up as chance has it; what leaks goes on growing in the second half as well.
        more["growth_mb"] = peaks[-1] - peaks[len(peaks) // 2]
    return {**result, **more}


def median(rounds, key):
    return statistics.median(one[key] for one in rounds)


def ratio(these, those, key):
    """How many times those these are: the median of the rounds, since neighbours in time had the same machine."""
    return statistics.median(one[key] / other[key] for one, other in zip(these, those))


def row(contender, rounds, reference):
    """A contender's medians and, where there is a ceiling, its shares of it."""
    found = {key: median(rounds, key) for key in rounds[0] if isinstance(rounds[0][key], (int, float))}
    if reference:
        found["share"] = ratio(rounds, reference, "gb_per_s")
        found["cpu_share"] = ratio(reference, rounds, "cpu_s_per_gb")
        if "output_bytes" in found:
            found["output_share"] = ratio(rounds, reference, "output_bytes")
    return {"name": contender.name, "kind": contender.kind, **found}


def scaling(there, results):
    """By kind, how many times one thread's rate two threads reach."""
    pairs = {}
    for kind in ("ours", "ceiling"):
        names = [contender.name for contender in there if contender.kind == kind]
        if len(names) == 2 and "1 " in names[1]:
            pairs[kind] = ratio(results[names[0]], results[names[1]], "gb_per_s")
    return pairs


def judge(goal, ours, results):
    """What a goal's figure came to, and whether that will do; None where it could not be measured."""
    if goal.figure == "peer":
        rivals = [results[name] for name in goal.among.split() if name in results]
        value = min((ratio(results[ours["name"]], rival, "samples_per_s") for rival in rivals), default=None)
    else:
        value = ours.get(goal.figure)
    met = None if value is None else value <= goal.value if goal.at_most else value >= goal.value
    said = {"figure": goal.figure, "among": goal.among, "goal": goal.value, "at_most": goal.at_most}
    return {**said, "value": value, "met": met}


def summarise(name, workload, results, absent):
    there = [contender for contender in workload.contenders if contender.name in results]
    reference = next((results[contender.name] for contender in there if contender.kind == "ceiling"), None)
    rows = [row(contender, results[contender.name], reference) for contender in there]
    ours = next(row for row in rows if row["kind"] == "ours")
    goals = [judge(goal, ours, results) for goal in workload.goals]
    summary = {"workload": name, "title": workload.title, "rows": rows, "goals": goals, "absent": absent}
    return {**summary, "scaling": scaling(there, results), "rounds": results}


COLUMNS = {
    "samples/s": ("samples_per_s", 13, ",.0f"),
    "GB/s": ("gb_per_s", 8, ".2f"),
    "CPU s/GB": ("cpu_s_per_gb", 10, ".3f"),
    "peak MB": ("peak_rss_mb", 9, ",.0f"),
    "share": ("share", 8, ".2f"),
    "CPU": ("cpu_share", 7, ".2f"),
}


def show(summary):
    print(f"\n{summary['title']}")
    print(" " * 40 + "".join(f"{title:>{width}}" for title, (_, width, _) in COLUMNS.items()))
    for row in summary["rows"]:
        columns = COLUMNS.values()
        cells = (f"{row[key]:>{width}{form}}" if row.get(key) else f"{'-':>{width}}" for key, width, form in columns)
        print(f"  {row['name']:38}" + "".join(cells))
    for name, reason in summary["absent"].items():
        print(f"  {name:38}absent: {reason}")
    for kind, times in summary["scaling"].items():
        print(f"  {kind}: 2 threads are {times:.2f} times as fast as 1")
    for goal in summary["goals"]:
        value = "not measured" if goal["value"] is None else f"{goal['value']:,.4g}"
        bound = "at most" if goal["at_most"] else "at least"
        among = f" of {goal['among'].replace(' ', ', ')}" if goal["among"] else ""
        verdict = {None: "", True: ": met", False: ": MISSED"}[goal["met"]]
        print(f"  goal: {goal['figure']}{among} {bound} {goal['goal']:,.4g}; {value}{verdict}")


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    cores = len(os.sched_getaffinity(0))
    return {"cpu": model, "cores": cores, "kernel": platform.release(), "load": os.getloadavg()[0]}


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
    names = options.workloads.split(",")
    if unknown := set(names) - set(workloads.ALL):
        sys.exit(f"no such workload: {', '.join(unknown)}; there are {', '.join(workloads.ALL)}")
    build()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "workloads": []}
    print("{cores} cores of {cpu}, Linux {kernel}, load {load:.1f} at the start".format(**report["machine"]))
    sets = data.Data(options.data)
    for name in names:
        workload = workloads.ALL[name](sets)
        results, absent = measure(name, workload, options.rounds)
        report["workloads"].append(summarise(name, workload, results, absent))
        show(report["workloads"][-1])
        options.json.write_text(json.dumps(report, indent=1))
    print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, subprocess.CalledProcessError) as problem:
        sys.exit(str(problem))
