"""Runs a shell command and prints what it cost in the same form as all others.

    timed.py NAME BYTES COMMAND [FOLDER]      BYTES: what the command goes through; FOLDER: where its output lies
"""

import json
import os
import resource
import subprocess
import sys
import time

name, size, command = sys.argv[1:4]
began = time.monotonic()
words = ["bash", "-c", "set -euo pipefail; " + command]
done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
wall = time.monotonic() - began
if done.returncode != 0:
    sys.exit(done.stderr or f"{name} ended with {done.returncode}")
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
result = {"workload": name, "samples": 0, "bytes": int(size), "wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime}
result["peak_rss_mb"] = usage.ru_maxrss / 1024
if len(sys.argv) > 4:
    files = [entry for entry in os.scandir(sys.argv[4]) if entry.is_file()]
    result["output_bytes"] = sum(entry.stat().st_size for entry in files)
print(json.dumps(result))
