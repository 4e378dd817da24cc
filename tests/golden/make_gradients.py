#!/usr/bin/env python3
"""Gradients of the training loss for every parameter of the tiny models.

usage: make_gradients.py FOLDER

FOLDER is the one that make_golden.py filled. The model is written again here, in JAX and float64,
from the published names and nothing else, and differentiated automatically; its intermediate values,
logits and loss must first agree with golden.safetensors. For the cases b (one example) and
b_batch_right (two of different lengths: mean per example, then over the batch) it writes

  tiny_*/gradients.safetensors  CASE.training_loss, and CASE.gradient.NAME for each NAME of the
                                published file; steps.losses and steps.norms: the loss of
                                b_batch_right before each of four steps of torch's AdamW and after
                                the last, and the norm of all gradients before each

What it prints of each value, its size and how far float32 is from float64, is what tolerances rest on.
"""

import json
import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import torch
from safetensors.numpy import load_file, save_file

jax.config.update("jax_enable_x64", True)

EPSILON = 1e-6
THETA = 10_000.0
# What golden.safetensors, in float32, may differ by from the values here: logits, log-probabilities
# and loss are of ordinary size, the decoder's last hidden states are not.
CLOSE = {"logits": 5e-5, "loss": 5e-6, "relative": 5e-6}

# The recipe of the steps: warm-up, top and the way down are all met, gradients are clipped in all of
# them, and the decay is large enough to be seen.
RECIPE = {"rate": 3e-3, "decay": 1e-2, "clip": 0.5, "warmup": 2, "steps": 5}
STEPS = 4


def layer_norm(x, weights, name):
    centred = x - x.mean(-1, keepdims=True)
    scale = jnp.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
    return centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def rms_norm(x, weight):
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + EPSILON) * (1 + weight)


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)


def gelu(x):
    return 0.5 * x * (1 + jnp.tanh(jnp.sqrt(2 / jnp.pi) * (x + 0.044715 * x**3)))


def softcap(x, cap):
    return x if cap is None else cap * jnp.tanh(x / cap)


def attention(q, k, v, attends, divisor=None, cap=None):
    """Heads last but one; keys and values may have fewer heads, each serving several queries."""
    k, v = (jnp.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    scores = jnp.einsum("blhc,bshc->bhls", q, k) / np.sqrt(divisor or q.shape[-1])
    scores = softcap(scores, cap)
    scores = jnp.where(attends[:, None], scores, -jnp.inf)
    out = jnp.einsum("bhls,bshc->blhc", jax.nn.softmax(scores, -1), v)
    return out.reshape(*out.shape[:2], -1)


def heads(x, count):
    return x.reshape(*x.shape[:2], count, -1)


def rotate(x, positions):
    half = x.shape[-1] // 2
    angles = positions[..., None] * THETA ** (-np.arange(half) / half)
    cos, sin = jnp.cos(angles)[:, :, None], jnp.sin(angles)[:, :, None]
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def vision(weights, config, pixels, seen):
    root = "vision_tower.vision_model"
    kernel = weights[f"{root}.embeddings.patch_embedding.weight"]
    patch, side = config["patch_size"], pixels.shape[-1] // config["patch_size"]
    patches = pixels.reshape(len(pixels), -1, side, patch, side, patch)
    x = jnp.einsum("bcyhxw,dchw->byxd", patches, kernel).reshape(len(pixels), side**2, -1)
    x = x + weights[f"{root}.embeddings.patch_embedding.bias"]
    x = x + weights[f"{root}.embeddings.position_embedding.weight"]
    seen["vision_embeddings"] = x
    everyone = jnp.ones((1, x.shape[1], x.shape[1]), bool)
    for number in range(config["num_hidden_layers"]):
        layer = f"{root}.encoder.layers.{number}"
        y = layer_norm(x, weights, f"{layer}.layer_norm1")
        q, k, v = (heads(linear(y, weights, f"{layer}.self_attn.{name}_proj"),
                         config["num_attention_heads"]) for name in "qkv")
        x = x + linear(attention(q, k, v, everyone), weights, f"{layer}.self_attn.out_proj")
        y = layer_norm(x, weights, f"{layer}.layer_norm2")
        x = x + linear(gelu(linear(y, weights, f"{layer}.mlp.fc1")), weights, f"{layer}.mlp.fc2")
        seen[f"vision_layer{number}"] = x
    seen["vision_last_hidden_state"] = layer_norm(x, weights, f"{root}.post_layernorm")
    return seen["vision_last_hidden_state"]


def forward(weights, config, inputs):
    """Every value on the way to the logits, by the names of golden.safetensors."""
    seen = {}
    features = vision(weights, config["vision_config"], inputs["pixel_values"], seen)
    features = seen["projector"] = linear(features, weights, "multi_modal_projector.linear")
    text, root = config["text_config"], "language_model.model"
    table = weights[f"{root}.embed_tokens.weight"]
    ids, count = inputs["input_ids"], features.shape[1]
    words = table[ids[:, count:]] * np.sqrt(table.shape[1])
    x = seen["inputs_embeds"] = jnp.concatenate([features, words], 1)
    # big_vision: a token sees those before whose running sum of suffix tokens is no larger.
    block = jnp.cumsum(inputs["token_type_ids"], 1)
    attends = (block[:, None, :] <= block[:, :, None]) & (inputs["attention_mask"][:, None, :] == 1)
    positions = jnp.broadcast_to(jnp.arange(x.shape[1]), ids.shape)
    # In every second layer of Gemma 2 an answer token sees no further back than the window.
    distance = positions[:, :, None] - positions[:, None, :]
    answers = inputs["token_type_ids"][:, :, None] == 1
    near = attends & ~(answers & (distance >= text.get("sliding_window", x.shape[1])))
    second = text["model_type"] == "gemma2"

    def norm(x, layer, name):
        return rms_norm(x, weights[f"{layer}.{name}_layernorm.weight"])

    for number in range(text["num_hidden_layers"]):
        layer = f"{root}.layers.{number}"
        y = rms_norm(x, weights[f"{layer}.input_layernorm.weight"])
        q = heads(linear(y, weights, f"{layer}.self_attn.q_proj"), text["num_attention_heads"])
        k, v = (heads(linear(y, weights, f"{layer}.self_attn.{name}_proj"),
                      text["num_key_value_heads"]) for name in "kv")
        y = attention(rotate(q, positions), rotate(k, positions), v,
                      attends if number % 2 else near,
                      text.get("query_pre_attn_scalar"), text.get("attn_logit_softcapping"))
        y = linear(y, weights, f"{layer}.self_attn.o_proj")
        x = x + (norm(y, layer, "post_attention") if second else y)
        y = norm(x, layer, "pre_feedforward" if second else "post_attention")
        gate = gelu(linear(y, weights, f"{layer}.mlp.gate_proj"))
        y = gate * linear(y, weights, f"{layer}.mlp.up_proj")
        y = linear(y, weights, f"{layer}.mlp.down_proj")
        x = x + (norm(y, layer, "post_feedforward") if second else y)
        seen[f"text_layer{number}"] = x
    x = seen["text_norm"] = rms_norm(x, weights[f"{root}.norm.weight"])
    seen["logits"] = softcap(x @ table.T, text.get("final_logit_softcapping"))
    return seen


def losses(weights, config, inputs):
    """The mean per example then over the batch, and the reference's: over all answer tokens."""
    seen = forward(weights, config, inputs)
    labels = inputs["labels"][:, 1:]
    known = labels >= 0
    rows = jax.nn.log_softmax(seen["logits"][:, :-1], -1)
    rows = jnp.take_along_axis(rows, jnp.where(known, labels, 0)[..., None], -1)[..., 0] * known
    return -(rows.sum(1) / known.sum(1)).mean(), (-rows.sum() / known.sum(), seen)


def check(case, golden, over_tokens, seen):
    """Refuses to write gradients of another model than the reference's."""
    assert abs(float(golden[f"{case}.loss"][0] - over_tokens)) < CLOSE["loss"]
    present = golden[f"{case}.in.attention_mask"] == 1
    for name, value in seen.items():
        if f"{case}.{name}" not in golden:
            continue
        theirs, ours = golden[f"{case}.{name}"], np.asarray(value)
        if theirs.shape[:2] == present.shape:
            theirs, ours = theirs[present], ours[present]
        error, size = np.abs(theirs - ours).max(), np.abs(ours).max()
        print(f"{case}.{name}: the reference differs by {error:.1e}, values reach {size:.3g}")
        assert error < (CLOSE["logits"] if name == "logits" else CLOSE["relative"] * size), name


def factor(step):
    """Linear warm-up from 0 to 1, then a cosine to 0: big_vision's create_learning_rate_schedule."""
    warmup, steps = RECIPE["warmup"], RECIPE["steps"]
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + np.cos(np.pi * (step - warmup) / (steps - warmup)))


def is_kernel(name, value):
    """What big_vision decays: products and convolutions of tower and projector."""
    outside = name.startswith(("vision_tower.", "multi_modal_projector."))
    return outside and name.endswith(".weight") and value.ndim > 1 and "position_embedding" not in name


def train(weights, config, inputs):
    """Losses and norms of steps by torch's AdamW, all in float64."""
    tensors = {name: torch.from_numpy(value.copy()).requires_grad_() for name, value in weights.items()}
    kernels = [tensor for name, tensor in tensors.items() if is_kernel(name, tensor)]
    others = [tensor for name, tensor in tensors.items() if not is_kernel(name, tensor)]
    # torch multiplies the decay by the rate; big_vision's goes with the schedule alone.
    decay = RECIPE["decay"] / RECIPE["rate"]
    groups = [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=RECIPE["rate"], betas=(0.9, 0.999), eps=1e-8)
    schedule = torch.optim.lr_scheduler.LambdaLR(adamw, factor)
    differentiate = jax.jit(jax.value_and_grad(lambda at: losses(at, config, inputs)[0]))
    values, norms = [], []
    for _ in range(STEPS):
        loss, gradients = differentiate({n: t.detach().numpy() for n, t in tensors.items()})
        for name, tensor in tensors.items():
            tensor.grad = torch.from_numpy(np.array(gradients[name]))
        values.append(float(loss))
        norms.append(float(torch.nn.utils.clip_grad_norm_(tensors.values(), RECIPE["clip"])))
        adamw.step()
        schedule.step()
    loss, _ = differentiate({n: t.detach().numpy() for n, t in tensors.items()})
    values.append(float(loss))
    print(f"{len(kernels)} kernels of {len(tensors)} tensors; losses {values}, norms {norms}")
    assert min(norms) > RECIPE["clip"], "nothing is clipped"
    return {"steps.losses": np.array(values), "steps.norms": np.array(norms)}


def make(folder):
    with open(f"{folder}/published/config.json") as file:
        config = json.load(file)
    weights = load_file(f"{folder}/published/model.safetensors")
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    golden = load_file(f"{folder}/golden.safetensors")
    kept = {}
    for case in ("b", "b_batch_right"):
        inputs = {name.removeprefix(f"{case}.in."): value for name, value in golden.items()
                  if name.startswith(f"{case}.in.")}
        inputs["pixel_values"] = inputs["pixel_values"].astype(np.float64)
        differentiate = jax.value_and_grad(losses, has_aux=True)
        (loss, (over_tokens, seen)), gradients = differentiate(weights, config, inputs)
        check(case, golden, over_tokens, seen)
        kept[f"{case}.training_loss"] = np.asarray(loss).reshape(1)
        kept.update(
            {f"{case}.gradient.{name}": np.asarray(value) for name, value in gradients.items()})
    kept.update(train(weights, config, inputs))
    kept = {name: np.ascontiguousarray(value, np.float32) for name, value in kept.items()}
    save_file(kept, f"{folder}/gradients.safetensors")
    print(f"{folder}: {len(kept)} tensors")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for kind in ("pg1", "pg2"):
        make(f"{sys.argv[1]}/tiny_{kind}")
