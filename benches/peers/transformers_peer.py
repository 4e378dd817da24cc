"""transformers' PaliGemma on PyTorch, stage by stage, as one line of JSON.

See docs/benchmarks.md for what each number is. Started by `cargo xtask bench-peers`.
"""

import time

BEGUN = time.time()

import argparse
import json
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

import torch
import transformers
from transformers import PaliGemmaForConditionalGeneration

ROWS = 8
WARM_UP = 2


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--pixels", required=True, help="float32, [3, S, S]")
    parser.add_argument("--ids", required=True, help="text tokens, separated by commas")
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f32"])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--tokens", type=int, default=16)
    return parser.parse_args()


def finish():
    """Waits for a GPU, which works behind the program."""
    if torch.get_default_device().type == "cuda":
        torch.cuda.synchronize()


def timed(work):
    start = time.perf_counter()
    value = work()
    finish()
    return value, time.perf_counter() - start


def peak_memory():
    """The most memory that this process has held, of which mapped files are a part."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024


def encode(model, pixels):
    features = model.get_image_features(pixels)
    features = getattr(features, "pooler_output", features)
    return torch.stack(list(features)) if isinstance(features, (list, tuple)) else features


def prefill(model, features, ids):
    """Logits after the prompt, and the cache."""
    image = torch.full((1, features.shape[1]), model.config.image_token_id)
    tokens = torch.cat([image, ids], dim=1)
    embeds = model.get_input_embeddings()(tokens).clone()
    embeds[:, : features.shape[1]] = features
    out = model(
        inputs_embeds=embeds,
        attention_mask=torch.ones_like(tokens),
        token_type_ids=torch.zeros_like(tokens),
        use_cache=True,
        logits_to_keep=1,
    )
    return out.logits[:, -1], out.past_key_values


def decode(model, cache, tokens, count):
    """Tokens per second of all rows together, each going on with what is likeliest."""
    rows = tokens.shape[0]
    for step in range(WARM_UP + count):
        if step == WARM_UP:
            finish()
            start = time.perf_counter()
        mask = torch.ones(rows, cache.get_seq_length() + 1, dtype=torch.long)
        out = model(
            input_ids=tokens,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        tokens = out.logits[:, -1].argmax(-1, keepdim=True)
    finish()
    return rows * count / (time.perf_counter() - start)


@torch.inference_mode()
def main():
    started = float(os.environ.get("PALIGEMMA_BENCH_STARTED", BEGUN))
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.set_num_interop_threads(1)
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[args.dtype]
    raw = bytearray(open(args.pixels, "rb").read())
    pixels = torch.frombuffer(raw, dtype=torch.float32).to(args.device)
    if args.device != "cpu":
        # It has a cost at every call.
        torch.set_default_device(args.device)
    ids = torch.tensor([[int(word) for word in args.ids.split(",")]])

    def load():
        return PaliGemmaForConditionalGeneration.from_pretrained(
            args.model, dtype=dtype, attn_implementation="sdpa"
        ).to(args.device).eval()

    model, load_s = timed(load)
    size = model.config.vision_config.image_size
    pixels = pixels.reshape(1, 3, size, size).to(dtype)

    features = encode(model, pixels)
    logits, cache = prefill(model, features, ids)
    token = logits.argmax(-1).item()
    first_token_s = time.time() - started

    features, vision_s = timed(lambda: encode(model, pixels))
    (logits, cache), prefill_s = timed(lambda: prefill(model, features, ids))
    last = logits[0].float()
    alone = decode(model, cache, torch.tensor([[token]]), args.tokens)

    _, cache = prefill(model, features, ids)
    cache.batch_repeat_interleave(ROWS)
    rows = torch.tensor([[(token + row) % 1024] for row in range(ROWS)])
    together = decode(model, cache, rows, args.tokens)

    print(
        json.dumps(
            {
                "engine": "transformers",
                "device": args.device,
                "version": f"{transformers.__version__}, PyTorch {torch.__version__}",
                "dtype": args.dtype,
                "threads": torch.get_num_threads(),
                "load_s": load_s,
                "first_token_s": first_token_s,
                "vision_s": vision_s,
                "prefill_s": prefill_s,
                "decode_tokens_per_s": alone,
                "batch8_tokens_per_s": together,
                "peak_rss_bytes": peak_memory(),
                "first_token": token,
                "logits_norm": last.norm().item(),
                "last_logits": last[:8].tolist(),
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
