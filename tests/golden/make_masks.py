#!/usr/bin/env python3
"""A small mask VQ-VAE of random weights, and what JAX makes of masks and codes with it, in float64.

usage: make_masks.py OUTDIR

The layers are those of big_vision's `vae-oid.npz`: encoder and decoder are lists of layers whose
positions, activations counted, are the names. All sizes differ. It writes, under masks/,

  vae.npz             weights under the published names
  vae-compressed.npz  the same by numpy.savez_compressed
  golden.safetensors  masks, latents, codes and decoded masks
"""

import math
import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

jax.config.update("jax_enable_x64", True)

CODES, LATENT = 128, 20
ENCODER = [3, 5, 7, 9]
DECODER = [13, 12, 10, 8, 6]
GRID, SIDE = 4, 64

generator = np.random.default_rng(11)


def normal(shape):
    return generator.standard_normal(shape)


def weights():
    """Names as published, values of a size that keeps activations of ordinary size."""
    tensors = {}

    def layer(name, outputs, inputs, kernel, transposed=False):
        shape = (inputs, outputs) if transposed else (outputs, inputs)
        taps = inputs * kernel * kernel / (4 if transposed else 1)
        tensors[f"{name}.weight"] = math.sqrt(2 / taps) * normal(shape + (kernel, kernel))
        tensors[f"{name}.bias"] = 0.05 * normal((outputs,))

    def residual(name, width):
        for position, kernel in ((0, 3), (2, 3), (4, 1)):
            layer(f"{name}.net.{position}", width, width, kernel)

    for position, (inputs, outputs) in enumerate(zip([1] + ENCODER, ENCODER)):
        layer(f"encoder.{2 * position}", outputs, inputs, 4)
    residual("encoder.8", ENCODER[-1])
    residual("encoder.9", ENCODER[-1])
    layer("encoder.10", LATENT, ENCODER[-1], 1)
    tensors["_vq_vae._embedding"] = 2 * normal((CODES, LATENT))
    layer("decoder.0", DECODER[0], LATENT, 1)
    residual("decoder.2", DECODER[0])
    residual("decoder.3", DECODER[0])
    for position, (inputs, outputs) in enumerate(zip(DECODER, DECODER[1:])):
        layer(f"decoder.{4 + 2 * position}", outputs, inputs, 4, transposed=True)
    layer("decoder.12", 1, DECODER[-1], 1)
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def layer_of(tensors, name):
    """Weight and bias in float64, the bias for every pixel."""
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    return weight.astype(np.float64), bias.astype(np.float64)[None, :, None, None]


def convolution(tensors, name, x, stride=1, padding=0):
    weight, bias = layer_of(tensors, name)
    pads = [(padding, padding)] * 2
    return jax.lax.conv_general_dilated(x, weight, (stride, stride), pads) + bias


def doubling(tensors, name, x):
    """PyTorch's ConvTranspose2d of stride 2 and padding 1: a convolution of the input with zeros
    between its pixels, by the kernel turned around, padded by 4 - 1 - 1."""
    weight, bias = layer_of(tensors, name)
    turned = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    pads = [(2, 2)] * 2
    return jax.lax.conv_general_dilated(x, turned, (1, 1), pads, lhs_dilation=(2, 2)) + bias


def residual_block(tensors, name, x):
    hidden = jax.nn.relu(convolution(tensors, f"{name}.net.0", x, padding=1))
    hidden = jax.nn.relu(convolution(tensors, f"{name}.net.2", hidden, padding=1))
    return x + convolution(tensors, f"{name}.net.4", hidden)


def encode(tensors, masks):
    x = 2 * (masks - 0.5)
    for name in ("encoder.0", "encoder.2", "encoder.4", "encoder.6"):
        x = jax.nn.relu(convolution(tensors, name, x, stride=2, padding=1))
    for name in ("encoder.8", "encoder.9"):
        x = residual_block(tensors, name, x)
    return convolution(tensors, "encoder.10", x)


def nearest(tensors, latents):
    embedding = tensors["_vq_vae._embedding"].astype(np.float64)
    vectors = latents.transpose(0, 2, 3, 1).reshape(-1, 1, embedding.shape[1])
    distances = np.asarray(jnp.square(vectors - embedding).sum(-1))
    closest = np.sort(distances, axis=-1)
    assert (closest[:, 1] - closest[:, 0]).min() > 1e-3, "a code that rounding could change"
    return distances.argmin(-1).reshape(-1, GRID * GRID)


def decode(tensors, codes):
    x = tensors["_vq_vae._embedding"].astype(np.float64)[codes]
    x = x.reshape(-1, GRID, GRID, x.shape[-1]).transpose(0, 3, 1, 2)
    x = jax.nn.relu(convolution(tensors, "decoder.0", x))
    for name in ("decoder.2", "decoder.3"):
        x = residual_block(tensors, name, x)
    for name in ("decoder.4", "decoder.6", "decoder.8", "decoder.10"):
        x = jax.nn.relu(doubling(tensors, name, x))
    return convolution(tensors, "decoder.12", x)


def shapes():
    """A disc, a triangle, a chessboard, all, nothing, and a soft edge."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    hard = [(y - 32) ** 2 + (x - 30) ** 2 < 400, y > x, (y // 8 + x // 8) % 2 == 0, y >= 0, y < 0]
    soft = np.clip((x + y - 40) / 48, 0, 1)
    return np.stack(hard + [soft]).astype(np.float32)[:, None]


def main(out):
    folder = os.path.join(out, "masks")
    os.makedirs(folder, exist_ok=True)
    tensors, masks = weights(), shapes()
    latents = encode(tensors, masks.astype(np.float64))
    codes = nearest(tensors, latents)
    any_codes = generator.integers(0, CODES, (3, GRID * GRID))
    floats = {
        "in": masks, "latents": latents, "decoded": decode(tensors, codes),
        "any_decoded": decode(tensors, any_codes)}
    values = {name: np.asarray(value, np.float32) for name, value in floats.items()}
    values |= {"codes": codes, "any_codes": any_codes}
    np.savez(os.path.join(folder, "vae.npz"), **tensors)
    np.savez_compressed(os.path.join(folder, "vae-compressed.npz"), **tensors)
    save_file(
        {f"masks.{name}": np.ascontiguousarray(value) for name, value in values.items()},
        os.path.join(folder, "golden.safetensors"))


if __name__ == "__main__":
    main(sys.argv[1])
