"""SPDL: its tar reader in two threads of a pipeline, a shard a task; samples are counted where they are read."""

import importlib.metadata

import common
import spdl.io
import spdl.pipeline


def count_shard(path):
    """Samples and payload bytes; the members of one key follow each other."""
    samples = size = 0
    last = None
    with open(path, "rb") as file:
        for name, content in spdl.io.iter_tarfile(file):
            key = name.rpartition(".")[0]
            samples += key != last
            last = key
            size += len(content)
    return samples, size


def samples(files, threads):
    pipeline = spdl.pipeline.PipelineBuilder().add_source(files).pipe(count_shard, concurrency=threads).add_sink(8)
    with (built := pipeline.build(num_threads=threads)).auto_stop():
        yield from built


common.main("spdl " + importlib.metadata.version("spdl-io"), samples)
