#!/usr/bin/env python3
"""Measures Headrace beside its ceilings and its peers, in turn, and prints every figure as a share of its ceiling.

    make bench                                           all of it
    python3 Benchmarks/run.py --workloads tar,direct     some of it
    python3 Benchmarks/run.py --list                     what there is
    python3 Benchmarks/run.py --table                    the last results, as Markdown

The share of a ceiling is the median of the rounds' ratios, each round measuring all contenders one after the other;
`CPU` is the same ratio of CPU seconds, which a machine that has other work to do disturbs less. Unmeasured runs come
first: they fill the page cache and find out how many epochs make a run long enough.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import data
import report
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


def run(contender, epochs):
    """One run: what its JSON line says, or why there is none."""
    try:
        words = [str(word) for word in contender.words(epochs)]
        done = subprocess.run(words, capture_output=True, text=True)
    except OSError as problem:
        return None, str(problem)
    if done.returncode != 0:
        return None, (done.stderr.strip() or f"ended with {done.returncode}").splitlines()[-1]
    return json.loads(done.stdout.splitlines()[-1]), None


def check(workload, contender, epochs, result):
    """All read the same: who delivers another number of samples than there are is no contender, nor one that finds no
    samples and goes through other bytes; a hundredth may be left, since fio reads whole MiB only."""
    if contender.counts:
        expected = (workload.samples if contender.samples is None else contender.samples) * epochs
        if result["samples"] != expected:
            found = f"{result['samples']} samples"
            sys.exit(f"{contender.name} delivered {found}, where {epochs} epochs have {expected}")
    else:
        expected = workload.size * epochs or result["bytes"]
        if not result["bytes"] or abs(result["bytes"] / expected - 1) > 0.01:
            sys.exit(f"{contender.name} read {result['bytes']} bytes, where {epochs} epochs have {expected}")


def longer(epochs, result, seconds):
    """As many epochs as make a run like that long enough."""
    if result["wall_s"] >= seconds:
        return epochs
    return max(epochs + 1, math.ceil(1.2 * epochs * seconds / result["wall_s"]))


def calibrate(workload, contender, seconds):
    """How many epochs make a run long enough, by running them; or why the contender is absent."""
    epochs = 0
    wanted = contender.epochs or 1
    while wanted > epochs:
        epochs = wanted
        result, problem = run(contender, epochs)
        if problem:
            return 0, problem
        check(workload, contender, epochs, result)
        wanted = epochs if contender.epochs else longer(epochs, result, seconds)
    return epochs, None


def prepare(name, workload, seconds):
    """Epochs by contender, and who is absent and why. The first one's first run fills the page cache."""
    epochs, absent = {}, {}
    run(workload.contenders[0], 1)
    for contender in workload.contenders:
        say(f"{name}: how many epochs, {contender.name}")
        count, problem = calibrate(workload, contender, seconds)
        if problem and contender.kind != "peer":
            sys.exit(f"{contender.name}: {problem}")
        if problem:
            absent[contender.name] = problem
        else:
            epochs[contender.name] = count
    return epochs, absent


def measure(name, workload, rounds, seconds):
    """Results by contender, and the reasons of those who are absent."""
    epochs, absent = prepare(name, workload, seconds)
    results = {there: [] for there in epochs}
    there = [contender for contender in workload.contenders if contender.name in epochs]
    for number in range(1, rounds + 1):
        if workload.same_epochs:
            epochs = dict.fromkeys(epochs, max(epochs.values()))
        for contender in there:
            say(f"{name}: round {number} of {rounds}, {contender.name}")
            count = epochs[contender.name]
            result, problem = run(contender, count)
            if problem:
                sys.exit(f"{contender.name}: {problem}")
            check(workload, contender, count, result)
            results[contender.name].append({"epochs": count, **figures(workload, contender, result)})
            if not contender.epochs:
                epochs[contender.name] = longer(count, result, seconds)
    say("")
    return results, absent


def figures(workload, contender, result):
    """Rates and costs of one run. Bytes are those of the shards for all, however each counts its payloads."""
    by_samples = workload.samples and contender.counts
    size = result["samples"] / workload.samples * workload.size if by_samples else result["bytes"]
    more = {"samples_per_s": result["samples"] / result["wall_s"], "gb_per_s": size / result["wall_s"] / 1e9}
    more["cpu_s_per_gb"] = result["cpu_s"] / size * 1e9
    if "pool_mb" in result:
        more["over_pool_mb"] = result["peak_rss_mb"] - result["pool_mb"]
        more["over_budget_mb"] = result["peak_rss_mb"] - result["budget_mb"]
        more["pool_share"] = result["pool_mb"] / result["budget_mb"]
    if peaks := result.get("rss_mb_by_epoch"):
        # A peak creeps up as chance has it; what leaks goes on growing in the second half as well.
        more["growth_mb"] = peaks[-1] - peaks[len(peaks) // 2]
    return {**result, **more}


def median(rounds, key):
    return statistics.median(one[key] for one in rounds)


def ratio(these, those, key):
    """How many times those these are: the median of the rounds, since neighbours in time had the same machine."""
    return statistics.median(one[key] / other[key] for one, other in zip(these, those))


def row(contender, rounds, ceilings):
    """A contender's medians, the extremes of its rate and, where there are ceilings, its shares of them; `share` is that
    of the first."""
    found = {key: median(rounds, key) for key in rounds[0] if isinstance(rounds[0][key], (int, float))}
    for key in ("samples_per_s", "gb_per_s"):
        found[key + "_range"] = [min(one[key] for one in rounds), max(one[key] for one in rounds)]
    found["shares"] = {name: ratio(rounds, those, "gb_per_s") for name, those in ceilings.items()}
    for reference in list(ceilings.values())[:1]:
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
        single = next((name for name in names if name.endswith((" 1 worker", " 1 thread"))), None)
        if single and single != names[0]:
            pairs[kind] = ratio(results[names[0]], results[single], "gb_per_s")
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
    ceilings = {contender.name: results[contender.name] for contender in there if contender.kind == "ceiling"}
    rows = [row(contender, results[contender.name], ceilings) for contender in there]
    ours = next(row for row in rows if row["kind"] == "ours")
    goals = [judge(goal, ours, results) for goal in workload.goals]
    summary = {"workload": name, "title": workload.title, "when": time.strftime("%Y-%m-%d %H:%M"), "rows": rows}
    return {**summary, "goals": goals, "absent": absent, "scaling": scaling(there, results), "rounds": results}


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    cores = len(os.sched_getaffinity(0))
    return {"cpu": model, "cores": cores, "kernel": platform.release(), "load": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default=",".join(workloads.ALL), help="comma-separated; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="a run goes on for as many epochs as take that long")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "data/benchmark")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "data/benchmark/results.json")
    parser.add_argument("--merge", action="store_true", help="keep the JSON file's other workloads")
    parser.add_argument("--table", action="store_true", help="print the JSON file as Markdown and measure nothing")
    parser.add_argument("--list", action="store_true", help="say which workloads there are")
    options = parser.parse_args()
    if options.list:
        return print("\n".join(workloads.ALL))
    if options.table:
        return print(report.markdown(json.loads(options.json.read_text())))
    names = options.workloads.split(",")
    if unknown := set(names) - set(workloads.ALL):
        sys.exit(f"no such workload: {', '.join(unknown)}; there are {', '.join(workloads.ALL)}")
    build()
    found = {}
    if options.merge and options.json.exists():
        found = {summary["workload"]: summary for summary in json.loads(options.json.read_text())["workloads"]}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    head = {"machine": machine(), "rounds": options.rounds, "seconds": options.seconds}
    print("{cores} cores of {cpu}, Linux {kernel}, load {load:.1f} at the start".format(**head["machine"]))
    sets = data.Data(options.data)
    for name in names:
        workload = workloads.ALL[name](sets)
        results, absent = measure(name, workload, options.rounds, options.seconds)
        found[name] = summarise(name, workload, results, absent)
        print(report.text(found[name]))
        there = [found[name] for name in workloads.ALL if name in found]
        options.json.write_text(json.dumps({**head, "workloads": there}, indent=1))
    print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, subprocess.CalledProcessError) as problem:
        sys.exit(str(problem))
