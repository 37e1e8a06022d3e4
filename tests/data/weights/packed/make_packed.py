#!/usr/bin/env python3
"""Writes one small checkpoint for each way that others pack weights, with the values they stand for.

Usage: make_packed.py OUT     numpy alone; the same bytes for the same version of this file

CASE.safetensors holds a module as its packer stores it and X.expected, f32, computed from the codes, scales and zero
points before they are packed, in float64 and rounded once (nested scales of bitsandbytes: in float32, as it computes
them). Its metadata holds `quantization_config` as JSON text.
"""

import json
import os
import struct
import sys

import numpy as np

N, K = 8, 256
rng = np.random.default_rng(20261130)
TYPES = {"float16": "F16", "float32": "F32", "int32": "I32", "uint32": "U32", "uint8": "U8", "int8": "I8",
         "int64": "I64"}


def bf16(x):
    """The nearest bfloat16 of positive and negative numbers, as bits and as float64."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    bits = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def save(folder, case, config, tensors):
    header = {"__metadata__": {"quantization_config": json.dumps(config)}}
    data = b""
    for name, value in tensors.items():
        kind, array = value if isinstance(value, tuple) else (TYPES[str(value.dtype)], value)
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, case + ".safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def pack(codes, axis, bits, order=None):
    """Words of 32 bits along an axis, the first code in the lowest bits unless `order` says which comes where."""
    codes = np.moveaxis(codes, axis, -1).astype(np.uint64)
    per = 32 // bits
    codes = codes.reshape(*codes.shape[:-1], -1, per)
    words = np.zeros(codes.shape[:-1], np.uint64)
    for place in range(per):
        words |= codes[..., order[place] if order else place] << np.uint64(place * bits)
    return np.moveaxis(words.astype(np.uint32), -1, axis)


def integers(group, bits=4, symmetric=False, k=K):
    """Codes [N, K], zero points and float16 scales [N, groups]."""
    groups = k // (group if group > 0 else k)
    codes = rng.integers(0, 2**bits, (N, k))
    zeros = np.full((N, groups), 2 ** (bits - 1)) if symmetric else rng.integers(1, 2**bits, (N, groups))
    scales = rng.uniform(0.001, 0.05, (N, groups)).astype(np.float16)
    return codes, zeros, scales


def values(codes, zeros, scales, index):
    return ((codes - zeros[:, index]) * scales[:, index].astype(np.float64)).astype(np.float32)


def gptq(folder, case, group, bits=4, symmetric=False, v2=False, act_order=False, with_index=True):
    codes, zeros, scales = integers(group, bits, symmetric)
    index = np.arange(K) // (group if group > 0 else K)
    if act_order:
        index = rng.permutation(index)
    stored = zeros if v2 else zeros - 1
    config = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": act_order, "sym": symmetric,
              "checkpoint_format": "gptq_v2" if v2 else "gptq"}
    tensors = {"X.qweight": pack(codes.T, 0, bits).view(np.int32), "X.qzeros": pack(stored.T, 1, bits).view(np.int32),
               "X.scales": np.ascontiguousarray(scales.T), "X.expected": values(codes, zeros, scales, index)}
    if with_index:
        tensors["X.g_idx"] = index.astype(np.int32)
    save(folder, case, config, tensors)


def awq(folder, case, group):
    codes, zeros, scales = integers(group)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm"}
    save(folder, case, config,
         {"X.qweight": pack(codes.T, 1, 4, order).view(np.int32), "X.qzeros": pack(zeros.T, 1, 4, order).view(np.int32),
          "X.scales": np.ascontiguousarray(scales.T), "X.expected": values(codes, zeros, scales, np.arange(K) // group)})


def compressed(folder, case, group, symmetric):
    codes, zeros, scales = integers(group, 4, symmetric)
    bits, real = bf16(scales)
    weights = {"num_bits": 4, "type": "int", "symmetric": symmetric, "strategy": "group", "group_size": group}
    config = {"quant_method": "compressed-tensors", "format": "pack-quantized",
              "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}
    index = np.arange(K) // group
    tensors = {"X.weight_packed": pack(codes, 1, 4).view(np.int32), "X.weight_scale": ("BF16", bits),
               "X.weight_shape": np.array([N, K], np.int64),
               "X.expected": ((codes - zeros[:, index]) * real[:, index]).astype(np.float32)}
    if not symmetric:
        tensors["X.weight_zero_point"] = pack(zeros, 0, 4).view(np.int32)
    save(folder, case, config, tensors)


def fp8_values(codes, exponent_bits):
    """Of bytes whose values are finite."""
    fraction_bits = 7 - exponent_bits
    exponent = (codes >> fraction_bits & (2**exponent_bits - 1)).astype(np.int64)
    fraction = (codes & (2**fraction_bits - 1)) / 2**fraction_bits
    bias = 2 ** (exponent_bits - 1) - 1
    size = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - bias))
    return np.where(codes & 0x80, -size, size)


def fp8(folder, case, config, scale_name, scale, spread, exponent_bits=4):
    codes = rng.integers(0, 0x7B, (N, K)).astype(np.uint8) | (rng.integers(0, 2, (N, K)).astype(np.uint8) << 7)
    real = fp8_values(codes, exponent_bits) * spread(scale.astype(np.float64))
    save(folder, case, config, {"X.weight": ("F8_E4M3" if exponent_bits == 4 else "F8_E5M2", codes),
                                "X." + scale_name: scale, "X.expected": real.astype(np.float32)})


def scales_of(*shape):
    return rng.uniform(1e-4, 1e-2, shape).astype(np.float32)


def mxfp4(folder):
    experts, k = 2, 96
    codes = rng.integers(0, 16, (experts, N, k)).astype(np.uint8)
    exponents = rng.integers(113, 126, (experts, N, k // 32)).astype(np.uint8)
    numbers = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6] + [-0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    real = numbers[codes] * np.repeat(2.0 ** (exponents.astype(np.float64) - 127), 32, axis=2)
    blocks = codes.reshape(experts, N, k // 32, 16, 2)
    save(folder, "mxfp4", {"quant_method": "mxfp4"},
         {"X_blocks": blocks[..., 0] | blocks[..., 1] << 4, "X_scales": exponents,
          "X.expected": np.ascontiguousarray(real.transpose(0, 2, 1)).astype(np.float32)})


NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]


def nf4(folder, case, twice):
    codes = rng.integers(0, 16, (N, K)).astype(np.uint8)
    table = np.array(NF4, np.float32)
    blocks = N * K // 64
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [N, K]}
    pairs = codes.reshape(-1, 2)
    tensors = {"X.weight": (pairs[:, 0] << 4 | pairs[:, 1]).reshape(-1, 1), "X.weight.quant_map": table}
    if twice:
        of_codes = np.sort(rng.uniform(-1, 1, 256)).astype(np.float32)
        scale_codes = rng.integers(0, 256, blocks).astype(np.uint8)
        nested = rng.uniform(0.001, 0.01, -(-blocks // 16)).astype(np.float32)
        state |= {"nested_blocksize": 16, "nested_dtype": "float32", "nested_offset": 0.03125}
        scales = of_codes[scale_codes] * np.repeat(nested, 16)[:blocks] + np.float32(0.03125)
        tensors |= {"X.weight.absmax": scale_codes, "X.weight.nested_absmax": nested,
                    "X.weight.nested_quant_map": of_codes}
    else:
        scales = rng.uniform(0.01, 0.1, blocks).astype(np.float32)
        tensors["X.weight.absmax"] = scales
    text = np.frombuffer(json.dumps(state).encode(), np.uint8)
    tensors["X.weight.quant_state.bitsandbytes__nf4"] = text
    tensors["X.expected"] = (table[codes].reshape(-1, 64) * scales[:, None]).reshape(N, K)
    save(folder, case, {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, tensors)


def mlx(folder, case, group, bits, half):
    codes, _, scales = integers(group, bits)
    biases = rng.uniform(-0.2, 0.1, scales.shape).astype(np.float16)
    index = np.arange(K) // group
    if half:
        stored, real = (scales, biases), (scales.astype(np.float64), biases.astype(np.float64))
    else:
        (s_bits, s), (b_bits, b) = bf16(scales), bf16(biases)
        stored, real = (("BF16", s_bits), ("BF16", b_bits)), (s, b)
    save(folder, case, {"group_size": group, "bits": bits},
         {"X.weight": pack(codes, 1, bits), "X.scales": stored[0], "X.biases": stored[1],
          "X.expected": (codes * real[0][:, index] + real[1][:, index]).astype(np.float32)})


def main():
    folder = sys.argv[1]
    gptq(folder, "gptq_sym_g32", 32, symmetric=True)
    gptq(folder, "gptq_sym_g128", 128, symmetric=True, with_index=False)
    gptq(folder, "gptq_g128", 128)
    gptq(folder, "gptq_v2_g64", 64, v2=True)
    gptq(folder, "gptq_act_order", 32, act_order=True)
    gptq(folder, "gptq_rows_8_bits", -1, bits=8)
    for group in (32, 64, 128):
        awq(folder, f"awq_g{group}", group)
    compressed(folder, "compressed_sym_g128", 128, True)
    compressed(folder, "compressed_g32", 32, False)
    of_rows = {"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {
        "group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}}}
    fp8(folder, "compressed_fp8", of_rows, "weight_scale", scales_of(N, 1), lambda s: s)
    of_blocks = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [4, 128]}
    fp8(folder, "fp8_blocks", of_blocks, "weight_scale_inv", scales_of(N // 4, K // 128),
        lambda s: np.repeat(np.repeat(s, 4, axis=0), 128, axis=1))
    of_all = {"quant_method": "fp8", "activation_scheme": "static"}
    fp8(folder, "fp8_tensor", of_all, "weight_scale", scales_of(1), lambda s: s)
    fp8(folder, "fp8_e5m2", of_all, "weight_scale", scales_of(1), lambda s: s, 5)
    mxfp4(folder)
    nf4(folder, "nf4", False)
    nf4(folder, "nf4_twice", True)
    mlx(folder, "mlx_g64_f16", 64, 4, True)
    mlx(folder, "mlx_g32_bf16", 32, 4, False)
    mlx(folder, "mlx_8_bits", 64, 8, True)


if __name__ == "__main__":
    main()
