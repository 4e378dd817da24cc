#!/usr/bin/env python3
"""The position table of the tiny PaliGemma at other resolutions, by both references.

usage: make_resolutions.py OUTDIR

Reads OUTDIR/tiny_pg1/published (make_golden.py) and writes OUTDIR/tiny_pg1/resolutions.safetensors,
for sides of 28, 42, 84 and 126 pixels (the model's own is 56):

  SIDE.bilinear   scipy.ndimage.zoom(order=1), which is all that big_vision's resample_posemb does
  SIDE.bicubic    torch's interpolate, as interpolate_pos_encoding of transformers calls it
  SIDE.pixels     a picture of that size, and what the tower of transformers makes of it with
  SIDE.tower      interpolate_pos_encoding=True
"""

import sys

import numpy as np
import scipy.ndimage
import torch
from safetensors.torch import load_file, save_file
from transformers import PaliGemmaForConditionalGeneration

TABLE = "vision_tower.vision_model.embeddings.position_embedding.weight"
OLD, PATCH = 4, 14


def bilinear(table, new):
    grid = table.numpy().reshape(OLD, OLD, -1)
    grid = scipy.ndimage.zoom(grid, (new / OLD, new / OLD, 1), order=1)
    return torch.from_numpy(np.ascontiguousarray(grid.reshape(new * new, -1)))


def bicubic(table, new):
    grid = table.reshape(1, OLD, OLD, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(
        grid, size=(new, new), mode="bicubic", align_corners=False)
    return grid.permute(0, 2, 3, 1).reshape(new * new, -1).contiguous()


@torch.no_grad()
def main(out):
    folder = f"{out}/tiny_pg1"
    table = load_file(f"{folder}/published/model.safetensors")[TABLE]
    model = PaliGemmaForConditionalGeneration.from_pretrained(
        f"{folder}/published", attn_implementation="eager", dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(14)
    made = {}
    for new in (2, 3, 6, 9):
        side = new * PATCH
        pixels = torch.rand((1, 3, side, side), generator=generator) * 2 - 1
        tower = model.model.vision_tower(pixels, interpolate_pos_encoding=True)
        made |= {
            f"{side}.bilinear": bilinear(table, new),
            f"{side}.bicubic": bicubic(table, new),
            f"{side}.pixels": pixels,
            f"{side}.tower": tower.last_hidden_state.contiguous(),
        }
    save_file(made, f"{folder}/resolutions.safetensors")


torch.set_num_threads(1)
main(sys.argv[1])
