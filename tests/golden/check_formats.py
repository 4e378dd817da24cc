#!/usr/bin/env python3
"""Whether torch, numpy and burn-store load what this project writes.

usage: check_formats.py FOLDER

In FOLDER/written are tiny checkpoints as the project writes them (the ignored test `write_formats` of
paligemma-checkpoint makes them anew, and another test shows that they are what is still written):

  pytorch/     pytorch_model.bin: torch has to load it without running code, every tensor bit-equal
  big_vision/  paligemma.npz of PaliGemma 2: the arrays of make_other_formats.py, every one bit-equal
  burnpack/    model.bpk: burn-store has to find every tensor, bit-equal
"""

import sys

import numpy as np
import torch
from make_other_formats import burn_store
from safetensors.torch import load_file


def check_pytorch(folder):
    found = torch.load(f"{folder}/written/pytorch/pytorch_model.bin", weights_only=True)
    expected = load_file(f"{folder}/tiny_pg1/published/model.safetensors")
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert found[name].dtype == weight.dtype and torch.equal(found[name], weight), name
    print(f"torch reads {len(found)} tensors")


def check_big_vision(folder):
    found = np.load(f"{folder}/written/big_vision/paligemma.npz")
    expected = np.load(f"{folder}/tiny_pg2/big_vision/paligemma.npz")
    assert set(found.files) == set(expected.files), set(found.files) ^ set(expected.files)
    for name in expected.files:
        assert found[name].dtype == expected[name].dtype and found[name].shape == expected[name].shape, name
        assert np.array_equal(found[name], expected[name]), name
    print(f"numpy reads {len(found.files)} arrays")


def check_burnpack(folder):
    burn_store("compare", f"{folder}/tiny_pg1/published/model.safetensors", f"{folder}/written/burnpack/model.bpk")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    check_pytorch(sys.argv[1])
    check_big_vision(sys.argv[1])
    check_burnpack(sys.argv[1])
