#!/usr/bin/env python3
"""Tables as Hugging Face data sets keep them in Parquet, written by pyarrow.

usage: make_tables.py OUTDIR

It writes, under tables/,

  inside.parquet  pictures as a group of bytes and path, in two row groups; other columns beside
  named.parquet   names of pictures
"""

import io
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def picture(shade, form):
    out = io.BytesIO()
    Image.new("RGB", (5 + shade % 3, 4), (shade, 40, 90)).save(out, form)
    return out.getvalue()


def main(out):
    folder = os.path.join(out, "tables")
    os.makedirs(folder, exist_ok=True)
    inside = pa.table({
        "id": pa.array([7, 8, 9]),
        "image": pa.array(
            [{"bytes": picture(10, "PNG"), "path": "x.png"},
             {"bytes": picture(20, "JPEG"), "path": None},
             {"bytes": picture(30, "PNG"), "path": "y.png"}], IMAGE),
        "question": ["answer en what colour?", "answer en where?", "answer en caf\u00e9?"],
        "answers": [["red", "dark red"], ["here"], []],
        "answer": ["red", "here", "yes"]})
    pq.write_table(inside, os.path.join(folder, "inside.parquet"), row_group_size=2)
    named = pa.table({
        "image": ["a.png", "b.png"], "prefix": ["caption en"] * 2, "suffix": ["a cat", "a dog"]})
    pq.write_table(named, os.path.join(folder, "named.parquet"))


if __name__ == "__main__":
    main(sys.argv[1])
