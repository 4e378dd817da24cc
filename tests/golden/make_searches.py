#!/usr/bin/env python3
"""Beam searches of the tiny model whose answers end early.

usage: make_searches.py FOLDER

FOLDER is the one that make_golden.py filled; its model never writes <eos> by itself. Here other
tokens, which it does write, stand in for <eos>, so that beams end at different lengths and
the search may stop before its limit. It writes

  tiny_pg1/searches.json  for each search its options, and all its answers with their scores
"""

import json
import sys

import torch
from safetensors.torch import load_file
from transformers import PaliGemmaForConditionalGeneration

# Tokens that stand in for <eos>, with beams and new tokens.
SEARCHES = [(233, 2, 12), (233, 3, 12), (233, 4, 16), (298, 2, 12), (298, 3, 12), (38, 2, 12),
            (38, 4, 16), (20, 3, 12), (7, 2, 12), (7, 3, 12), (137, 3, 7), (144, 2, 12)]


def main(folder):
    torch.set_num_threads(1)
    tiny = f"{folder}/tiny_pg1"
    model = PaliGemmaForConditionalGeneration.from_pretrained(
        f"{tiny}/published", attn_implementation="eager", dtype=torch.float32).eval()
    golden = load_file(f"{tiny}/golden.safetensors")
    inputs = {name: golden[f"a.in.{name}"]
              for name in ("input_ids", "attention_mask", "token_type_ids", "pixel_values")}
    prompt = inputs["input_ids"].shape[1]
    searches = []
    for eos, beams, tokens in SEARCHES:
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


main(sys.argv[1])
