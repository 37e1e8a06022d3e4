#!/usr/bin/env python3
"""Writes tests/data/models/rope.json: the frequencies and attention factors that transformers computes.

Usage: make_rope.py OUT.json, with transformers 5.24 and torch. A list of cases: `config` holds the keys of a llama's
config.json that matter to rotation, in the spelling of transformers 4 or 5; `texts` holds, by length of the text,
`inv_freq` (radians per position of each pair of elements) and `attention_factor` (of cosines and sines).
"""

import itertools
import json
import sys

import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

SIZES = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 8}


def scalings():
    """(rope_scaling or None, max_position_embeddings) of every kind and option."""
    yield None, 64
    for factor in (1.0, 2.0, 8.0):
        yield {"rope_type": "linear", "factor": factor}, 64
    yield {"type": "linear", "factor": 2.5}, 64
    for factor, longest in itertools.product((1.0, 3.0, 8.0), (16, 4096)):
        yield {"rope_type": "dynamic", "factor": factor}, longest
    yield {"type": "dynamic", "factor": 4.0}, 64
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    for extra in ({}, {"beta_fast": 4.0, "beta_slow": 0.25}, {"truncate": False}, {"attention_factor": 1.25},
                  {"mscale": 0.707, "mscale_all_dim": 0.707}, {"mscale": 1.0, "mscale_all_dim": 0.5},
                  {"mscale": 1.0}, {"factor": 40.0, "original_max_position_embeddings": 4096},
                  {"factor": 32.0, "original_max_position_embeddings": 4096, "truncate": False},
                  {"factor": 1.0, "attention_factor": 1.5}, {"beta_fast": 1.0, "beta_slow": 1.0}):
        yield {**yarn, **extra}, 256
    yield {"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 2048}, 32768
    yield {"rope_type": "yarn", "factor": 2.0}, 128
    long = {"rope_type": "longrope", "original_max_position_embeddings": 32}
    for extra in ({}, {"factor": 4.0}, {"attention_factor": 1.19}, {"factor": 0.5}):
        yield {**long, **extra}, 128
    yield long, 32
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    yield {**llama3, "original_max_position_embeddings": 8192}, 131072
    yield {**llama3, "factor": 32.0, "original_max_position_embeddings": 64}, 256


def spell(scaling, longest, theta, head_dim, newer):
    """The keys of config.json."""
    config = {"head_dim": head_dim, "max_position_embeddings": longest}
    scaling = None if scaling is None else dict(scaling)
    if scaling and scaling.get("rope_type") == "longrope":
        scaling["short_factor"] = [1 + 0.01 * i for i in range(head_dim // 2)]
        scaling["long_factor"] = [1.5 + 0.25 * i * i for i in range(head_dim // 2)]
    if newer and not (scaling and "type" in scaling):
        return {**config, "rope_parameters": {**(scaling or {"rope_type": "default"}), "rope_theta": theta}}
    return {**config, "rope_theta": theta, **({"rope_scaling": scaling} if scaling else {})}


def texts(config):
    """By length, what the rotary embedding of a fresh model holds after a forward over a text of that length."""
    found = {}
    for length in (1, 16, 17, 28, 32, 33, 64, 100, 5000):
        rotary = LlamaRotaryEmbedding(LlamaConfig(**SIZES, **json.loads(json.dumps(config))))
        rotary(torch.zeros(1), torch.arange(length)[None])
        found[str(length)] = {"inv_freq": [float(f) for f in rotary.inv_freq],
                              "attention_factor": float(rotary.attention_scaling)}
    same = all(one == found["1"] for one in found.values())
    return {length: one for length, one in found.items() if not same or length in ("1", "5000")}


def main():
    cases = []
    for (scaling, longest), (theta, head_dim), newer in itertools.product(
            scalings(), ((10000.0, 16), (500.0, 24)), (False, True)):
        config = spell(scaling, longest, theta, head_dim, newer)
        if newer and "rope_parameters" not in config:
            continue
        cases.append({"config": config, "texts": texts(config)})
    lines = ",\n".join(json.dumps(case) for case in cases)
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
