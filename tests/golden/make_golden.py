#!/usr/bin/env python3
"""Tiny PaliGemma models and what the reference implementation computes with them.

usage: make_golden.py OUTDIR

Seeded random weights, float32, eager attention, one thread on the CPU. For Gemma (tiny_pg1) and
Gemma 2 (tiny_pg2) it writes

  published/          config.json and model.safetensors under the names of the published files
  sharded/            the same in several shards, with model.safetensors.index.json
  hf_v452/            the names that transformers 4.52 to 4.57 wrote
  hf_v5/              what save_pretrained of the pinned transformers writes
  golden.safetensors  inputs and every intermediate value of the cases below
  golden.json         constants, shapes, and the reference's agreement with itself

Cases: a prefill, a_no_tt the same without token types (a causal prefix, wrong for PaliGemma),
b training, c ragged batches, d two images, e generation, f log-probabilities by cached decoding.
"""

import copy
import json
import math
import os
import shutil
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import DynamicCache, PaliGemmaConfig, PaliGemmaForConditionalGeneration

VOCABULARY, IMAGE, PAD, EOS, BOS, NEWLINE = 320, 300, 0, 1, 2, 10
IMAGE_TOKENS = 16
WIDTH = 48
PROMPT = [IMAGE] * IMAGE_TOKENS + [BOS, 21, 57, 133, 210, NEWLINE]
SHORT_PROMPT = [IMAGE] * IMAGE_TOKENS + [BOS, 99, 7, NEWLINE]
TWO_IMAGES_PROMPT = [IMAGE] * (2 * IMAGE_TOKENS) + [BOS, 21, 57, 133, NEWLINE]
SUFFIX = [44, 201, 178, 63, 250, EOS]
SHORT_SUFFIX = SUFFIX[:3] + [EOS]
NEW_TOKENS = 12
SEEDS = {"pg1": 1234, "pg2": 9}
# Scales of the tied embedding at which greedy decoding does not just repeat its input.
EMBEDDING_SCALES = {"pg1": 0.8, "pg2": 0.4}


# ---- the models


def configuration(kind):
    vision = dict(
        model_type="siglip_vision_model", hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, image_size=56, patch_size=14, num_channels=3, layer_norm_eps=1e-6,
        hidden_act="gelu_pytorch_tanh", vision_use_head=False, projection_dim=WIDTH)
    text = dict(
        hidden_size=WIDTH, intermediate_size=96, num_attention_heads=4, head_dim=16,
        vocab_size=VOCABULARY, max_position_embeddings=256, rms_norm_eps=1e-6)
    if kind == "pg1":
        text.update(
            model_type="gemma", num_hidden_layers=2, num_key_value_heads=1,
            hidden_act="gelu_pytorch_tanh")
    else:
        text.update(
            model_type="gemma2", num_hidden_layers=4, num_key_value_heads=2,
            hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=24, sliding_window=6,
            attn_logit_softcapping=4.0, final_logit_softcapping=6.0)
    return PaliGemmaConfig(
        vision_config=vision, text_config=text, image_token_index=IMAGE, projection_dim=WIDTH,
        hidden_size=WIDTH, vocab_size=VOCABULARY, pad_token_id=PAD, bos_token_id=BOS,
        eos_token_id=EOS)


def randomize(model, kind):
    """Seeded weights whose activations and logits are of ordinary size."""
    generator = torch.Generator().manual_seed(SEEDS[kind])
    for name, weight in sorted(model.named_parameters()):
        noise = torch.randn(weight.shape, generator=generator)
        if "layer_norm" in name or "post_layernorm" in name and "vision" in name:
            value = 1 + 0.2 * noise if name.endswith("weight") else 0.1 * noise
        elif "norm" in name:  # Gemma's norms multiply by (1 + weight)
            value = 0.2 * noise
        elif name.endswith("bias"):
            value = 0.1 * noise
        elif "position_embedding" in name:
            value = 0.5 * noise
        elif "embed_tokens" in name:
            value = EMBEDDING_SCALES[kind] * noise / math.sqrt(weight.shape[1])
        elif "o_proj" in name or "down_proj" in name:
            value = 4.0 * noise / math.sqrt(weight.shape[1])
        else:
            value = 1.5 * noise / math.sqrt(weight[0].numel())
        with torch.no_grad():
            weight.copy_(value)
    model.tie_weights()


def new_model(kind):
    config = configuration(kind)
    config._attn_implementation = "eager"
    model = PaliGemmaForConditionalGeneration._from_config(
        config, attn_implementation="eager", dtype=torch.float32).eval()
    randomize(model, kind)
    model.generation_config.pad_token_id = PAD
    model.generation_config.eos_token_id = EOS
    model.generation_config.bos_token_id = BOS
    return model, config


# ---- their files


def published_name(name):
    """The name in google/paligemma-3b-pt-224 of a parameter of the pinned transformers."""
    if name.startswith("lm_head."):
        return None  # tied
    for ours, published in [
        ("model.vision_tower.", "vision_tower.vision_model."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("model.language_model.", "language_model.model."),
    ]:
        if name.startswith(ours):
            return published + name[len(ours):]
    raise ValueError(name)


def v452_name(name):
    return name.replace("model.vision_tower.", "model.vision_tower.vision_model.")


def published_configuration(config, kind):
    """config.json with the fields of the published files, which leave defaults out."""
    vision, text = config.vision_config, config.text_config
    published = {
        "architectures": ["PaliGemmaForConditionalGeneration"],
        "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD, "hidden_size": WIDTH,
        "ignore_index": -100, "image_token_index": IMAGE, "model_type": "paligemma",
        "projection_dim": WIDTH, "torch_dtype": "float32",
        "vision_config": {
            "hidden_size": vision.hidden_size, "intermediate_size": vision.intermediate_size,
            "model_type": "siglip_vision_model",
            "num_attention_heads": vision.num_attention_heads,
            "num_hidden_layers": vision.num_hidden_layers, "num_image_tokens": IMAGE_TOKENS,
            "image_size": vision.image_size, "patch_size": vision.patch_size,
            "projection_dim": WIDTH, "projector_hidden_act": "gelu_fast", "vision_use_head": False},
        "text_config": {
            "hidden_size": WIDTH, "intermediate_size": 96, "model_type": text.model_type,
            "num_attention_heads": 4, "num_hidden_layers": text.num_hidden_layers,
            "num_image_tokens": IMAGE_TOKENS, "num_key_value_heads": text.num_key_value_heads,
            "head_dim": 16, "torch_dtype": "float32", "vocab_size": VOCABULARY,
            "max_position_embeddings": 256},
    }
    if kind == "pg2":
        published["text_config"].update({
            "query_pre_attn_scalar": 24, "sliding_window": 6, "attn_logit_softcapping": 4.0,
            "final_logit_softcapping": 6.0, "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh"})
    return published


def write_json(value, path):
    with open(path, "w") as file:
        json.dump(value, file, indent=1)


def write_shards(weights, folder, limit):
    """Shards of at most `limit` bytes and their index; gives their number."""
    shards, size, total = [{}], 0, 0
    for name, weight in weights.items():
        length = weight.numel() * weight.element_size()
        total += length
        if shards[-1] and size + length > limit:
            shards.append({})
            size = 0
        shards[-1][name] = weight
        size += length
    files = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, f"{folder}/{file}", metadata={"format": "pt"})
        files.update({name: file for name in shard})
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(files.items()))}
    write_json(index, f"{folder}/model.safetensors.index.json")
    return len(shards)


def write_weights(model, config, kind, folder, notes):
    """The same weights in every layout, each proved to load back bit-equal."""
    weights = {name: w.detach().clone().contiguous() for name, w in model.state_dict().items()}
    notes["v5_param_names"] = {name: list(w.shape) for name, w in weights.items()}
    published = {published_name(name): w for name, w in weights.items() if published_name(name)}
    v452 = {v452_name(name): w for name, w in weights.items()}
    for layout in ("published", "hf_v452", "sharded"):
        os.makedirs(f"{folder}/{layout}")
        write_json(published_configuration(config, kind), f"{folder}/{layout}/config.json")
    for layout, named in (("published", published), ("hf_v452", v452)):
        named = {name: w.clone() for name, w in named.items()}  # tied weights share memory
        save_file(named, f"{folder}/{layout}/model.safetensors", metadata={"format": "pt"})
    sharded = dict(sorted(published.items()))
    notes["n_shards"] = write_shards(sharded, f"{folder}/sharded", 80_000)
    model.save_pretrained(f"{folder}/hf_v5")
    model.save_pretrained(f"{folder}/hf_v5_sharded", max_shard_size="80KB")
    notes["save_pretrained_names"] = sorted(load_file(f"{folder}/hf_v5/model.safetensors"))
    notes["published_names"] = sorted(published)
    for layout in ("published", "sharded", "hf_v452", "hf_v5", "hf_v5_sharded"):
        loaded, info = PaliGemmaForConditionalGeneration.from_pretrained(
            f"{folder}/{layout}", attn_implementation="eager", dtype=torch.float32,
            output_loading_info=True)
        loaded = loaded.state_dict()
        notes[f"reload_{layout}"] = {
            "missing": sorted(info["missing_keys"]), "unexpected": sorted(info["unexpected_keys"]),
            "equal": all(torch.equal(w, loaded[name]) for name, w in weights.items())}
    shutil.rmtree(f"{folder}/hf_v5_sharded")


# ---- inputs


def ids(rows):
    return torch.tensor(rows, dtype=torch.int64)


def pictures():
    """Three seeded pictures, as bytes [3, 56, 56, 3] and as pixels in [-1, 1] [3, 3, 56, 56]."""
    levels = []
    for seed in range(3):
        y, x = np.mgrid[0:56, 0:56]
        waves = [np.sin(x / (3.0 + seed) + c) * np.cos(y / (5.0 + c)) for c in range(3)]
        noise = np.random.RandomState(seed).randint(-8, 8, (56, 56, 3))
        picture = np.stack([127 + 120 * wave for wave in waves], -1) + noise
        levels.append(np.clip(picture, 0, 255).astype(np.uint8))
    pixels = [(level.astype(np.float32) / 255.0 - 0.5) / 0.5 for level in levels]
    pixels = [torch.from_numpy(p).permute(2, 0, 1).contiguous() for p in pixels]
    return torch.from_numpy(np.stack(levels)), torch.stack(pixels)


def padded(rows, side, fill):
    longest = max(map(len, rows))
    pads = [[fill] * (longest - len(row)) for row in rows]
    return ids([pad + row if side == "left" else row + pad for row, pad in zip(rows, pads)])


def inference(prompts, pixels, side="right"):
    """What the processor feeds: every token of type 0, so that the prefix sees all of itself."""
    tokens = padded(prompts, side, PAD)
    mask = padded([[1] * len(prompt) for prompt in prompts], side, 0)
    return dict(input_ids=tokens, attention_mask=mask, token_type_ids=torch.zeros_like(tokens),
                pixel_values=pixels)


def training(pairs, pixels, side="right"):
    """Prompts of type 0 without labels, then suffixes of type 1 with theirs."""
    return dict(
        input_ids=padded([prompt + suffix for prompt, suffix in pairs], side, PAD),
        attention_mask=padded([[1] * len(prompt + suffix) for prompt, suffix in pairs], side, 0),
        token_type_ids=padded([[0] * len(p) + [1] * len(s) for p, s in pairs], side, 0),
        labels=padded([[-100] * len(p) + s for p, s in pairs], side, -100),
        pixel_values=pixels)


# ---- runs of the reference


def allowed(mask):
    """An additive mask as 1 where a query may attend."""
    return (mask == 0).to(torch.uint8)


def masks(mask):
    """Masks by kind; a model without sliding layers has one, unnamed."""
    if isinstance(mask, dict):
        return mask
    return {} if mask is None else {"full_attention": mask}


def largest(difference):
    return float(difference.abs().max())


class Reference:
    """The model with hooks, and what was seen: tensors by name and notes for golden.json."""

    def __init__(self, model, notes):
        self.model, self.notes, self.tensors, self.seen = model, notes, {}, {}
        tower, text = model.model.vision_tower, model.model.language_model
        text.register_forward_pre_hook(self.see_text_inputs, with_kwargs=True)
        self.see(tower, "vision_last_hidden_state", lambda out: out.last_hidden_state)
        self.see(tower.embeddings, "vision_embeddings")
        for number, layer in enumerate(tower.encoder.layers):
            self.see(layer, f"vision_layer{number}")
        self.see(model.model.multi_modal_projector, "projector")
        for number, layer in enumerate(text.layers):
            self.see(layer, f"text_layer{number}")
        self.see(text.norm, "text_norm")

    def see(self, module, name, pick=lambda out: out[0] if isinstance(out, tuple) else out):
        module.register_forward_hook(lambda _, __, out: self.seen.update({name: pick(out)}))

    def see_text_inputs(self, _, __, arguments):
        self.seen["position_ids"] = arguments.get("position_ids")
        self.seen["inputs_embeds"] = arguments["inputs_embeds"]
        self.seen["mask"] = arguments.get("attention_mask")

    def keep(self, case, inputs, everything=True):
        """Runs the model and keeps inputs, outputs and intermediate values, all or the first."""
        self.seen.clear()
        out = self.model(**inputs)
        kept = {f"in.{name}": value for name, value in inputs.items()}
        kept.update({f"mask.{name}": allowed(m) for name, m in masks(self.seen.pop("mask")).items()})
        for name, value in self.seen.items():
            if value is not None and (everything or name in ("position_ids", "inputs_embeds")):
                kept[name] = value
        kept["logits"] = out.logits
        if out.loss is not None:
            kept["loss"] = out.loss.reshape(1)
        self.tensors.update({f"{case}.{name}": v.detach().clone() for name, v in kept.items()})
        return out

    def generate(self, case, inputs, **options):
        """Twelve new tokens with their logits, and the masks and positions of the first steps."""
        steps = []
        hook = self.model.model.language_model.register_forward_pre_hook(
            lambda _, __, arguments: steps.append(
                (arguments.get("position_ids"), arguments.get("attention_mask"))),
            with_kwargs=True)
        out = self.model.generate(
            **inputs, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False,
            return_dict_in_generate=True, output_scores=True, output_logits=True, **options)
        hook.remove()
        kept = {"sequences": out.sequences,
                "new_tokens": out.sequences[:, inputs["input_ids"].shape[1]:],
                "step_logits": torch.stack(out.logits, 1)}
        for step, (positions, mask) in enumerate(steps[:2]):
            self.notes[f"{case}.pos{step}"] = positions.tolist() if positions is not None else None
            kept.update({f"mask_step{step}.{name}": allowed(m)
                         for name, m in masks(mask).items() if m is not None})
        if getattr(out, "sequences_scores", None) is not None:
            kept["sequences_scores"] = out.sequences_scores
        self.tensors.update({f"{case}.{name}": value.clone() for name, value in kept.items()})


def prefill_cases(reference, one):
    with_types = reference.keep("a", one)
    without = {name: value for name, value in one.items() if name != "token_type_ids"}
    without = reference.keep("a_no_tt", without, everything=False)
    reference.notes["a_vs_no_tt_maxdiff"] = largest(with_types.logits - without.logits)


def training_cases(reference, pixels):
    model, tensors, notes = reference.model, reference.tensors, reference.notes
    pair = training([(PROMPT, SUFFIX)], pixels[:1])
    out = reference.keep("b", pair)
    train_logits = model.train()(**pair).logits
    model.eval()
    notes["b_train_vs_eval_maxdiff"] = largest(out.logits - train_logits)
    rows = torch.log_softmax(out.logits[0].float(), -1)
    tensors["b.suffix_logprobs"] = torch.stack(
        [rows[len(PROMPT) - 1 + place, token] for place, token in enumerate(SUFFIX)])
    notes["b_loss_equals_-mean_suffix_logprob"] = float(
        out.loss + tensors["b.suffix_logprobs"].mean())
    for side in ("right", "left"):
        pairs = [(PROMPT, SUFFIX), (SHORT_PROMPT, SHORT_SUFFIX)]
        reference.keep(f"b_batch_{side}", training(pairs, pixels[:2], side), everything=False)


def cached_scoring_case(reference, one):
    """The suffix's log-probabilities again, one cached token at a time."""
    model, tensors, notes = reference.model, reference.tensors, reference.notes
    cache = DynamicCache(config=model.config.text_config)
    mask, found = one["attention_mask"], []
    row = model(**one, past_key_values=cache, use_cache=True).logits[0, -1]
    for step, token in enumerate(SUFFIX):
        found.append(torch.log_softmax(row, -1)[token])
        mask = torch.cat([mask, ids([[1]])], 1)
        row = model(input_ids=ids([[token]]), attention_mask=mask, past_key_values=cache,
                    use_cache=True).logits[0, -1]
        if step == 0:
            seen = reference.seen["mask"]
            shapes = {name: list(m.shape) for name, m in masks(seen).items()}
            notes["f_step1_position_ids"] = reference.seen["position_ids"].tolist()
            notes["f_step1_mask_shape"] = (
                shapes if isinstance(seen, dict) else shapes.get("full_attention"))
    tensors["f.suffix_logprobs_incremental"] = torch.stack(found)
    notes["f_incremental_vs_b_maxdiff"] = largest(
        tensors["f.suffix_logprobs_incremental"] - tensors["b.suffix_logprobs"])


def ragged_cases(reference, pixels, alone):
    """Two prompts of different lengths, and the second alone; positions do not skip the pads."""
    tensors = reference.tensors
    for side in ("left", "right"):
        both = inference([PROMPT, SHORT_PROMPT], pixels[:2], side)
        reference.keep(f"c_{side}", both, everything=False)
    last = reference.keep("c_single2", alone, everything=False).logits[0, -1]
    reference.notes["c_left_forward_vs_single_maxdiff"] = largest(
        tensors["c_left.logits"][1, -1] - last)
    reference.notes["c_right_forward_vs_single_maxdiff"] = largest(
        tensors["c_right.logits"][1, len(SHORT_PROMPT) - 1] - last)


def generation_cases(reference, pixels, one, alone, two_images):
    model, tensors, notes = reference.model, reference.tensors, reference.notes
    reference.generate("e_greedy", one)
    both = inference([PROMPT, SHORT_PROMPT], pixels[:2], "left")
    reference.generate("e_greedy_batch_left", both)
    reference.generate("e_greedy_two_images", two_images)
    reference.generate("e_greedy_single2", alone)
    batch, single = (lambda name, case=case, row=row: tensors[f"{case}.{name}"][row]
                     for case, row in (("e_greedy_batch_left", 1), ("e_greedy_single2", 0)))
    notes["e_batch_row1_equals_single2"] = batch("new_tokens").equal(single("new_tokens"))
    notes["e_batch_row1_vs_single2_logit_maxdiff"] = largest(
        batch("step_logits") - single("step_logits"))
    reference.generate("e_beam3", one, num_beams=3)
    reference.generate("e_beam3_all", one, num_beams=3, num_return_sequences=3)
    free = dict(max_new_tokens=NEW_TOKENS, do_sample=False, return_dict_in_generate=True)
    beams = model.generate(**one, **free, num_beams=3, output_scores=True)
    tensors["e_beam3_eos.sequences"] = beams.sequences.clone()
    tensors["e_beam3_eos.sequences_scores"] = beams.sequences_scores.clone()
    tensors["e_greedy_eos.sequences"] = model.generate(**one, **free).sequences.clone()
    used = ("length_penalty", "early_stopping", "eos_token_id", "pad_token_id")
    notes["generation_config_used"] = {
        name: getattr(model.generation_config, name, None) for name in used}
    new = tensors["e_greedy.new_tokens"][0].tolist()
    whole = training([(PROMPT, new[:-1])], pixels[:1])
    del whole["labels"]
    notes["e_cache_vs_full_maxdiff"] = largest(
        model(**whole).logits[0, len(PROMPT) - 1:] - tensors["e_greedy.step_logits"][0])


def attention_kernels(reference, folder, one):
    """How far the reference's two attention kernels agree, with and without token types."""
    eager, notes = reference.model, reference.notes
    sdpa = PaliGemmaForConditionalGeneration.from_pretrained(
        f"{folder}/published", attn_implementation="sdpa", dtype=torch.float32).eval()
    without = {name: value for name, value in one.items() if name != "token_type_ids"}
    typed = reference.tensors["a.logits"]
    notes["sdpa_vs_eager_with_tt"] = largest(sdpa(**one).logits - typed)
    untyped = sdpa(**without).logits
    notes["sdpa_no_tt_vs_eager_no_tt"] = largest(
        untyped - reference.tensors["a_no_tt.logits"])
    notes["sdpa_no_tt_vs_eager_with_tt"] = largest(untyped - typed)
    options = dict(max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False)
    notes["generate_no_tt"] = {
        name: model.generate(**without, **options)[0, len(PROMPT):].tolist()
        for name, model in (("sdpa", sdpa), ("eager", eager))}
    notes["generate_no_tt"]["with_tt"] = reference.tensors["e_greedy.new_tokens"][0].tolist()


def scaling_facts(reference):
    model, tensors, notes = reference.model, reference.tensors, reference.notes
    embedded = model.get_input_embeddings()(ids([PROMPT]))[0, IMAGE_TOKENS]
    weight = model.model.language_model.embed_tokens.weight[BOS]
    notes["embed_out_over_weight"] = float((embedded / weight).mean())
    notes["sqrt_hidden"] = math.sqrt(WIDTH)
    notes["merged_image_rows_equal_projector_output"] = torch.equal(
        tensors["a.inputs_embeds"][0, :IMAGE_TOKENS], tensors["a.projector"][0])


def half_precision_case(reference, one):
    """Case a in bfloat16, to know what tolerance that dtype needs."""
    tensors, notes = reference.tensors, reference.notes
    one = {**one, "pixel_values": one["pixel_values"].to(torch.bfloat16)}
    half = copy.deepcopy(reference.model).to(torch.bfloat16)
    tensors["a_bf16.logits"] = half(**one).logits.float()
    notes["a_bf16_vs_f32_maxdiff"] = largest(tensors["a_bf16.logits"] - tensors["a.logits"])
    notes["a_logits_absmax"] = largest(tensors["a.logits"])


def make(kind, out):
    folder = f"{out}/tiny_{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model, config = new_model(kind)
    notes = {"torch": torch.__version__, "transformers": transformers.__version__, "kind": kind,
             "attn": model.config.text_config._attn_implementation}
    write_weights(model, config, kind, folder, notes)
    reference = Reference(model, notes)
    reference.tensors["image_u8"], pixels = pictures()
    one = inference([PROMPT], pixels[:1])
    alone = inference([SHORT_PROMPT], pixels[1:2])
    two_images = inference([TWO_IMAGES_PROMPT], pixels[1:3])
    with torch.no_grad():
        prefill_cases(reference, one)
        training_cases(reference, pixels)
        cached_scoring_case(reference, one)
        ragged_cases(reference, pixels, alone)
        reference.keep("d", two_images)
        generation_cases(reference, pixels, one, alone, two_images)
        if kind == "pg1":
            attention_kernels(reference, folder, one)
        scaling_facts(reference)
        half_precision_case(reference, one)
    tensors = {name: value.contiguous() for name, value in reference.tensors.items()}
    # Without metadata: its order is not fixed, and the same values should be the same bytes.
    save_file(tensors, f"{folder}/golden.safetensors")
    notes["golden_keys"] = {
        name: [str(value.dtype).replace("torch.", ""), list(value.shape)]
        for name, value in tensors.items()}
    notes["config_v5"] = json.loads(config.to_json_string())
    notes["constants"] = dict(
        vocab=VOCABULARY, image_token=IMAGE, pad=PAD, eos=EOS, bos=BOS, newline=NEWLINE,
        n_image_tokens=IMAGE_TOKENS, prompt=PROMPT, prompt2=SHORT_PROMPT, suffix=SUFFIX)
    write_json(notes, f"{folder}/golden.json")
    print(f"tiny_{kind}: {len(tensors)} tensors")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    for kind in SEEDS:
        make(kind, sys.argv[1])
