#!/usr/bin/env python3
"""Reads one tar data set with Headrace, with webdataset and with dd, in turn, and prints medians and ratios.

    swift build -c release
    python3 Benchmarks/read_tar.py [--folder DIR] [--rounds 5]

The data set: 10 shards of 1,000 samples, each a `jpg` of 60,000 to 130,000 random bytes and a `cls`. All readers touch
the same files with a warm page cache; every reader takes every batch and does nothing with it. Not identical work:
dd only copies the bytes, webdataset copies every payload into a bytes object, Headrace delivers views.
"""

import argparse
import io
import json
import os
import pathlib
import random
import resource
import statistics
import subprocess
import sys
import tarfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SAMPLES, SHARDS = 1000, 10


def make(folder):
    """Writes the shards once; they are kept for the next run."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(1)
    noise = generator.randbytes(4 << 20)
    for shard in range(SHARDS):
        path = folder / f"s-{shard:03d}.tar"
        if path.exists():
            continue
        with tarfile.open(f"{path}.part", "w", format=tarfile.USTAR_FORMAT) as tar:
            for index in range(SAMPLES):
                for name, size in (("jpg", generator.randint(60_000, 130_000)), ("cls", 3)):
                    member = tarfile.TarInfo(f"{shard:03d}{index:06d}.{name}")
                    member.size = size
                    start = generator.randint(0, 3 << 20)
                    tar.addfile(member, io.BytesIO(noise[start : start + size]))
        os.rename(f"{path}.part", path)
    return sorted(str(path) for path in folder.glob("s-*.tar"))


def timed(command):
    """Wall and CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, done.stdout.decode()


def headrace(files, workers):
    command = [str(ROOT / ".build/release/pipebench"), "read", *files, "--json", "--quiet", "--workers", str(workers)]
    _, _, output = timed(command + ["--epochs", "4"])
    total = json.loads(output.splitlines()[-1])
    read = sum(total["origin_bytes"].values())
    return total["samples"] / total["wall_s"], total["cpu_s"] / (read / 1e9)


def dd(files):
    script = 'for file in "$@"; do dd if="$file" of=/dev/null bs=1M status=none; done'
    wall, cpu, _ = timed(["bash", "-c", script, "dd", *files])
    size = sum(os.path.getsize(file) for file in files)
    return SAMPLES * SHARDS / wall, cpu / (size / 1e9)


def webdataset(files):
    script = (
        "import sys, time, webdataset\n"
        "began, count = time.monotonic(), 0\n"
        "for sample in webdataset.WebDataset(sys.argv[1:], shardshuffle=False): count += 1\n"
        "print(count / (time.monotonic() - began))"
    )
    wall, cpu, output = timed([sys.executable, "-c", script, *files])
    size = sum(os.path.getsize(file) for file in files)
    return float(output), cpu / (size / 1e9)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=pathlib.Path, default=ROOT / "data/benchmark/tar")
    options.add_argument("--rounds", type=int, default=5)
    arguments = options.parse_args()
    files = make(arguments.folder)
    readers = {
        "dd, one process": lambda: dd(files),
        "headrace, 1 worker": lambda: headrace(files, 1),
        "headrace, 2 workers": lambda: headrace(files, 2),
    }
    try:
        import webdataset as module  # noqa: F401

        readers["webdataset, one process"] = lambda: webdataset(files)
    except ImportError:
        print("webdataset is not installed: left out", file=sys.stderr)
    dd(files)
    rates = {name: [] for name in readers}
    costs = {name: [] for name in readers}
    for _ in range(arguments.rounds):
        for name, read in readers.items():
            rate, cost = read()
            rates[name].append(rate)
            costs[name].append(cost)
    base = statistics.median(rates["dd, one process"])
    print(f"{'reader':26}{'samples/s':>12}{'of dd':>8}{'CPU s/GB':>10}   (medians of {arguments.rounds} rounds, in turn)")
    for name in readers:
        rate = statistics.median(rates[name])
        print(f"{name:26}{rate:12,.0f}{rate / base:8.2f}{statistics.median(costs[name]):10.2f}")


if __name__ == "__main__":
    main()
