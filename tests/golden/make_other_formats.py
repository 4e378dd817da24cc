#!/usr/bin/env python3
"""The tiny checkpoints in the formats of others.

usage: make_other_formats.py OUTDIR

Reads OUTDIR/tiny_pg1 and OUTDIR/tiny_pg2 (make_golden.py, make_lora.py) and writes beside their files

  big_vision/  paligemma.npz, as big_vision saves parameters: arrays over all layers, in f32. That they
               mean the same is shown by big_vision's own einsums and dense layers
               (models/ppp/gemma.py, models/vit.py), whose results are those of the published matrices
  pytorch/     (tiny_pg1) pytorch_model.bin of the pinned torch, in bfloat16, a view and a parameter in it
  pytorch_sharded/  (tiny_pg1) the same in f32, in two files with an index, as transformers wrote them
  adapter_bin/ (tiny_pg1) the adapter of make_lora.py as PEFT saved adapters before safetensors
  burnpack/    (tiny_pg1) model.bpk of the burn-store that tests/burnpack pins, half of it in f16
"""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch

VISION, TEXT = "vision_tower.vision_model.", "language_model.model."


def same(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def stacked(weights, config, start, layers, name):
    return np.stack([weights[f"{start}layers.{i}.{name}"] for i in range(layers)])


def vision(weights, config):
    """The tower as models/vit.py names it, with its encoder scanned over layers."""
    layers, heads, width = (config[k] for k in ("num_hidden_layers", "num_attention_heads", "hidden_size"))
    head = width // heads
    every = lambda name: stacked(weights, config, VISION + "encoder.", layers, name)
    block = "img/Transformer/encoderblock/"
    arrays = {
        "img/embedding/kernel": weights[VISION + "embeddings.patch_embedding.weight"].transpose(2, 3, 1, 0),
        "img/embedding/bias": weights[VISION + "embeddings.patch_embedding.bias"],
        "img/pos_embedding": weights[VISION + "embeddings.position_embedding.weight"][None],
        "img/Transformer/encoder_norm/scale": weights[VISION + "post_layernorm.weight"],
        "img/Transformer/encoder_norm/bias": weights[VISION + "post_layernorm.bias"],
        "img/head/kernel": weights["multi_modal_projector.linear.weight"].T,
        "img/head/bias": weights["multi_modal_projector.linear.bias"],
    }
    for i in (0, 1):
        arrays[f"{block}LayerNorm_{i}/scale"] = every(f"layer_norm{i + 1}.weight")
        arrays[f"{block}LayerNorm_{i}/bias"] = every(f"layer_norm{i + 1}.bias")
        arrays[f"{block}MlpBlock_0/Dense_{i}/kernel"] = every(f"mlp.fc{i + 1}.weight").transpose(0, 2, 1)
        arrays[f"{block}MlpBlock_0/Dense_{i}/bias"] = every(f"mlp.fc{i + 1}.bias")
    attention = block + "MultiHeadDotProductAttention_0/"
    for ours, theirs in (("q", "query"), ("k", "key"), ("v", "value")):
        kernel = every(f"self_attn.{ours}_proj.weight").transpose(0, 2, 1)
        arrays[f"{attention}{theirs}/kernel"] = kernel.reshape(layers, width, heads, head)
        arrays[f"{attention}{theirs}/bias"] = every(f"self_attn.{ours}_proj.bias").reshape(layers, heads, head)
    out = every("self_attn.out_proj.weight").transpose(0, 2, 1)
    arrays[f"{attention}out/kernel"] = out.reshape(layers, heads, head, width)
    arrays[f"{attention}out/bias"] = every("self_attn.out_proj.bias")

    x = np.random.default_rng(1).normal(size=(5, width)).astype(np.float32)
    for i in range(layers):
        w = lambda name: weights[f"{VISION}encoder.layers.{i}.self_attn.{name}_proj.weight"]
        # flax.linen.MultiHeadDotProductAttention: DenseGeneral over the last axis, then over the last two.
        queries = np.einsum("td,dhk->thk", x, arrays[f"{attention}query/kernel"][i])
        same(queries.reshape(5, width), x @ w("q").T)
        same(np.einsum("thk,hkd->td", queries, arrays[f"{attention}out/kernel"][i]),
             queries.reshape(5, width) @ w("out").T)
    return arrays


def text(weights, config):
    """The decoder as models/ppp/gemma.py names it."""
    layers, heads, shared, width = (config[k] for k in (
        "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size"))
    head = config["head_dim"]
    every = lambda name: stacked(weights, config, TEXT, layers, name)
    split = lambda name, count: every(f"self_attn.{name}_proj.weight").reshape(layers, count, head, width)
    arrays = {
        "llm/embedder/input_embedding": weights[TEXT + "embed_tokens.weight"],
        "llm/final_norm/scale": weights[TEXT + "norm.weight"],
        "llm/layers/attn/q_einsum/w": split("q", heads).transpose(0, 1, 3, 2),
        "llm/layers/attn/kv_einsum/w": np.stack(
            [split(name, shared).transpose(0, 1, 3, 2) for name in ("k", "v")], axis=1),
        "llm/layers/attn/attn_vec_einsum/w": every("self_attn.o_proj.weight").reshape(
            layers, width, heads, head).transpose(0, 2, 3, 1),
        "llm/layers/mlp/gating_einsum": np.stack(
            [every(f"mlp.{name}_proj.weight").transpose(0, 2, 1) for name in ("gate", "up")], axis=1),
        "llm/layers/mlp/linear": every("mlp.down_proj.weight").transpose(0, 2, 1),
        "llm/layers/pre_attention_norm/scale": every("input_layernorm.weight"),
    }
    if config["model_type"] == "gemma2":
        arrays["llm/layers/post_attention_norm/scale"] = every("post_attention_layernorm.weight")
        arrays["llm/layers/pre_ffw_norm/scale"] = every("pre_feedforward_layernorm.weight")
        arrays["llm/layers/post_ffw_norm/scale"] = every("post_feedforward_layernorm.weight")
    else:
        arrays["llm/layers/pre_ffw_norm/scale"] = every("post_attention_layernorm.weight")

    x = np.random.default_rng(2).normal(size=(5, width)).astype(np.float32)
    for i in range(layers):
        w = lambda name: weights[f"{TEXT}layers.{i}.{name}_proj.weight"]
        # The einsums of gemma.py, without the axis of the batch.
        queries = np.einsum("TD,NDH->TNH", x, arrays["llm/layers/attn/q_einsum/w"][i])
        same(queries.reshape(5, -1), x @ w("self_attn.q").T)
        keys, values = np.einsum("SD,2KDH->2SKH".replace("2", "C"), x, arrays["llm/layers/attn/kv_einsum/w"][i])
        same(keys.reshape(5, -1), x @ w("self_attn.k").T)
        same(values.reshape(5, -1), x @ w("self_attn.v").T)
        same(np.einsum("TNH,NHD->TD", queries, arrays["llm/layers/attn/attn_vec_einsum/w"][i]),
             queries.reshape(5, -1) @ w("self_attn.o").T)
        gate, up = arrays["llm/layers/mlp/gating_einsum"][i]
        same(x @ gate, x @ w("mlp.gate").T)
        same((x @ up) @ arrays["llm/layers/mlp/linear"][i], (x @ w("mlp.up").T) @ w("mlp.down").T)
    return arrays


def make_big_vision(folder):
    weights, config = load_file(f"{folder}/published/model.safetensors"), read_config(folder)
    arrays = vision(weights, config["vision_config"]) | text(weights, config["text_config"])
    assert sum(a.size for a in arrays.values()) == sum(w.size for w in weights.values())
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    os.makedirs(f"{folder}/big_vision", exist_ok=True)
    np.savez(f"{folder}/big_vision/paligemma.npz", **arrays)
    shutil.copy(f"{folder}/published/config.json", f"{folder}/big_vision")
    print(f"{folder}/big_vision: {len(arrays)} arrays")


def make_pytorch(folder):
    weights = load_torch(f"{folder}/published/model.safetensors")
    os.makedirs(f"{folder}/pytorch", exist_ok=True)
    small = {name: weight.bfloat16() for name, weight in weights.items()}
    # One tensor is the end of a larger storage, one is a parameter.
    first, second = sorted(small)[:2]
    small[first] = torch.cat([torch.zeros(3, dtype=torch.bfloat16), small[first].flatten()])[3:].reshape(small[first].shape)
    small[second] = torch.nn.Parameter(small[second])
    torch.save(small, f"{folder}/pytorch/pytorch_model.bin")
    shutil.copy(f"{folder}/published/config.json", f"{folder}/pytorch")

    os.makedirs(f"{folder}/pytorch_sharded", exist_ok=True)
    names = sorted(weights)
    placed = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({name: weights[name] for name in part}, f"{folder}/pytorch_sharded/{file}")
        placed |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": sum(w.nbytes for w in weights.values())}, "weight_map": placed}
    with open(f"{folder}/pytorch_sharded/pytorch_model.bin.index.json", "w") as file:
        json.dump(index, file, indent=1)
    shutil.copy(f"{folder}/published/config.json", f"{folder}/pytorch_sharded")


def make_adapter(folder):
    os.makedirs(f"{folder}/adapter_bin", exist_ok=True)
    torch.save(load_torch(f"{folder}/adapter/adapter_model.safetensors"), f"{folder}/adapter_bin/adapter_model.bin")
    shutil.copy(f"{folder}/adapter/adapter_config.json", f"{folder}/adapter_bin")


def burn_store(*words):
    """Runs tests/burnpack, burn's own reader and writer."""
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    subprocess.run(["cargo", "run", "--quiet", "--manifest-path", f"{root}/tests/burnpack/Cargo.toml",
                    "--target-dir", f"{root}/target/burnpack", "--", *words], check=True)


def make_burnpack(folder):
    os.makedirs(f"{folder}/burnpack", exist_ok=True)
    burn_store("write", f"{folder}/published/model.safetensors", f"{folder}/burnpack/model.bpk")
    shutil.copy(f"{folder}/published/config.json", f"{folder}/burnpack")


def read_config(folder):
    with open(f"{folder}/published/config.json") as file:
        return json.load(file)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name in ("tiny_pg1", "tiny_pg2"):
        make_big_vision(f"{sys.argv[1]}/{name}")
    make_pytorch(f"{sys.argv[1]}/tiny_pg1")
    make_adapter(f"{sys.argv[1]}/tiny_pg1")
    make_burnpack(f"{sys.argv[1]}/tiny_pg1")
