"""What is measured: each workload has data, contenders and goals.

A contender is a name and a command that prints one JSON line; `ours` and the ceilings belong to a workload once, peers
as many as there are. A goal says which figure is wanted: `share` of the ceiling, `peer` times the best of some peers,
or an absolute figure.
"""

import dataclasses
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BENCH = HERE / ".build/release/headrace-bench"
TOOL = HERE / ".build/release/headrace"
PYTHON = HERE / ".venv/bin/python"


@dataclasses.dataclass
class Contender:
    name: str
    kind: str  # ours, ceiling or peer
    command: list


@dataclasses.dataclass
class Workload:
    name: str
    title: str
    samples: int  # That each contender must deliver in one epoch; 0 where only bytes are counted.
    contenders: list
    goals: list = dataclasses.field(default_factory=list)  # (figure, least, among whom)


def ours(name, files, *options):
    return Contender(name, "ours", [BENCH, "read", *options, *files])


def ceiling(program, files, *options):
    return Contender(f"C {program} {' '.join(options)}".strip(), "ceiling", [HERE / "Ceilings/bin" / program, *options, *files])


def peer(script, files, *options):
    return Contender(script, "peer", [PYTHON, HERE / "peers" / f"read_{script}.py", *options, *files])


def raw_tar(files):
    contenders = [ours("headrace", files, "--epochs", "4"), ceiling("tar", files, "--epochs", "4")]
    contenders += [peer(script, files) for script in ("webdataset",)]
    goals = [("share", 0.8, ""), ("peer", 10, "webdataset")]
    return Workload("tar", "raw tar, samples of 100 KB", 10_000, contenders, goals)


# The data set of each workload, and what is done with its files.
ALL = {"tar": ("jpeg-tar", raw_tar)}
