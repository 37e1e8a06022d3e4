#!/usr/bin/env python3
"""Makes the toy draft head tests/data/models/medusa with torch, and the logits of its heads.

Usage: make_heads.py FOLDER   config.json, model.safetensors, states_fp32.npy f32[rows, hidden], heads_fp32.npy
                              f32[heads, rows, vocab]

With torch and safetensors. Weights are random of a fixed seed, wide enough that every block bends its logits, and stored in
bfloat16; the logits are torch's in float32 of those weights: x + silu(W x + b) for each block, then the head's own matrix.
"""

import json
import pathlib
import sys

import numpy
import torch
from safetensors.torch import save_file

CONFIG = {"architectures": ["MedusaModel"], "model_type": "medusa", "medusa_num_heads": 3, "medusa_num_layers": 2,
          "hidden_size": 64, "vocab_size": 400, "torch_dtype": "bfloat16"}
ROWS = 5


def main(folder: pathlib.Path) -> None:
    random = torch.Generator().manual_seed(17)
    hidden, vocab, layers = CONFIG["hidden_size"], CONFIG["vocab_size"], CONFIG["medusa_num_layers"]

    def draw(*shape: int, width: float) -> torch.Tensor:
        return (torch.randn(*shape, generator=random) * width).to(torch.bfloat16)

    states = torch.randn(ROWS, hidden, generator=random)
    tensors, logits = {}, []
    for head in range(CONFIG["medusa_num_heads"]):
        x = states
        for layer in range(layers):
            name = f"medusa_head.{head}.{layer}.linear"
            weight = tensors[f"{name}.weight"] = draw(hidden, hidden, width=1.5 * hidden**-0.5)
            bias = tensors[f"{name}.bias"] = draw(hidden, width=0.5)
            x = x + torch.nn.functional.silu(torch.nn.functional.linear(x, weight.float(), bias.float()))
        last = tensors[f"medusa_head.{head}.{layers}.weight"] = draw(vocab, hidden, width=1.5 * hidden**-0.5)
        logits.append(x @ last.float().T)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    save_file(tensors, folder / "model.safetensors")
    numpy.save(folder / "states_fp32.npy", states.numpy())
    numpy.save(folder / "heads_fp32.npy", torch.stack(logits).numpy())


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
