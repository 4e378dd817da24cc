#!/usr/bin/env python3
"""A tiny ColPali: the tiny PaliGemma with a random head, as transformers writes it.

usage: make_colpali.py OUTDIR

Reads OUTDIR/tiny_pg1 (make_golden.py) and writes OUTDIR/tiny_pg1/colpali: config.json and
model.safetensors of ColPaliForRetrieval, and golden.safetensors with two pages and two queries,
their embeddings and the late-interaction scores of ColPaliProcessor.

The model is given token types, without which one attention kernel sees a causal prefix and another a
bidirectional one; all is prefix here, as ColPali was trained.
"""

import os
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    ColPaliConfig, ColPaliForRetrieval, ColPaliProcessor, PaliGemmaForConditionalGeneration)

WIDTH = 16
BOS, NEWLINE, IMAGE, TOKENS = 2, 10, 300, 16


def build(folder):
    base = PaliGemmaForConditionalGeneration.from_pretrained(
        f"{folder}/published", attn_implementation="eager", dtype=torch.float32)
    config = ColPaliConfig(vlm_config=base.config, embedding_dim=WIDTH)
    config._attn_implementation = "eager"
    model = ColPaliForRetrieval(config).eval()
    model.vlm.load_state_dict(base.model.state_dict())
    generator = torch.Generator().manual_seed(128)
    head = model.embedding_proj_layer
    head.weight.copy_(torch.randn(head.weight.shape, generator=generator) / 7)
    head.bias.copy_(torch.randn(head.bias.shape, generator=generator) / 7)
    return model


def embed(model, ids, pixels=None):
    ids = torch.tensor([ids])
    kinds = torch.zeros_like(ids)
    return model(input_ids=ids, pixel_values=pixels, token_type_ids=kinds,
                 attention_mask=torch.ones_like(ids)).embeddings[0]


@torch.no_grad()
def main(out):
    folder = f"{out}/tiny_pg1"
    model = build(folder)
    golden = load_file(f"{folder}/golden.safetensors")
    pixels = golden["d.in.pixel_values"]
    page = [IMAGE] * TOKENS + [BOS, 21, 22, 23, NEWLINE]
    pages = [embed(model, page, picture[None]) for picture in pixels]
    questions = [[BOS, 31, 32, 33] + [0] * 10 + [NEWLINE], [BOS, 41] + [0] * 10 + [NEWLINE]]
    queries = [embed(model, ids) for ids in questions]
    scores = ColPaliProcessor.score_retrieval(None, queries, pages, output_device="cpu")
    os.makedirs(f"{folder}/colpali", exist_ok=True)
    model.save_pretrained(f"{folder}/colpali")
    made = {"pixels": pixels.contiguous(), "page.ids": torch.tensor(page[TOKENS:]), "scores": scores}
    for i in range(2):
        made |= {f"page{i}": pages[i].contiguous(), f"query{i}": queries[i].contiguous(),
                 f"query{i}.ids": torch.tensor(questions[i])}
    save_file(made, f"{folder}/colpali/golden.safetensors")


torch.set_num_threads(1)
main(sys.argv[1])
