#!/usr/bin/env python3
"""Masks of pictures as plain data: what Pillow, JAX and pycocotools make of them.

usage: make_bitmaps.py OUTDIR

Inputs are formulas that the tests repeat. It writes masks/bitmaps.json:

  pasted   values of a soft mask of 64 x 64 over boxes, as big_vision's evaluator resizes it (Pillow)
  cropped  a mask within boxes at 64 x 64, as big_vision makes training data; JAX's antialiased
           linear resize is TensorFlow's, which big_vision calls
  coco     run lengths, area and bounding box (pycocotools)
"""

import json
import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
from PIL import Image
from pycocotools import mask as coco

SIDE = 64
PICTURE = (150, 110)
BOXES = [
    [12.0, 7.5, 140.9, 99.2], [3.2, 5.0, 23.7, 14.9], [100.4, 0.0, 103.4, 110.0],
    [0.0, 0.0, 150.0, 110.0], [40.5, 41.5, 104.5, 105.5]]


def noise(x, y):
    return (x * x * 31 + y * 17 + x * y * 7) % 11 < 4


def disc(x, y):
    return (x - 40) ** 2 + (y - 30) ** 2 < 625


def stripes(x, y):
    return (x + y // 350) % 300 < 250


BITMAPS = {
    "noise": (noise, 97, 61), "disc": (disc, 150, 110), "stripes": (stripes, 1000, 700),
    "all": (lambda x, y: x >= 0, 13, 8), "none": (lambda x, y: x < 0, 13, 8),
    "pixel": (disc, 1, 1)}


def bitmap(name):
    formula, width, height = BITMAPS[name]
    y, x = np.mgrid[0:height, 0:width]
    return formula(x, y)


def listed(values):
    """Numbers in as few digits as tell them apart in f32."""
    return [float(str(value)) for value in np.asarray(values, np.float32).ravel()]


def pasted(box):
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    soft = (((x * 7 + y * 13 + x * y) % 41) / 16 - 1.25).astype(np.float32)
    x0, y0, x1, y1 = map(int, box)
    values = np.asarray(Image.fromarray(soft).resize([x1 - x0, y1 - y0], Image.BILINEAR))
    return {"box": box, "edges": [x0, y0, x1, y1], "values": listed(values)}


def cropped(box):
    mask = bitmap("disc")
    x0, y0, x1, y1 = (int(np.round(edge)) for edge in box)
    part = mask[y0:y1, x0:x1].astype(np.float32)
    values = jax.image.resize(part, (SIDE, SIDE), "linear", antialias=True)
    return {"box": box, "values": listed(values)}


def run_lengths(name):
    mask = bitmap(name)
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    size = list(mask.shape)
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert coco.frPyObjects({"size": size, "counts": counts}, *size)["counts"] == rle["counts"]
    return {
        "name": name, "size": size, "counts": counts, "compressed": rle["counts"].decode(),
        "area": int(coco.area(rle)), "bbox": coco.toBbox(rle).tolist()}


def main(out):
    folder = os.path.join(out, "masks")
    os.makedirs(folder, exist_ok=True)
    values = {
        "picture": PICTURE, "pasted": [pasted(box) for box in BOXES],
        "cropped": [cropped(box) for box in BOXES], "coco": [run_lengths(name) for name in BITMAPS]}
    with open(os.path.join(folder, "bitmaps.json"), "w") as file:
        json.dump(values, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
