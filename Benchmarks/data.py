"""The data sets, made once from a seed; what is there is used again."""

import subprocess

from workloads import HERE, TOOL


def run(*words):
    subprocess.run([str(word) for word in words], check=True)


def generate(kind, target, *numbers):
    run(HERE / "Ceilings/bin/generate", kind, target, *numbers)


def compress(sources, folder, ending, *command):
    for source in sources:
        target = folder / (source.rpartition("/")[2] + ending)
        run(*command, source, "-o" if command[0] == "zstd" else target, *([target] if command[0] == "zstd" else []))


# What fills a folder; `data` gives the files of another set.
SETS = {
    "jpeg-tar": lambda data, folder: generate("tar", folder / "jpeg", 8, 1250, 60_000, 140_000),
    "jpeg-tfrecord": lambda data, folder: generate("tfrecord", folder / "jpeg", 8, 1250, 60_000, 140_000),
    "tiny-tar": lambda data, folder: generate("tar", folder / "tiny", 8, 250_000, 100, 200),
    "tiny-tfrecord": lambda data, folder: generate("tfrecord", folder / "tiny", 8, 500_000, 60, 140),
    "tokens-tar": lambda data, folder: generate("tokens-tar", folder / "tokens", 4, 16_000, 8192),
    "tokens-files": lambda data, folder: generate("tokens-files", folder, 1, 8000, 65_536),
    "tokens-zst": lambda data, folder: compress(data("tokens-tar"), folder, ".zst", "zstd", "-3q"),
    "tokens-lz4": lambda data, folder: compress(data("tokens-tar"), folder, ".lz4", "lz4", "-q"),
    "tokens-zst-seekable": lambda data, folder: run(
        TOOL, "pack", *data("tokens-tar"), "-o", folder / "tokens-%03d.tar.zst", "--shard-size", "4GiB", "--quiet"
    ),
    "tokens-lz4-packed": lambda data, folder: run(
        TOOL, "pack", *data("tokens-tar"), "-o", folder / "tokens-%03d.tar.lz4", "--shard-count", 16_000, "--quiet"
    ),
}


class Data:
    """Calling it with the name of a set gives the files, which are made first if they are not there."""

    def __init__(self, root):
        self.root = root

    def folder(self, name):
        folder = self.root / name
        if not folder.exists():
            print(f"making {name}", flush=True)
            unfinished = self.root / f"{name}.part"
            run("rm", "-rf", unfinished)
            unfinished.mkdir(parents=True)
            SETS[name](self, unfinished)
            unfinished.rename(folder)
        return folder

    def __call__(self, name):
        return sorted(str(path) for path in self.folder(name).iterdir() if path.is_file())
