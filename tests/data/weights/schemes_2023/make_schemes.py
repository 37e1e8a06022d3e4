#!/usr/bin/env python3
"""Writes a weight and what each scheme of 2023 keeps of it.

Usage: make_schemes.py OUT     numpy alone; the same bytes for the same version of this file

weights.safetensors holds `x.weight`, f16 [N, K], and by the formulas of 2023 (float16 throughout, ties to even) for every
scheme SCHEME.q_weight and SCHEME.q_scale. K is no multiple of a group. A group of it is zero, and one lies below the floor.
"""

import json
import os
import struct
import sys

import numpy as np

N, K = 6, 100
TYPES = {"float16": "F16", "uint16": "U16", "uint32": "U32"}
# name: bits, group, word, stored as [K, N]
SCHEMES = {
    "q3f16_0_2023": (3, 40, np.uint16, True),
    "q3f16_1_2023": (3, 40, np.uint16, False),
    "q4f16_0_2023": (4, 32, np.uint32, True),
    "q4f16_1_2023": (4, 32, np.uint32, False),
    "q8f16_1": (8, 32, np.uint32, False),
}


def quantize(weight, bits, group):
    """Codes [N, groups, group], 0 past the end of a row, and scales f16 [N, groups]."""
    middle = np.float16(2 ** (bits - 1) - 1)
    groups = -(-K // group)
    padded = np.zeros((N, groups * group), np.float16)
    padded[:, :K] = weight
    padded = padded.reshape(N, groups, group)
    largest = np.maximum(np.abs(padded).max(axis=2), np.float16(1e-4))
    scale = (largest / middle).astype(np.float16)
    codes = np.rint((padded / scale[:, :, None]).astype(np.float16) + middle)
    codes = np.clip(codes, 0, 2 * middle).astype(np.uint64)
    inside = np.arange(groups * group).reshape(groups, group) < K
    return codes * inside, scale


def pack(codes, bits, word):
    """Lowest bits first; a group fills whole words."""
    per_word = np.dtype(word).itemsize * 8 // bits
    n, groups, group = codes.shape
    lanes = codes.reshape(n, groups * group // per_word, per_word)
    return (lanes << (np.arange(per_word, dtype=np.uint64) * np.uint64(bits))).sum(axis=2).astype(word)


def save(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": TYPES[array.dtype.name], "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)


def main():
    rng = np.random.default_rng(2023)
    weight = rng.normal(0, 0.05, (N, K)).astype(np.float16)
    weight[1, :40] = 0
    weight[2, :40] = (rng.normal(0, 2e-5, 40)).astype(np.float16)
    arrays = {"x.weight": weight}
    for name, (bits, group, word, transposed) in SCHEMES.items():
        codes, scale = quantize(weight, bits, group)
        words = pack(codes, bits, word)
        arrays[name + ".q_weight"] = words.T if transposed else words
        arrays[name + ".q_scale"] = scale.T if transposed else scale
    save(os.path.join(sys.argv[1], "weights.safetensors"), arrays)


main()
