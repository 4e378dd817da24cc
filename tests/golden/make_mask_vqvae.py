#!/usr/bin/env python3
"""A mask VQ-VAE of the published size with random weights, and what PyTorch makes of masks and codes.

usage: make_mask_vqvae.py OUTDIR

Names and shapes are those of big_vision's `vae-oid.npz`. It writes, under mask_vqvae/,

  vae-random.npz      weights under the published names
  golden.safetensors  masks, latents, codes and decoded masks
"""

import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

GRID, SIDE, CODES, LATENT, WIDTH = 4, 64, 128, 512, 128

generator = torch.Generator().manual_seed(3)


def weights():
    """Names as published, values of a size that keeps activations of ordinary size."""
    tensors = {}

    def layer(name, outputs, inputs, kernel, transposed=False):
        shape = (inputs, outputs, kernel, kernel) if transposed else (outputs, inputs, kernel, kernel)
        taps = inputs * kernel * kernel / (4 if transposed else 1)
        tensors[f"{name}.weight"] = torch.randn(shape, generator=generator) * math.sqrt(2.0 / taps)
        tensors[f"{name}.bias"] = 0.05 * torch.randn(outputs, generator=generator)

    def residual(name):
        for position, kernel in ((0, 3), (2, 3), (4, 1)):
            layer(f"{name}.net.{position}", WIDTH, WIDTH, kernel)

    for position, (inputs, outputs) in enumerate(((1, 16), (16, 32), (32, 64), (64, 128))):
        layer(f"encoder.{2 * position}", outputs, inputs, 4)
    residual("encoder.8")
    residual("encoder.9")
    layer("encoder.10", LATENT, WIDTH, 1)
    tensors["_vq_vae._embedding"] = 2.0 * torch.randn(CODES, LATENT, generator=generator)
    layer("decoder.0", WIDTH, LATENT, 1)
    residual("decoder.2")
    residual("decoder.3")
    for position, (inputs, outputs) in enumerate(((128, 128), (128, 64), (64, 32), (32, 16))):
        layer(f"decoder.{4 + 2 * position}", outputs, inputs, 4, transposed=True)
    layer("decoder.12", 1, 16, 1)
    return tensors


def residual_block(tensors, name, x):
    def of(position):
        return tensors[f"{name}.net.{position}.weight"], tensors[f"{name}.net.{position}.bias"]

    hidden = F.relu(F.conv2d(x, *of(0), padding=1))
    hidden = F.relu(F.conv2d(hidden, *of(2), padding=1))
    return x + F.conv2d(hidden, *of(4))


def encode(tensors, masks):
    """Masks [B, 64, 64] in 0..1 to codes [B, 16] and latents [B, 512, 4, 4]."""
    x = (2 * (masks - 0.5))[:, None]
    for name in ("encoder.0", "encoder.2", "encoder.4", "encoder.6"):
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        x = F.relu(F.conv2d(x, weight, bias, stride=2, padding=1))
    for name in ("encoder.8", "encoder.9"):
        x = residual_block(tensors, name, x)
    latents = F.conv2d(x, tensors["encoder.10.weight"], tensors["encoder.10.bias"])
    embedding = tensors["_vq_vae._embedding"]
    vectors = latents.permute(0, 2, 3, 1).reshape(-1, LATENT)
    squares = vectors.pow(2).sum(1, keepdim=True) + embedding.pow(2).sum(1)
    distances = squares - 2 * vectors @ embedding.T
    return distances.argmin(1).reshape(-1, GRID * GRID), latents


def decode(tensors, codes):
    """Codes [B, 16] to values [B, 64, 64]."""
    x = tensors["_vq_vae._embedding"][codes].reshape(-1, GRID, GRID, LATENT).permute(0, 3, 1, 2)
    x = F.relu(F.conv2d(x, tensors["decoder.0.weight"], tensors["decoder.0.bias"]))
    for name in ("decoder.2", "decoder.3"):
        x = residual_block(tensors, name, x)
    for name in ("decoder.4", "decoder.6", "decoder.8", "decoder.10"):
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        x = F.relu(F.conv_transpose2d(x, weight, bias, stride=2, padding=1))
    return F.conv2d(x, tensors["decoder.12.weight"], tensors["decoder.12.bias"])[:, 0]


def shapes():
    """A disc, a triangle, a chessboard, and all."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    masks = [(y - 32) ** 2 + (x - 30) ** 2 < 400, y > x, (y // 8 + x // 8) % 2 == 0, y >= 0]
    return torch.from_numpy(np.stack(masks).astype(np.float32))


@torch.no_grad()
def main(out):
    folder = os.path.join(out, "mask_vqvae")
    os.makedirs(folder, exist_ok=True)
    tensors, masks = weights(), shapes()
    codes, latent = encode(tensors, masks)
    decoded = decode(tensors, codes)
    random_codes = torch.randint(0, CODES, (4, GRID * GRID), generator=generator)
    values = {
        "masks": masks, "latent": latent, "codes": codes, "decoded": decoded,
        "random_codes": random_codes, "random_decoded": decode(tensors, random_codes)}
    np.savez(os.path.join(folder, "vae-random.npz"), **{k: v.numpy() for k, v in tensors.items()})
    save_file(
        {name: np.ascontiguousarray(value.numpy()) for name, value in values.items()},
        os.path.join(folder, "golden.safetensors"))


if __name__ == "__main__":
    main(sys.argv[1])
