"""What is measured: each workload has contenders and goals, and asks for its data by name (data.py makes it).

A contender is a command that prints one JSON line. The first of kind `ours` is held against the first `ceiling` and
against the peers; further ones are shown beside it. How many epochs a run has, run.py finds out.
"""

import dataclasses
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

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
    words: Callable  # The command, given how many epochs it is to go through.
    samples: int | None = None  # That it must deliver in an epoch, where that differs from the workload's.
    counts: bool = True  # One that finds no samples must go through as many bytes as an epoch has.
    epochs: int = 0  # 0: as many as make a run long enough.


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
    same_epochs: bool = False  # All go through as many as the fastest needs.


def size_of(files):
    return sum(os.path.getsize(file) for file in files)


def ours(files, *options, name="headrace, 2 workers", prefix=(), epochs=0):
    def words(count):
        return [*prefix, BENCH, "read", "--epochs", count, *options, *files]

    return Contender(name, "ours", words, epochs=epochs)


def one_worker(files, *options):
    return ours(files, *options, "--workers", "1", name="headrace, 1 worker")


def ceiling(program, files, *options, name=None, counts=True):
    how = "1 thread" if "--threads" in options else "2 threads"

    def words(count):
        return [HERE / "Ceilings/bin" / program, "--epochs", count, *options, *files]

    return Contender(name or f"C: {program}, {how}", "ceiling", words, counts=counts)


def command(name, kind, size, text, *folder, prefix=()):
    """A command of the shell; `size`: the bytes it goes through."""

    def words(count):
        return [*prefix, sys.executable, HERE / "timed.py", name, size, count, text, *folder]

    return Contender(name, kind, words, counts=False)


def peers(scripts, files, *options, samples=None, counts=True, kind="read"):
    for script in scripts.split():

        def words(count, path=HERE / "peers" / f"{kind}_{script}.py"):
            return [PYTHON, path, "--epochs", count, *options, *files]

        yield Contender(script, "peer", words, samples, counts)


def tar(data):
    files = data("jpeg-tar")
    return Workload(
        "raw tar, samples of 100 KB",
        10_000,
        size_of(files),
        [
            ours(files),
            ceiling("tar", files),
            ceiling("tar", files, "--chunk", 8 << 20, name="C: tar, 8 MiB a thread"),
            one_worker(files),
            ceiling("tar", files, "--threads", "1"),
            *peers("webdataset spdl mlx_data dali", files),
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
            ours(files, "--examples"),
            ceiling("tfrecord", files, "--examples", "1"),
            one_worker(files, "--examples"),
            ceiling("tfrecord", files, "--examples", "1", "--threads", "1"),
            *peers("tf_data dali", files),
        ],
        [Goal("share", 0.8), Goal("peer", 3, "tf_data dali")],
    )


def tiny_tar(data):
    files = data("tiny-tar")
    return Workload(
        "tiny samples of 100 to 200 B, ustar, batches of 1024 (peers: an eighth of the data, in two shards)",
        2_000_000,
        size_of(files),
        [
            ours(files, "--batch", "1024"),
            ceiling("tar", files),
            one_worker(files, "--batch", "1024"),
            *peers("spdl dali webdataset", files[:2], "--batch", "1024", "--endings", "jpg", samples=250_000),
        ],
        [Goal("samples_per_s", 5e6)],
    )


def tiny_tfrecord(data):
    files = data("tiny-tfrecord")
    return Workload(
        "tiny records of 100 to 200 B, both CRCs, batches of 1024 (peers: an eighth of the data, in two shards)",
        4_000_000,
        size_of(files),
        [
            ours(files, "--batch", "1024"),
            ceiling("tfrecord", files),
            one_worker(files, "--batch", "1024"),
            *peers("tf_data", files[:2], "--batch", "1024", "--raw", samples=500_000),
        ],
        [Goal("samples_per_s", 20e6)],
    )


def zst_plain(data):
    files, size = data("tokens-zst"), size_of(data("tokens-tar"))
    test = command("zstd -t, one core", "ceiling", size, "zstd -tq " + " ".join(files), prefix=ONE_CORE)
    one = ours(files, "--workers", "1", name="headrace, one core", prefix=ONE_CORE)
    contenders = [one, test, *peers("webdataset", files)]
    return Workload(".tar.zst of tokens, plain, on one core", 64_000, size, contenders, [Goal("cpu_share", 0.95)])


def zst_seekable(data):
    files, size = data("tokens-zst-seekable"), size_of(data("tokens-tar"))
    test = command("zstd -t, one core", "ceiling", size, "zstd -tq " + " ".join(files), prefix=ONE_CORE)
    contenders = [ours(files), test, one_worker(files)]
    return Workload(".tar.zst of tokens, one seekable file", 64_000, size, contenders, [Goal("share", 1.8)])


def lz4(data, files, title):
    contenders = [
        ours(files),
        ceiling("lz4", files, counts=False),
        one_worker(files),
        *peers("webdataset", files),
    ]
    return Workload(title, 64_000, size_of(data("tokens-tar")), contenders, [Goal("share", 0.8)])


def lz4_plain(data):
    return lz4(data, data("tokens-lz4"), ".tar.lz4 of tokens, as the lz4 tool writes it")


def lz4_packed(data):
    return lz4(data, data("tokens-lz4-packed"), ".tar.lz4 of tokens, as headrace pack writes it")


def images(data, title, flags, ceiling_options, peer_options, goals):
    """RandomResizedCrop to 224 and flip, 1000 shuffled, batches of 64."""
    files, records = indexed(data("photos-tar")), data("photos-tfrecord")
    ours_options = ["--shuffle", "1000", "--field", "cls=int", "--image", "jpg", *flags]
    # The peer with the least memory shuffles places in the shards, not samples: so does the walk by the index.
    global_options = ["--shuffle", "global", *ours_options[2:]]
    contenders = [
        ours(files, *ours_options),
        ceiling("image", files, *ceiling_options),
        one_worker(files, *ours_options),
        ours(files, *global_options, name="headrace, by the index"),
        *peers("tf_data", records, *peer_options, kind="images"),
        *peers("dali mlx_data spdl", files, *peer_options, kind="images"),
    ]
    return Workload(title, 4000, size_of(files), contenders, goals)


IMAGE_PEERS = "tf_data dali mlx_data spdl"


def images_f32(data):
    flags = ["--transform", "random-resized-crop:224,flip,normalize:imagenet"]
    goals = [Goal("share", 0.95), Goal("peer", 1.8, IMAGE_PEERS)]
    return images(data, "JPEG to f32 CHW, RandomResizedCrop 224, flip, normalised", flags, [], [], goals)


def images_u8(data):
    flags = ["--transform", "random-resized-crop:224,flip", "--dtype", "uint8", "--layout", "hwc"]
    goals = [Goal("share", 0.95), Goal("peer", 1.25, IMAGE_PEERS)]
    return images(
        data, "JPEG to u8 HWC, RandomResizedCrop 224, flip", flags, ["--examples", "1"], ["--uint8"], goals
    )


def images_crop_ready(data):
    """As images_f32, of shards whose JPEGs `headrace pack` has written anew; the ceiling has the plain ones."""
    files, plain = data("photos-crop-ready"), data("photos-tar")
    options = ["--shuffle", "1000", "--field", "cls=int", "--image", "jpg"]
    options += ["--transform", "random-resized-crop:224,flip,normalize:imagenet"]
    contenders = [
        ours(files, *options),
        ceiling("image", plain, name="C: image, 2 threads, plain JPEGs"),
        ours(plain, *options, name="headrace, 2 workers, plain JPEGs"),
        one_worker(files, *options),
    ]
    title = "crop-ready JPEGs to f32 CHW, RandomResizedCrop 224, flip, normalised"
    return Workload(title, 4000, size_of(plain), contenders, [Goal("share", 1.25)])


def direct(data):
    files = data("jpeg-tar")
    return Workload(
        "uncached, O_DIRECT, sequential",
        10_000,
        size_of(files),
        [
            ours(files, "--direct"),
            ceiling("direct", files, name="C: direct, one ring", counts=False),
            *peers("fio", files, counts=False),
        ],
        [Goal("share", 0.95), Goal("cpu_s_per_gb", 0.03, at_most=True)],
        same_epochs=True,
    )


def indexed(files):
    """The same files, with an index beside each."""
    subprocess.run([TOOL, "index", "--quiet", *files], check=True, stdout=subprocess.DEVNULL)
    return files


def at_random(name, title, samples, batch, goal, of_peer):
    """Every sample once, in an order that is random over all of the set, the page cache warm."""

    def describe(data):
        files = indexed(data(name))
        random = ["--shuffle", "global", "--batch", batch]
        contenders = [
            ours(files, *random),
            ceiling("random", files, "--threads", "1", counts=True),
            ceiling("random", files, "--threads", "2", name="C: random, 2 threads"),
            one_worker(files, *random),
            *peers("array_record", of_peer(files), "--batch", batch, samples=samples * len(of_peer(files)) // len(files)),
        ]
        return Workload(f"global shuffle, {title}", samples, size_of(files), contenders, [Goal("samples_per_s", goal)])

    return describe


def random_direct(data):
    files = indexed(data("jpeg-tar"))
    reads = ["--random", 104 << 10]
    return Workload(
        "global shuffle of samples of 100 KB, uncached, O_DIRECT, 32 reads at once (fio: 104 KiB each)",
        10_000,
        size_of(files),
        [
            ours(files, "--shuffle", "global", "--direct"),
            Contender(
                "fio, random reads",
                "ceiling",
                lambda count: [PYTHON, HERE / "peers/read_fio.py", "--epochs", count, *reads, *files],
                counts=False,
            ),
        ],
        [Goal("share", 0.9)],
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


def cached(data):
    """Shards that are all in a cache, beside the same shards as local files."""
    files = data("jpeg-tar")
    cache = SCRATCH / "cache"
    fill = [TOOL, "cache", "fill", *files, "--cache", cache, "--cache-limit", "100G", "--quiet"]
    subprocess.run(fill, check=True, stdout=subprocess.DEVNULL)
    local = dataclasses.replace(ours(files, name="headrace, local files"), kind="ceiling")
    near = ours(files, "--cache", cache, name="headrace, from the cache")
    at_random = ours(files, "--cache", cache, "--shuffle", "global", name="headrace, from the cache, global")
    local_at_random = dataclasses.replace(
        ours(files, "--shuffle", "global", name="headrace, local files, global"), kind="ceiling"
    )
    return Workload(
        "tar, samples of 100 KB, second epoch from the cache",
        10_000,
        size_of(files),
        [near, local, at_random, local_at_random],
        [Goal("share", 0.95)],
    )


def memory(name, title, samples, *options):
    """Ten epochs of the set `name` with a budget that is nearly used up, which the last goal proves."""

    def describe(data):
        goals = [
            Goal("over_pool_mb", 64, at_most=True),
            Goal("over_budget_mb", 64, at_most=True),
            Goal("growth_mb", 8, at_most=True),
            Goal("pool_share", 0.7),
        ]
        files = data(name)
        contender = ours(files, *options, epochs=10)
        return Workload(f"memory, ten epochs: {title}", samples, size_of(files), [contender], goals)

    return describe


# Of the shards that a room is given: how many, and the samples of each; None where it finds none.
ROOM_SHARDS = {
    "jpeg-tar": (4, 1250),
    "jpeg-tfrecord": (4, 1250),
    "tiny-tar": (8, 125_000),
    "tiny-tfrecord": (8, 250_000),
}


def room(name, set_name, data):
    count, samples = ROOM_SHARDS.get(set_name, (4, None))
    files = data(set_name)[:count]
    counts = samples is not None and name != "crc32c"

    def words(epochs):
        return [BENCH, "room", name, "--epochs", epochs, *files]

    return Contender(f"{name}: {set_name}", "ours", words, count * samples if counts else None, counts)


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
    contenders = [room(name, set_name, data) for name, names in sets.items() for set_name in names.split()]
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
    "images-f32": images_f32,
    "images-u8": images_u8,
    "images-crop-ready": images_crop_ready,
    "direct": direct,
    "random-100k": at_random("jpeg-tar", "samples of 100 KB", 10_000, 64, 60e3, lambda files: files),
    "random-8k": at_random("tokens-tar", "samples of 8 KB", 64_000, 256, 400e3, lambda files: files),
    "random-tiny": at_random("tiny-tfrecord", "records of 100 to 200 B", 4_000_000, 1024, 1e6, lambda files: files[:2]),
    "random-direct": random_direct,
    "cache": cached,
    "pack": pack,
    "memory-tar": memory(
        "jpeg-tar", "tar, 100 KB, 200 shuffled, 64 MiB", 10_000, *"--memory 64MiB --shuffle 200 --batch 16".split()
    ),
    "memory-slow": memory(
        "jpeg-tar",
        "tar, 100 KB, 256 shuffled, 96 MiB, a consumer that keeps each batch 2 ms",
        10_000,
        *"--memory 96MiB --shuffle 256 --step-ms 2".split(),
    ),
    "memory-tfrecord": memory(
        "jpeg-tfrecord",
        "tf.Examples, 100 KB, 256 shuffled, 96 MiB",
        10_000,
        *"--memory 96MiB --shuffle 256 --examples".split(),
    ),
    "memory-zst": memory(
        "tokens-zst-seekable", "tar.zst, 8 KB, 2048 shuffled, 64 MiB", 64_000, *"--memory 64MiB --shuffle 2048".split()
    ),
    "rooms": rooms,
}
