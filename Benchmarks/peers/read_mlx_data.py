"""mlx-data: the first file of each sample, read by two prefetching threads; it reads no other."""

import importlib.metadata

import common
import mlx.data as dx


def samples(files, threads, batch):
    for file in files:
        names = [bytes(entry["file"]) for entry in dx.files_from_tar(file)]
        wanted = dx.buffer_from_vector([{"file": name} for name in names if not name.endswith(b".cls")])
        stream = wanted.to_stream().read_from_tar(file, "file", "data").prefetch(batch, threads)
        for sample in stream:
            yield 1, sample["data"].nbytes


common.main("mlx-data " + importlib.metadata.version("mlx-data"), samples)
