"""DALI's CPU back end: its webdataset reader for tar, its TFRecord reader with the features of data.py for TFRecord.

TFRecord needs index files, which are made before the clock runs; the pipeline is built in the first epoch and kept.
"""

import os
import struct
import tempfile

import common
import nvidia.dali
from nvidia.dali import fn, tfrecord

folder = tempfile.TemporaryDirectory()
built = []


def index(file):
    """Writes offset and size of each record to a text file, as tfrecord2idx does."""
    path, offset, end = os.path.join(folder.name, os.path.basename(file)), 0, os.path.getsize(file)
    with open(file, "rb") as records, open(path, "w") as lines:
        while offset < end:
            records.seek(offset)
            size = struct.unpack("<Q", records.read(8))[0] + 16
            lines.write(f"{offset} {size}\n")
            offset += size
    return path


@nvidia.dali.pipeline_def(device_id=None, prefetch_queue_depth=2)
def tar_pipeline(files, endings):
    read = fn.readers.webdataset(name="reader", paths=files, ext=endings, read_ahead=True)
    return tuple(read) if len(endings) > 1 else read


@nvidia.dali.pipeline_def(device_id=None, prefetch_queue_depth=2)
def tfrecord_pipeline(files, indexes):
    features = {
        "image": tfrecord.FixedLenFeature((), tfrecord.string, ""),
        "label": tfrecord.FixedLenFeature([1], tfrecord.int64, -1),
    }
    read = fn.readers.tfrecord(name="reader", path=files, index_path=indexes, features=features, read_ahead=True)
    return read["image"], read["label"]


def pipeline(files, threads, batch, endings):
    options = {"batch_size": batch, "num_threads": threads}
    if files[0].endswith(".tfrecord"):
        return tfrecord_pipeline(files, indexes, **options)
    return tar_pipeline(files, endings.split(","), **options)


def samples(files, threads, batch, endings):
    if not built:
        built.append(pipeline(files, threads, batch, endings))
        built[0].build()
    left = built[0].reader_meta("reader")["epoch_size"]
    while left > 0:
        outputs = built[0].run()
        count = min(left, len(outputs[0]))
        left -= count
        yield count, 0


def prepare(files):
    global indexes
    indexes = [index(file) for file in files] if files[0].endswith(".tfrecord") else []


common.main("dali " + nvidia.dali.__version__, samples, prepare)
