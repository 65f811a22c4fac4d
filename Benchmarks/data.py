"""The data sets, made once from a seed; what is there is used again."""

import subprocess

from workloads import HERE

GENERATE = HERE / "Ceilings/bin/generate"


def generated(folder, name, ending, *arguments):
    kind, shards, *rest = arguments
    subprocess.run([GENERATE, kind, folder / name, shards, *rest], check=True)


SETS = {
    "jpeg-tar": lambda folder: generated(folder, "jpeg", "tar", "tar", "8", "1250", "60000", "140000"),
}


def files(root, name):
    """The files of a data set, which is made first if it is not there."""
    folder = root / name
    if not folder.exists():
        unfinished = root / f"{name}.part"
        subprocess.run(["rm", "-rf", unfinished], check=True)
        unfinished.mkdir(parents=True)
        print(f"making {name}", flush=True)
        SETS[name](unfinished)
        unfinished.rename(folder)
    return sorted(str(path) for path in folder.iterdir() if path.is_file())
