#!/usr/bin/env python3
"""Makes the PEFT adapters of the toy llama, and the logits of the toy with each, under tests/data/models/llama_lora.

Usage: make_lora.py DATA        DATA: tests/data/models

With numpy 2.2.6 and safetensors 0.8.0; no code of ours and none of PEFT's. The forward is written out below in float64, and is
held to the toy's own logits_fp32.npy (transformers') first. Adapters, each a folder as PEFT saves it:

plain      rank 4 on q, v and o of both layers; scale lora_alpha / r
patterns   rsLoRA on all seven linears, rank 3 but for those that rank_pattern names, alpha_pattern beside it;
           layer 0's gate_proj is left alone, so that a fused matrix has a part without a change

logits_ADAPTER.npy: f32[16, vocab] on the toy's tokens.npy.
"""

import json
import pathlib
import re
import sys

import numpy
import safetensors.numpy

LINEARS = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
           "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"}


def rms_norm(x, weight, eps):
    return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def rotate(x, theta):
    """x [rows, heads, size], position = row; pairs (d, d + size / 2)."""
    rows, _, size = x.shape
    angles = numpy.arange(rows)[:, None] * theta ** (-numpy.arange(0, size, 2) / size)
    cos, sin = numpy.cos(angles)[:, None], numpy.sin(angles)[:, None]
    a, b = x[..., : size // 2], x[..., size // 2 :]
    return numpy.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def forward(config, weights, tokens):
    w = lambda name: weights[f"model.{name}.weight"]
    eps, heads, kv_heads, size = (config[k] for k in ("rms_norm_eps", "num_attention_heads", "num_key_value_heads",
                                                      "head_dim"))
    x = w("embed_tokens")[tokens]
    rows = len(tokens)
    for i in range(config["num_hidden_layers"]):
        linear = lambda x, name: x @ w(f"layers.{i}.{LINEARS[name]}").T
        h = rms_norm(x, w(f"layers.{i}.input_layernorm"), eps)
        q = rotate(linear(h, "q").reshape(rows, heads, size), config["rope_theta"])
        k = rotate(linear(h, "k").reshape(rows, kv_heads, size), config["rope_theta"])
        v = linear(h, "v").reshape(rows, kv_heads, size)
        k, v = (numpy.repeat(t, heads // kv_heads, 1) for t in (k, v))
        scores = numpy.einsum("rhd,shd->hrs", q, k) / numpy.sqrt(size)
        scores = numpy.where(numpy.tril(numpy.ones((rows, rows), bool)), scores, -numpy.inf)
        p = numpy.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + linear(numpy.einsum("hrs,shd->rhd", p, v).reshape(rows, -1), "o")
        h = rms_norm(x, w(f"layers.{i}.post_attention_layernorm"), eps)
        gate = linear(h, "gate")
        x = x + linear(gate / (1 + numpy.exp(-gate)) * linear(h, "up"), "down")
    return rms_norm(x, w("norm"), eps) @ weights["lm_head.weight"].T


def pattern_value(patterns, module, fallback):
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return fallback


def make_adapter(folder, weights, config, modules, random):
    """Writes the folder; returns the merged weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors, merged = {}, dict(weights)
    for module in modules:
        out, into = weights[module + ".weight"].shape
        r = pattern_value(config["rank_pattern"], module, config["r"])
        alpha = pattern_value(config["alpha_pattern"], module, config["lora_alpha"])
        a = random.normal(0, 1 / numpy.sqrt(into), (r, into)).astype(numpy.float32)
        b = random.normal(0, 0.5, (out, r)).astype(numpy.float32)
        tensors[f"base_model.model.{module}.lora_A.weight"] = a
        tensors[f"base_model.model.{module}.lora_B.weight"] = b
        scale = alpha / numpy.sqrt(r) if config["use_rslora"] else alpha / r
        merged[module + ".weight"] = weights[module + ".weight"] + scale * (b.astype(float) @ a.astype(float))
    safetensors.numpy.save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return merged


def main():
    data = pathlib.Path(sys.argv[1])
    toy = data / "llama"
    config = json.loads((toy / "config.json").read_text())
    weights = {k: v.astype(float) for k, v in safetensors.numpy.load_file(toy / "model.safetensors").items()}
    tokens = numpy.load(toy / "tokens.npy")
    expected = numpy.load(toy / "logits_fp32.npy")
    logits = forward(config, weights, tokens)
    error = numpy.sqrt(((logits - expected) ** 2).mean() / (expected ** 2).mean())
    print("forward against the toy's logits:", error)
    assert error < 2e-6
    base = {"peft_type": "LORA", "base_model_name_or_path": "toys/llama", "task_type": "CAUSAL_LM", "bias": "none",
            "fan_in_fan_out": False, "use_dora": False, "use_rslora": False, "modules_to_save": None,
            "init_lora_weights": True, "inference_mode": True, "rank_pattern": {}, "alpha_pattern": {}, "r": 4,
            "lora_alpha": 8, "lora_dropout": 0.0}
    every = [f"model.layers.{i}.{name}" for i in range(config["num_hidden_layers"]) for name in LINEARS.values()]
    some = [m for m in every if m.endswith(("q_proj", "v_proj", "o_proj"))]
    adapters = {
        "plain": ({**base, "target_modules": ["q_proj", "v_proj", "o_proj"]}, some),
        "patterns": ({**base, "use_rslora": True, "r": 3, "lora_alpha": 2,
                      "rank_pattern": {"down_proj": 8, r"layers\.1\.self_attn\.[qk]_proj": 5},
                      "alpha_pattern": {"^model.layers.0.self_attn.v_proj": 6},
                      "target_modules": [n.split(".")[1] for n in LINEARS.values()]},
                     [m for m in every if m != "model.layers.0.mlp.gate_proj"]),
    }
    target = data / "llama_lora"
    for seed, (name, (adapter, modules)) in enumerate(adapters.items()):
        random = numpy.random.default_rng(seed + 7)
        logits = forward(config, make_adapter(target / name, weights, adapter, modules, random), tokens)
        change = numpy.sqrt(((logits - expected) ** 2).mean() / (expected ** 2).mean())
        print(name, "changes the logits by", change)
        numpy.save(target / f"logits_{name}.npy", logits.astype(numpy.float32))


if __name__ == "__main__":
    main()
