#!/usr/bin/env python3
"""Whether PEFT and transformers load what this project writes, and what they compute with it.

usage: check_adapters.py FOLDER

FOLDER is the one that make_lora.py filled. In FOLDER/written

  adapter/  an adapter as the project writes it: PEFT has to take every tensor of it, find none
            missing, and compute the logits of the adapter it was read from
  merged/   a merged export: transformers has to find no tensor missing or unexpected, and compute
            the same logits; it writes those of the case a to FOLDER/tiny_pg1/merged.safetensors

The tests of paligemma-checkpoint show that the project still writes these very files; its ignored
test `write_fixtures` makes them anew.
"""

import sys
import warnings

import torch
from make_lora import base, inputs
from peft import PeftConfig, PeftModel
from safetensors.torch import load_file, save_file
from transformers import PaliGemmaForConditionalGeneration

# Two orders of the same f32 sums.
CLOSE = 2e-5


def check_adapter(folder, golden, expected):
    config = PeftConfig.from_pretrained(f"{folder}/../written/adapter")
    assert (config.r, config.lora_alpha, config.base_model_name_or_path) == (3, 5, "published")
    with warnings.catch_warnings():
        # PEFT warns of tensors that an adapter lacks.
        warnings.filterwarnings("error", message=".*(missing|unexpected).*")
        model = PeftModel.from_pretrained(base(folder), f"{folder}/../written/adapter").eval()
    adapted = {name for name, _ in model.named_parameters() if "lora_" in name}
    named = load_file(f"{folder}/../written/adapter/adapter_model.safetensors")
    assert adapted == {name.replace(".weight", ".default.weight") for name in named}
    assert not any("vision_tower" in name for name in adapted)
    error = (model(**inputs(golden, "a")).logits - expected).abs().max()
    print(f"adapter: {len(adapted)} tensors, logits within {error:.1e}")
    assert error < CLOSE


def check_merged(folder, golden, expected):
    model, info = PaliGemmaForConditionalGeneration.from_pretrained(
        f"{folder}/../written/merged", attn_implementation="eager", dtype=torch.float32,
        output_loading_info=True)
    assert not any(info.values()), info
    error = (model.eval()(**inputs(golden, "a")).logits - expected).abs().max()
    print(f"merged: nothing missing or unexpected, logits within {error:.1e}")
    assert error < CLOSE
    kept = {f"{case}.logits": model(**inputs(golden, case)).logits.contiguous() for case in ("a",)}
    save_file(kept, f"{folder}/merged.safetensors")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    tiny = f"{sys.argv[1]}/tiny_pg1"
    golden = load_file(f"{tiny}/golden.safetensors")
    expected = load_file(f"{tiny}/adapters.safetensors")["a.logits"]
    check_adapter(tiny, golden, expected)
    check_merged(tiny, golden, expected)
