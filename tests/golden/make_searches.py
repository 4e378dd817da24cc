#!/usr/bin/env python3
"""Beam searches of the tiny models whose answers end early.

usage: make_searches.py FOLDER

FOLDER is the one that make_golden.py filled; its models never write <eos> by themselves. Here
other tokens, which they do write, stand in for <eos>, so that beams end at different lengths and
the search may stop before its limit. It writes

  tiny_*/searches.json  for each search its options, and all its answers with their scores
"""

import json
import sys

import torch
from safetensors.torch import load_file
from transformers import PaliGemmaForConditionalGeneration

# Tokens that stand in for <eos>, with beams and new tokens.
SEARCHES = {
    "pg1": [(233, 2, 12), (233, 3, 12), (233, 4, 16), (298, 2, 12), (298, 3, 12), (38, 2, 12),
            (38, 4, 16), (20, 3, 12), (7, 2, 12), (7, 3, 12), (137, 3, 7), (144, 2, 12)],
    "pg2": [(233, 2, 12), (308, 3, 12), (98, 2, 12), (98, 4, 16), (235, 3, 12), (109, 2, 12),
            (52, 3, 12), (45, 2, 16), (317, 4, 12), (2, 3, 7)],
}


def make(tiny, wanted):
    model = PaliGemmaForConditionalGeneration.from_pretrained(
        f"{tiny}/published", attn_implementation="eager", dtype=torch.float32).eval()
    golden = load_file(f"{tiny}/golden.safetensors")
    inputs = {name: golden[f"a.in.{name}"]
              for name in ("input_ids", "attention_mask", "token_type_ids", "pixel_values")}
    prompt = inputs["input_ids"].shape[1]
    searches = []
    for eos, beams, tokens in wanted:
        out = model.generate(
            **inputs, num_beams=beams, num_return_sequences=beams, max_new_tokens=tokens,
            do_sample=False, eos_token_id=eos, return_dict_in_generate=True, output_scores=True)
        answers = []
        for row in out.sequences[:, prompt:].tolist():
            # What follows the end is padding.
            length = row.index(eos) + 1 if eos in row else len(row)
            answers.append(row[:length])
        searches.append({"eos": eos, "num_beams": beams, "max_new_tokens": tokens,
                         "answers": answers, "scores": out.sequences_scores.tolist()})
        print(eos, beams, tokens, [len(answer) for answer in answers], out.sequences_scores.tolist())
    with open(f"{tiny}/searches.json", "w", encoding="utf-8") as file:
        json.dump(searches, file)
        file.write("\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    for kind, wanted in SEARCHES.items():
        make(f"{sys.argv[1]}/tiny_{kind}", wanted)
