"""webdataset, one process: payloads as bytes objects, grouped into samples."""

import common
import webdataset


COMMANDS = {"zst": "pipe:zstd -dcq ", "lz4": "pipe:lz4 -dcq "}


def samples(files):
    places = [COMMANDS.get(file.rpartition(".")[2], "") + file for file in files]
    for sample in webdataset.WebDataset(places, shardshuffle=False, empty_check=False):
        yield 1, sum(len(value) for value in sample.values() if isinstance(value, bytes))


common.main("webdataset " + webdataset.__version__, samples)
