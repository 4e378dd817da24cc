#!/usr/bin/env python3
"""A LoRA adapter of the tiny PaliGemma, as PEFT writes it, and what PEFT computes with it.

usage: make_adapters.py OUTDIR

Reads OUTDIR/tiny_pg1 (make_golden.py) and writes beside its files

  adapter/             adapter_config.json and adapter_model.safetensors of the pinned PEFT, on the
                       matrices of the decoder; A and B are random
  adapter_published/   the same with the names that PEFT wrote before transformers 4.52, when
                       modules were called as the published tensors are
  adapters.safetensors logits of the cases a and b, the loss of b, its gradients for A and B, and
                       the weights that PEFT has after merging, under their published names
"""

import json
import os
import shutil
import sys

import torch
from make_golden import published_name
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import PaliGemmaForConditionalGeneration

RANK, ALPHA, DROPOUT = 3, 5, 0.1
TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def base(folder):
    return PaliGemmaForConditionalGeneration.from_pretrained(
        f"{folder}/published", attn_implementation="eager", dtype=torch.float32).eval()


def inputs(golden, case):
    start = f"{case}.in."
    return {name.removeprefix(start): v for name, v in golden.items() if name.startswith(start)}


def randomize(model):
    """Both factors random: a new adapter's B is zero, and changes nothing."""
    generator = torch.Generator().manual_seed(77)
    for name, weight in sorted(model.named_parameters()):
        if "lora_" in name:
            with torch.no_grad():
                weight.copy_(torch.randn(weight.shape, generator=generator) / weight.shape[1] ** 0.5)


def short(name):
    """`language_model.layers.0.self_attn.q_proj.lora_A` of a parameter of PEFT."""
    return name.removeprefix("base_model.model.model.").removesuffix(".default.weight")


def write_older(folder):
    """Before transformers 4.52 the decoder was `language_model.model`."""
    os.makedirs(f"{folder}/adapter_published", exist_ok=True)
    shutil.copy(f"{folder}/adapter/adapter_config.json", f"{folder}/adapter_published")
    newer, older = "base_model.model.model.language_model.", "base_model.model.language_model.model."
    weights = load_file(f"{folder}/adapter/adapter_model.safetensors")
    assert all(name.startswith(newer) for name in weights)
    weights = {older + name[len(newer):]: value for name, value in weights.items()}
    save_file(weights, f"{folder}/adapter_published/adapter_model.safetensors",
              metadata={"format": "pt"})


def make(folder):
    torch.set_num_threads(1)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules=TARGETS,
                        task_type="CAUSAL_LM")
    model = get_peft_model(base(folder), config).eval()
    randomize(model)
    # Where the base is does not belong into a golden file.
    model.peft_config["default"].base_model_name_or_path = "published"
    model.save_pretrained(f"{folder}/adapter")
    os.remove(f"{folder}/adapter/README.md")
    write_older(folder)

    golden, kept = load_file(f"{folder}/golden.safetensors"), {}
    with torch.no_grad():
        kept["a.logits"] = model(**inputs(golden, "a")).logits
    out = model(**inputs(golden, "b"))
    out.loss.backward()
    kept["b.logits"], kept["b.loss"] = out.logits.detach(), out.loss.detach().reshape(1)
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            kept[f"b.gradient.{short(name)}"] = weight.grad
    assert len(kept) == 3 + 2 * 7 * 2, sorted(kept)

    with torch.no_grad():
        loaded = PeftModel.from_pretrained(base(folder), f"{folder}/adapter").eval()
        assert torch.equal(loaded(**inputs(golden, "a")).logits, kept["a.logits"])
        merged = loaded.merge_and_unload()
        agreement = (merged(**inputs(golden, "a")).logits - kept["a.logits"]).abs().max()
    print(f"{folder}: merged and unmerged differ by {agreement:.1e}")
    for name, weight in merged.named_parameters():
        if name.endswith("_proj.weight") and "language_model" in name:
            kept[f"merged.{published_name(name)}"] = weight.detach()
    kept = {name: value.contiguous() for name, value in kept.items()}
    save_file(kept, f"{folder}/adapters.safetensors")
    print(f"{folder}: {len(kept)} tensors of {sorted(json.load(open(f'{folder}/adapter/adapter_config.json')))}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make(f"{sys.argv[1]}/tiny_pg1")
