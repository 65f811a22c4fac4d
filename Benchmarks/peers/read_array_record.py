"""ArrayRecord, the random-access format of grain: the same samples, one record each, uncompressed, in random order.

The copy in its own format is made once, beside the shards; making it is not measured.
"""

import os
import pathlib
import random
import struct
import tarfile
from concurrent.futures import ThreadPoolExecutor

from array_record.python import array_record_module as array_record
from common import main

OPTIONS = "readahead_buffer_size:0,max_parallelism:0"


def samples(path):
    """The bytes of each sample, its headers included, as our own loader reads them."""
    if path.endswith(".tfrecord"):
        with open(path, "rb") as file:
            while head := file.read(12):
                (length,) = struct.unpack("<Q", head[:8])
                yield head + file.read(length + 4)
        return
    with tarfile.open(path) as archive, open(path, "rb") as file:
        starts, keys, end = [], [], 0
        for member in archive:
            key = member.name.split(".")[0]
            if not keys or keys[-1] != key:
                starts.append(member.offset)
                keys.append(key)
            end = member.offset_data + (member.size + 511) // 512 * 512
        for start, stop in zip(starts, [*starts[1:], end]):
            file.seek(start)
            yield file.read(stop - start)


def copy_of(path):
    folder = pathlib.Path(path).parent.with_name(pathlib.Path(path).parent.name + "-array-record")
    return folder / (pathlib.Path(path).name + ".array_record")


def prepare(files):
    for path in files:
        target = copy_of(path)
        if target.exists():
            continue
        target.parent.mkdir(exist_ok=True)
        part = str(target) + ".part"
        writer = array_record.ArrayRecordWriter(part, "group_size:1,uncompressed")
        for sample in samples(path):
            writer.write(sample)
        writer.close()
        os.rename(part, target)


def read(files, batch, threads):
    paths = [str(copy_of(path)) for path in files]
    counts = []
    for path in paths:
        reader = array_record.ArrayRecordReader(path, OPTIONS)
        counts.append(reader.num_records())
        reader.close()
    order = [(file, index) for file, count in enumerate(counts) for index in range(count)]
    random.Random(1).shuffle(order)

    def run(part):
        readers = [array_record.ArrayRecordReader(path, OPTIONS) for path in paths]
        sizes = []
        for start in range(0, len(part), batch):
            wanted = {}
            for file, index in part[start : start + batch]:
                wanted.setdefault(file, []).append(index)
            size = count = 0
            for file, indices in wanted.items():
                for record in readers[file].read(indices):
                    size += len(record)
                    count += 1
            sizes.append((count, size))
        return sizes

    with ThreadPoolExecutor(threads) as pool:
        for sizes in pool.map(run, [order[number::threads] for number in range(threads)]):
            yield from sizes


main("array_record", read, prepare)
