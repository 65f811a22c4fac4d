"""fio beside the uncached ceiling: sequential O_DIRECT reads of 1 MiB, 32 at once, through io_uring."""

import json
import subprocess
import sys

files = sys.argv[1:]
options = "--ioengine=io_uring --direct=1 --bs=1M --iodepth=32 --rw=read --readonly --file_service_type=sequential"
command = ["fio", "--name=read", "--filename=" + ":".join(files), *options.split(), "--output-format=json"]
done = subprocess.run(command, capture_output=True, text=True)
if done.returncode != 0:
    sys.exit(done.stderr.strip() or "fio failed")
job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
wall = job["read"]["runtime"] / 1000
cpu = wall * (job["usr_cpu"] + job["sys_cpu"]) / 100
result = {"workload": "fio", "samples": 0, "bytes": job["read"]["io_bytes"], "wall_s": wall, "cpu_s": cpu}
print(json.dumps({**result, "peak_rss_mb": 0.0}))
