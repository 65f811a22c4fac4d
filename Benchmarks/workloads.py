"""What is measured: each workload has contenders and goals, and asks for its data by name (data.py makes it).

A contender is a command that prints one JSON line. The first of kind `ours` is held against the first `ceiling` and
against the peers; further ones are shown beside it.
"""

import dataclasses
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BENCH = HERE / ".build/release/headrace-bench"
TOOL = HERE / ".build/release/headrace"
PYTHON = HERE / ".venv/bin/python"
ONE_CORE = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
SCRATCH = ROOT / "data/benchmark-output"


@dataclasses.dataclass
class Contender:
    name: str
    kind: str  # ours, ceiling or peer
    command: list
    samples: int = 0  # That it must deliver in an epoch, where that differs from the workload's.


@dataclasses.dataclass
class Goal:
    figure: str  # Of a row of run.py's table; `peer`: times the best of `among` by samples/s.
    value: float
    among: str = ""
    at_most: bool = False


@dataclasses.dataclass
class Workload:
    title: str
    samples: int  # Of one epoch.
    size: int  # Bytes of one epoch's shards, uncompressed.
    contenders: list
    goals: list


def size_of(files):
    return sum(os.path.getsize(file) for file in files)


def ours(files, *options, name="headrace, 2 workers", prefix=()):
    return Contender(name, "ours", [*prefix, BENCH, "read", *options, *files])


def ceiling(program, files, *options):
    how = "one ring" if program == "direct" else "1 thread" if "--threads" in options else "2 threads"
    return Contender(f"C: {program}, {how}", "ceiling", [HERE / "Ceilings/bin" / program, *options, *files])


def command(name, kind, size, text, *folder, prefix=()):
    """A command of the shell; `size`: the bytes it goes through."""
    return Contender(name, kind, [*prefix, sys.executable, HERE / "timed.py", name, size, text, *folder])


def peers(scripts, files, *options, samples=0):
    for script in scripts.split():
        words = [PYTHON, HERE / "peers" / f"read_{script}.py", *options, *files]
        yield Contender(script, "peer", words, samples)


def tar(data):
    files = data("jpeg-tar")
    return Workload(
        "raw tar, samples of 100 KB",
        10_000,
        size_of(files),
        [
            ours(files, "--epochs", "4"),
            ceiling("tar", files, "--epochs", "4"),
            ours(files, "--epochs", "4", "--workers", "1", name="headrace, 1 worker"),
            ceiling("tar", files, "--epochs", "4", "--threads", "1"),
            *peers("webdataset", files),
            *peers("spdl mlx_data dali", files, "--epochs", "2"),
        ],
        [Goal("share", 0.8), Goal("peer", 10, "webdataset"), Goal("peer", 3, "spdl mlx_data dali")],
    )


def tfrecord(data):
    files = data("jpeg-tfrecord")
    return Workload(
        "TFRecord, records of 100 KB, both CRCs and tf.Example parsed",
        10_000,
        size_of(files),
        [
            ours(files, "--examples", "--epochs", "4"),
            ceiling("tfrecord", files, "--examples", "1", "--epochs", "4"),
            ours(files, "--examples", "--epochs", "4", "--workers", "1", name="headrace, 1 worker"),
            ceiling("tfrecord", files, "--examples", "1", "--epochs", "4", "--threads", "1"),
            *peers("tf_data dali", files, "--epochs", "2"),
        ],
        [Goal("share", 0.8), Goal("peer", 3, "tf_data dali")],
    )


def tiny_tar(data):
    files = data("tiny-tar")
    return Workload(
        "tiny samples of 100 to 200 B, ustar, batches of 1024 (peers: an eighth of the data)",
        2_000_000,
        size_of(files),
        [
            ours(files, "--batch", "1024", "--epochs", "2"),
            ceiling("tar", files, "--epochs", "2"),
            ours(files, "--batch", "1024", "--epochs", "2", "--workers", "1", name="headrace, 1 worker"),
            *peers("spdl dali webdataset", files[:1], "--batch", "1024", "--endings", "jpg", samples=250_000),
        ],
        [Goal("samples_per_s", 5e6)],
    )


def tiny_tfrecord(data):
    files = data("tiny-tfrecord")
    return Workload(
        "tiny records of 100 to 200 B, both CRCs, batches of 1024 (peers: an eighth of the data)",
        4_000_000,
        size_of(files),
        [
            ours(files, "--batch", "1024", "--epochs", "4"),
            ceiling("tfrecord", files, "--epochs", "4"),
            ours(files, "--batch", "1024", "--epochs", "4", "--workers", "1", name="headrace, 1 worker"),
            *peers("tf_data", files[:1], "--batch", "1024", "--raw", samples=500_000),
        ],
        [Goal("samples_per_s", 20e6)],
    )


def zst_plain(data):
    files, size = data("tokens-zst"), size_of(data("tokens-tar"))
    test = command("zstd -t, one core", "ceiling", 3 * size, "zstd -tq " + " ".join(3 * files), prefix=ONE_CORE)
    one = ours(files, "--workers", "1", "--epochs", "3", name="headrace, one core", prefix=ONE_CORE)
    contenders = [one, test, *peers("webdataset", files)]
    return Workload(".tar.zst of tokens, plain, on one core", 64_000, size, contenders, [Goal("cpu_share", 0.95)])


def zst_seekable(data):
    files, size = data("tokens-zst-seekable"), size_of(data("tokens-tar"))
    test = command("zstd -t, one core", "ceiling", size, "zstd -tq " + " ".join(files), prefix=ONE_CORE)
    one = ours(files, "--workers", "1", name="headrace, 1 worker")
    contenders = [ours(files), test, one]
    return Workload(".tar.zst of tokens, one seekable file", 64_000, size, contenders, [Goal("share", 1.8)])


def lz4(data, files, title):
    one = ours(files, "--workers", "1", name="headrace, 1 worker")
    contenders = [ours(files), ceiling("lz4", files), one, *peers("webdataset", files)]
    return Workload(title, 64_000, size_of(data("tokens-tar")), contenders, [Goal("share", 0.8)])


def lz4_plain(data):
    return lz4(data, data("tokens-lz4"), ".tar.lz4 of tokens, as the lz4 tool writes it")


def lz4_packed(data):
    return lz4(data, data("tokens-lz4-packed"), ".tar.lz4 of tokens, as headrace pack writes it")


def direct(data):
    files = data("jpeg-tar")
    return Workload(
        "uncached, O_DIRECT, sequential",
        10_000,
        size_of(files),
        [
            ours(files, "--direct", "--epochs", "8"),
            ceiling("direct", files, "--epochs", "8"),
            *peers("fio", files),
        ],
        [Goal("share", 0.95), Goal("cpu_s_per_gb", 0.03, at_most=True)],
    )


def pack(data):
    folder, size = data.folder("tokens-files"), size_of(data("tokens-files"))
    mine, theirs = SCRATCH / "pack", SCRATCH / "tar"
    for path in (mine, theirs):
        path.mkdir(parents=True, exist_ok=True)
    packing = f"rm -rf {mine}/* {mine}/.headrace; {TOOL} pack {folder} -o {mine}/t-%03d.tar.zst --level 3 --quiet"
    piping = f"rm -f {theirs}/*; tar -C {folder} -cf - . | zstd -q -T0 -3 -o {theirs}/t.tar.zst"
    return Workload(
        "headrace pack, 64 KB files of tokens, zstd level 3",
        0,
        size,
        [
            command("headrace pack", "ours", size, packing, mine),
            command("tar | zstd -T0", "ceiling", size, piping, theirs),
        ],
        [Goal("share", 0.9), Goal("output_share", 1.03, at_most=True)],
    )


def memory(name, samples, *options):
    def describe(data):
        budget = ["--epochs", "10", "--memory", "512MiB", "--shuffle", "1024"]
        goals = [Goal("over_budget_mb", 64, at_most=True), Goal("growth_mb", 8, at_most=True)]
        title = f"memory: {name}, ten shuffled epochs within 512 MiB"
        files = data(name)
        return Workload(title, samples, size_of(files), [ours(files, *budget, *options)], goals)

    return describe


def rooms(data):
    sets = {
        "tar": "jpeg-tar tiny-tar",
        "tfrecord": "jpeg-tfrecord tiny-tfrecord",
        "examples": "jpeg-tfrecord tiny-tfrecord",
        "example-parser": "jpeg-tfrecord tiny-tfrecord",
        "crc32c": "jpeg-tfrecord",
        "zstd": "tokens-zst",
        "zstd-frames": "tokens-zst-seekable",
        "lz4": "tokens-lz4 tokens-lz4-packed",
        "lz4-frames": "tokens-lz4-packed",
    }
    contenders = [
        Contender(f"{room}: {name}", "ours", [BENCH, "room", room, *data(name)[:4]])
        for room, names in sets.items()
        for name in names.split()
    ]
    return Workload("rooms alone, one thread, in memory", 0, 0, contenders, [])


ALL = {
    "tar": tar,
    "tfrecord": tfrecord,
    "tiny-tar": tiny_tar,
    "tiny-tfrecord": tiny_tfrecord,
    "zst-plain": zst_plain,
    "zst-seekable": zst_seekable,
    "lz4-plain": lz4_plain,
    "lz4-packed": lz4_packed,
    "direct": direct,
    "pack": pack,
    "memory-tar": memory("jpeg-tar", 10_000),
    "memory-tfrecord": memory("jpeg-tfrecord", 10_000, "--examples"),
    "memory-zst": memory("tokens-zst-seekable", 64_000),
    "rooms": rooms,
}
