#!/usr/bin/env python3
"""Makes a toy llama as GPTQ packs it, and its logits on the values that the codes stand for, under tests/data/models/llama_gptq.

Usage: make_gptq.py DATA        DATA: tests/data/models

With numpy and safetensors; no code of ours packs or reads anything. Groups of 32 with act-order (an input's group is drawn), zero
points of their own, stored less 1 as AutoGPTQ does. The shapes are those of llama_awq. The forward is make_lora.py's, in float64,
held to transformers' logits of the toy llama first.
"""

import json
import pathlib
import re
import sys

import numpy
import safetensors.numpy

from make_lora import LINEARS, forward

GROUP = 32


def pack(codes):
    """Words of 32 bits along the first axis, the first code in the lowest bits."""
    codes = codes.reshape(-1, 8, codes.shape[1]).astype(numpy.uint64)
    shifts = (numpy.arange(8, dtype=numpy.uint64) * 4)[None, :, None]
    return (codes << shifts).sum(1).astype(numpy.uint32).view(numpy.int32)


def quantize(weight, random):
    """What GPTQ stores of [out, in], and the values."""
    w = weight.T.astype(numpy.float64)
    into = w.shape[0]
    groups = numpy.empty(into, numpy.int32)
    groups[random.permutation(into)] = numpy.arange(into) // GROUP
    count = into // GROUP
    low = numpy.array([numpy.minimum(w[groups == g].min(0), 0) for g in range(count)])
    high = numpy.array([numpy.maximum(w[groups == g].max(0), 0) for g in range(count)])
    scales = ((high - low) / 15).astype(numpy.float16)
    zeros = numpy.clip(numpy.round(-low / scales), 1, 16)
    codes = numpy.clip(numpy.round(w / scales.astype(numpy.float64)[groups]) + zeros[groups], 0, 15)
    values = (codes - zeros[groups]) * scales.astype(numpy.float64)[groups]
    packed_zeros = pack((zeros - 1).T).T
    return {"qweight": pack(codes), "qzeros": numpy.ascontiguousarray(packed_zeros), "scales": scales, "g_idx": groups}, values.T


def random_weights(config, random):
    hidden, inner, size = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    shapes = {"q": (q, hidden), "k": (kv, hidden), "v": (kv, hidden), "o": (hidden, q), "gate": (inner, hidden), "up": (inner, hidden),
              "down": (hidden, inner)}
    draw = lambda *shape: random.normal(0, 0.08, shape)
    weights = {"model.embed_tokens.weight": draw(config["vocab_size"], hidden), "lm_head.weight": draw(config["vocab_size"], hidden),
               "model.norm.weight": 1 + draw(hidden)}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        weights.update({f"{layer}{name}.weight": 1 + draw(hidden) for name in ("input_layernorm", "post_attention_layernorm")})
        weights.update({f"{layer}{LINEARS[name]}.weight": draw(*shape) for name, shape in shapes.items()})
    return weights


def main(data):
    toy, out = data / "llama", data / "llama_gptq"
    weights = {n: t.astype(numpy.float64) for n, t in safetensors.numpy.load_file(toy / "model.safetensors").items()}
    tokens, known = numpy.load(toy / "tokens.npy"), numpy.load(toy / "logits_fp32.npy")
    got = forward(json.loads((toy / "config.json").read_text()), weights, tokens)
    assert numpy.abs(got - known).max() < 1e-4, "the forward is not transformers'"
    config = json.loads((data / "llama_awq" / "config.json").read_text())
    random = numpy.random.default_rng(16)
    weights = random_weights(config, random)
    linear = re.compile(rf"layers\.\d+\.({'|'.join(map(re.escape, LINEARS.values()))})\.weight$")
    stored, values = {}, {}
    for name, weight in weights.items():
        values[name] = weight
        if linear.search(name):
            parts, values[name] = quantize(weight, random)
            stored.update({name.removesuffix("weight") + part: numpy.ascontiguousarray(t) for part, t in parts.items()})
        else:
            stored[name] = values[name].astype(numpy.float16)
            values[name] = stored[name].astype(numpy.float64)
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": True, "sym": False}
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    safetensors.numpy.save_file(stored, out / "model.safetensors")
    numpy.save(out / "tokens.npy", tokens)
    numpy.save(out / "logits_fp32.npy", forward(config, values, tokens).astype(numpy.float32))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
