"""Steps of training transformers' PaliGemma on PyTorch's CPU backend, as one line of JSON.

The same work as this project's step: a picture passes the tower once, however many prompts ask
about it, and the head meets only what an answer is predicted from. See docs/benchmarks.md.
Started by `cargo xtask bench-training`.
"""

import argparse
import json
import os
import sys
import time
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

import torch
import transformers
from transformers import PaliGemmaForConditionalGeneration

WARM_UP = 3


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--pixels", required=True, help="float32, [I, 3, S, S]")
    parser.add_argument("--rows", required=True, help="JSON: picture, prefix and suffix of each row")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--frozen", action="store_true", help="the tower's weights stay")
    return parser.parse_args()


def peak_memory():
    """The most memory that this process has held, of which mapped files are a part."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024


class Batch:
    """Everything that a step takes, as tensors."""

    def __init__(self, rows, pixels, features, pad):
        longest = max(len(row["prefix"]) + len(row["suffix"]) for row in rows)
        slots, tokens, weights, texts, kinds, masks = [], [], [], [], [], []
        for i, row in enumerate(rows):
            prefix, suffix = row["prefix"], row["suffix"]
            known, rest = features + len(prefix), longest - len(prefix) - len(suffix)
            texts.append(prefix + suffix + [pad] * rest)
            kinds.append([0] * known + [1] * (len(suffix) + rest))
            masks.append([1] * (known + len(suffix)) + [0] * rest)
            first = i * (features + longest) + known - 1
            slots += range(first, first + len(suffix))
            tokens += suffix
            weights += [1 / (len(suffix) * len(rows))] * len(suffix)
        self.pixels = pixels
        self.pictures = torch.tensor([row["picture"] for row in rows])
        self.text, self.kinds, self.mask = (torch.tensor(x) for x in (texts, kinds, masks))
        self.slots, self.tokens = torch.tensor(slots), torch.tensor(tokens)
        self.weights = torch.tensor(weights)


def loss(model, batch, frozen):
    """Cross-entropy of the answers, mean per example, then over the batch."""
    with torch.set_grad_enabled(not frozen):
        seen = model.model.vision_tower(batch.pixels).last_hidden_state
    features = model.model.multi_modal_projector(seen).index_select(0, batch.pictures)
    embeds = torch.cat([features, model.get_input_embeddings()(batch.text)], dim=1)
    hidden = model.model(
        inputs_embeds=embeds,
        attention_mask=batch.mask,
        token_type_ids=batch.kinds,
        use_cache=False,
    ).last_hidden_state
    logits = model.lm_head(hidden.flatten(0, 1).index_select(0, batch.slots))
    each = torch.nn.functional.cross_entropy(logits, batch.tokens, reduction="none")
    return (each * batch.weights).sum()


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.set_num_interop_threads(1)
    model = PaliGemmaForConditionalGeneration.from_pretrained(
        args.model, dtype=torch.float32, attn_implementation="sdpa"
    ).train()
    model.model.vision_tower.requires_grad_(not args.frozen)
    size = model.config.vision_config.image_size
    raw = bytearray(open(args.pixels, "rb").read())
    pixels = torch.frombuffer(raw, dtype=torch.float32).reshape(-1, 3, size, size)
    features = (size // model.config.vision_config.patch_size) ** 2
    with open(args.rows) as file:
        rows = json.load(file)
    batch = Batch(rows, pixels, features, model.config.text_config.pad_token_id or 0)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=args.rate, eps=1e-8, weight_decay=0.0, fused=True)

    losses = []
    for step in range(WARM_UP + args.steps):
        if step == WARM_UP:
            start = time.perf_counter()
        value = loss(model, batch, args.frozen)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(value.item())
    step_s = (time.perf_counter() - start) / args.steps
    print(
        json.dumps(
            {
                "engine": "transformers",
                "version": f"{transformers.__version__}, PyTorch {torch.__version__}",
                "threads": torch.get_num_threads(),
                "step_s": step_s,
                "prompts_per_s": len(rows) / step_s,
                "first_loss": losses[0],
                "last_loss": losses[-1],
                "peak_rss_bytes": peak_memory(),
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
