"""Runs a shell command, time and again, and prints what it cost in the same form as all others.

    timed.py NAME BYTES TIMES COMMAND [FOLDER]      BYTES: what the command goes through; FOLDER: where its output lies
"""

import json
import os
import resource
import subprocess
import sys
import time


def run(command):
    words = ["bash", "-c", "set -euo pipefail; " + command]
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr or f"{command} ended with {done.returncode}")


def bytes_below(folder):
    """Of all files, those of hidden folders (a manifest, an index) too."""
    paths = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return sum(os.path.getsize(path) for path in paths)


name, size, times, command = sys.argv[1:5]
began = time.monotonic()
for _ in range(int(times)):
    run(command)
wall = time.monotonic() - began
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
result = {"workload": name, "samples": 0, "bytes": int(size) * int(times), "wall_s": wall}
result.update(cpu_s=usage.ru_utime + usage.ru_stime, peak_rss_mb=usage.ru_maxrss * 1024 / 1e6)
if len(sys.argv) > 5:
    result["output_bytes"] = bytes_below(sys.argv[5])
print(json.dumps(result))
