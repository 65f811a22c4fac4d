"""The data sets, made once from a seed; what is there is used again.

A set's folder is named after it and after a hash of its recipe, so that no other recipe's files are taken for it.
"""

import hashlib
import re
import subprocess

from workloads import HERE, TOOL


def run(*words):
    subprocess.run([str(word) for word in words], check=True)


def version(tool):
    return subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout


class Generated:
    """By Ceilings/generate.c; `prefix` begins the names of the files."""

    def __init__(self, *words, prefix=None):
        self.kind, *self.numbers = words
        self.prefix = prefix

    def recipe(self, _):
        return [self.kind, self.prefix, self.numbers, (HERE / "Ceilings/generate.c").read_text()]

    def make(self, _, folder):
        target = folder / self.prefix if self.prefix else folder
        run(HERE / "Ceilings/bin/generate", self.kind, target, *self.numbers)


class Photos:
    """Shards of photo-like JPEGs, by Ceilings/photos.c."""

    def __init__(self, shards, samples, prefix):
        self.numbers, self.prefix = (shards, samples), prefix

    def recipe(self, _):
        return [self.prefix, self.numbers, (HERE / "Ceilings/photos.c").read_text()]

    def make(self, _, folder):
        run(HERE / "Ceilings/bin/photos", folder / self.prefix, *self.numbers)


class Compressed:
    """Each file of the set `source` by a tool."""

    def __init__(self, source, ending, *command):
        self.source, self.ending, self.command = source, ending, command

    def recipe(self, data):
        return [self.ending, self.command, version(self.command[0]), data.recipe(self.source)]

    def make(self, data, folder):
        for source in data(self.source):
            target = folder / (source.rpartition("/")[2] + self.ending)
            run(*self.command, source, *(["-o", target] if self.command[0] == "zstd" else [target]))


class Packed:
    """All files of the set `source` by `headrace pack`. Raise `made` when it comes to write other bytes."""

    made = 1

    def __init__(self, source, name, *options):
        self.source, self.name, self.options = source, name, options

    def recipe(self, data):
        return [self.name, self.options, self.made, data.recipe(self.source)]

    def make(self, data, folder):
        run(TOOL, "pack", *data(self.source), "-o", folder / self.name, *self.options, "--quiet")


# Tiny samples in many shards, so that peers, which get an eighth of them, have work for two threads as well.
SETS = {
    "jpeg-tar": Generated("tar", 8, 1250, 60_000, 140_000, prefix="jpeg"),
    "jpeg-tfrecord": Generated("tfrecord", 8, 1250, 60_000, 140_000, prefix="jpeg"),
    "photos-tar": Photos(8, 500, "photos"),
    "photos-crop-ready": Packed(
        "photos-tar", "photos-%03d.tar", "--jpeg", "crop-ready", "--shard-count", "500"
    ),
    "photos-tfrecord": Packed("photos-tar", "photos-%03d.tfrecord", "--shard-size", "64MiB"),
    "tiny-tar": Generated("tar", 16, 125_000, 100, 200, prefix="tiny"),
    "tiny-tfrecord": Generated("tfrecord", 16, 250_000, 60, 140, prefix="tiny"),
    "tokens-tar": Generated("tokens-tar", 4, 16_000, 8192, prefix="tokens"),
    "tokens-files": Generated("tokens-files", 1, 8000, 65_536),
    "tokens-zst": Compressed("tokens-tar", ".zst", "zstd", "-3q"),
    "tokens-lz4": Compressed("tokens-tar", ".lz4", "lz4", "-q"),
    "tokens-zst-seekable": Packed("tokens-tar", "tokens-%03d.tar.zst", "--shard-size", "4GiB"),
    "tokens-lz4-packed": Packed("tokens-tar", "tokens-%03d.tar.lz4", "--shard-count", 16_000),
}


class Data:
    """Calling it with the name of a set gives the files, which are made first if they are not there."""

    def __init__(self, root):
        self.root = root

    def recipe(self, name):
        """A hash of all that decides which bytes the files have."""
        return hashlib.sha256(repr(SETS[name].recipe(self)).encode()).hexdigest()[:8]

    def folder(self, name):
        folder = self.root / f"{name}-{self.recipe(name)}"
        if not folder.exists():
            own = re.compile(f"{name}(-[0-9a-f]{{8}})?")
            others = [str(path) for path in self.root.glob(name + "*") if own.fullmatch(path.name)]
            if others:
                print(f"of other recipes, no longer used: {', '.join(others)}", flush=True)
            print(f"making {folder.name}", flush=True)
            unfinished = self.root / f"{folder.name}.part"
            run("rm", "-rf", unfinished)
            unfinished.mkdir(parents=True)
            SETS[name].make(self, unfinished)
            unfinished.rename(folder)
        return folder

    def __call__(self, name):
        return sorted(str(path) for path in self.folder(name).iterdir() if path.is_file())
