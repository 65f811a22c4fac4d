"""fio beside the uncached ceiling: sequential O_DIRECT reads of 1 MiB, 32 at once, through io_uring.

    read_fio.py --epochs N FILE...                   It leaves out the last part of a MiB of each file.
    read_fio.py --epochs N --random BYTES FILE...    Reads of that size at random places, each place once an epoch.
"""

import argparse
import json
import subprocess
import sys

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--random", type=int)
parser.add_argument("files", nargs="+")
arguments = parser.parse_args()
if arguments.random:
    pattern = f"--bs={arguments.random} --rw=randread --file_service_type=random"
else:
    pattern = "--bs=1M --rw=read --file_service_type=sequential"
options = f"--ioengine=io_uring --direct=1 --iodepth=32 --readonly {pattern}"
command = ["fio", "--name=read", "--filename=" + ":".join(arguments.files), f"--loops={arguments.epochs}"]
done = subprocess.run([*command, *options.split(), "--output-format=json"], capture_output=True, text=True)
if done.returncode != 0:
    sys.exit(done.stderr.strip() or "fio failed")
job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
wall = job["read"]["runtime"] / 1000
cpu = wall * (job["usr_cpu"] + job["sys_cpu"]) / 100
reads = job["read"]["total_ios"] if arguments.random else 0
result = {"workload": "fio", "samples": reads, "bytes": job["read"]["io_bytes"], "wall_s": wall, "cpu_s": cpu}
print(json.dumps({**result, "peak_rss_mb": 0.0}))
