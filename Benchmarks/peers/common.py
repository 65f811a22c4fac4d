"""What the peers share: options, clocks and the JSON line.

A peer is a function that takes the files and yields (samples, payload bytes) for every batch or sample of one epoch.
"""

import argparse
import json
import resource
import time


def cpu_seconds():
    """Of this process and of the workers that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(name, read, prepare=None):
    parser = argparse.ArgumentParser(description=name)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--raw", action="store_true", help="do not parse tf.Examples")
    parser.add_argument("--endings", default="jpg,cls", help="members of a sample, for readers that ask")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    samples = size = 0
    keywords = {key: getattr(options, key) for key in read.__code__.co_varnames[1 : read.__code__.co_argcount]}
    if prepare:
        prepare(options.files)
    cpu, began = cpu_seconds(), time.monotonic()
    for _ in range(options.epochs):
        for count, byte_count in read(options.files, **keywords):
            samples += count
            size += byte_count
    wall = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    result = {"workload": name, "samples": samples, "bytes": size, "wall_s": wall, "cpu_s": cpu_seconds() - cpu}
    print(json.dumps({**result, "peak_rss_mb": peak}))
