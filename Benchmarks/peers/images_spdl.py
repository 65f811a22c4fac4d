"""SPDL: its tar reader and its JPEG decoder with a filter graph (crop, scale, flip) in threads, batches of 64.

The random part needs the image's size, which is read from its header here; FFmpeg decodes the whole image.
"""

import importlib.metadata
import math
import random

import image_options
import numpy as np
import spdl.io
import spdl.pipeline


def size_of(jpeg):
    """Width and height from the frame header."""
    at = 2
    while jpeg[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return int.from_bytes(jpeg[at + 7 : at + 9], "big"), int.from_bytes(jpeg[at + 5 : at + 7], "big")


def random_part(width, height):
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1)
        shape = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        across, down = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < across <= width and 0 < down <= height:
            return across, down, random.randint(0, width - across), random.randint(0, height - down)
    return width, height, 0, 0


def images(path):
    with open(path, "rb") as file:
        for name, content in spdl.io.iter_tarfile(file):
            if name.endswith(".jpg"):
                yield bytes(content)


def samples(files, threads, batch, dtype, layout):
    side = image_options.SIDE
    mean, deviation = [255 * np.array(values, np.float32) for values in (image_options.MEAN, image_options.DEVIATION)]

    def decode(jpegs):
        decoded = []
        for jpeg in jpegs:
            across, down, x, y = random_part(*size_of(jpeg))
            flip = "hflip," if random.random() < 0.5 else ""
            graph = f"crop={across}:{down}:{x}:{y}:exact=1,scale={side}:{side},{flip}format=rgb24"
            packets = spdl.io.demux_image(jpeg)
            frames = spdl.io.decode_packets(packets, filter_desc=graph)
            decoded.append(spdl.io.to_numpy(spdl.io.convert_frames(frames)).reshape(side, side, 3))
        stacked = np.stack(decoded)
        if dtype == "float32":
            stacked = np.ascontiguousarray(((stacked - mean) / deviation).transpose(0, 3, 1, 2))
        return len(stacked)

    def source():
        for file in files:
            yield from images(file)

    pipeline = (
        spdl.pipeline.PipelineBuilder().add_source(source()).aggregate(batch).pipe(decode, concurrency=threads).add_sink(4)
    )
    with (built := pipeline.build(num_threads=threads)).auto_stop():
        for count in built:
            yield count, 0


image_options.main("spdl " + importlib.metadata.version("spdl-io"), samples)
