#!/usr/bin/env python3
"""Outlines filled by pycocotools.

usage: make_outlines.py OUTDIR

It writes masks/outlines.json: for each case the picture's height and width, outlines as COCO has
them (x and y in turn), and the compressed run lengths of their union.
"""

import json
import math
import os
import random
import sys

from pycocotools import mask as coco

SIZE = (61, 97)


def wheel(teeth, x, y, radius):
    points = []
    for tooth in range(2 * teeth):
        angle = math.pi * tooth / teeth
        reach = radius * (1 if tooth % 2 else 0.55)
        points += [x + reach * math.cos(angle), y + reach * math.sin(angle)]
    # Two digits, as COCO has them: every reader takes them for the same numbers.
    return [round(point, 2) for point in points]


def cases():
    generator = random.Random(5)
    anywhere = [
        [round(generator.uniform(-15, 110), 2) for _ in range(2 * corners)] for corners in
        (3, 4, 5, 7, 12, 30)]
    half = [round(2 * value) / 2 for value in anywhere[4]]
    whole = [float(round(value)) for value in anywhere[5]]
    yield SIZE, [[10, 10, 40, 10, 40, 30, 10, 30]]
    yield SIZE, [[10.5, 10.5, 40.5, 10.5, 40.5, 30.5, 10.5, 30.5]]
    yield SIZE, [[0, 0, 97, 0, 97, 61, 0, 61]]
    yield SIZE, [[12.3, 7.9, 12.7, 7.9, 12.5, 8.4]]
    yield SIZE, [[5, 5, 5, 5, 60, 40, 60, 40]]
    yield SIZE, [wheel(9, 45.2, 30.9, 28)]
    yield SIZE, [wheel(5, 3, 4, 20), wheel(6, 90, 55, 25)]
    yield SIZE, [wheel(3, 40, 30, 20), wheel(4, 50, 32, 22), [0, 20.5, 97, 20.5, 97, 22.5, 0, 22.5]]
    for outline in anywhere + [half, whole]:
        yield SIZE, [outline]
    yield (1, 1), [[0, 0, 1, 0, 1, 1, 0, 1]]
    yield (480, 640), [wheel(40, 320.4, 200.7, 250), anywhere[3]]


def filled(size, outlines):
    merged = coco.merge(coco.frPyObjects(outlines, *size))
    return {
        "size": size, "outlines": outlines, "compressed": merged["counts"].decode(),
        "area": int(coco.area(merged))}


def main(out):
    folder = os.path.join(out, "masks")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "outlines.json"), "w") as file:
        json.dump([filled(*case) for case in cases()], file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
