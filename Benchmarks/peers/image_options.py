"""What the peers that decode images share: random part of the image to 224 x 224, flip, and f32 CHW normalised or u8
HWC."""

import sys

import common

SIDE = 224
MEAN = [0.485, 0.456, 0.406]
DEVIATION = [0.229, 0.224, 0.225]


def main(name, samples, prepare=None):
    """`samples` takes dtype and layout besides what common.py knows."""
    dtype = "uint8" if "--uint8" in sys.argv else "float32"
    sys.argv = [word for word in sys.argv if word != "--uint8"]

    def read(files, threads, batch):
        yield from samples(files, threads, batch, dtype, "hwc" if dtype == "uint8" else "chw")

    common.main(f"{name} {dtype}", read, prepare)
