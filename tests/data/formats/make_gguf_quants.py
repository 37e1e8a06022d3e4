# Writes gguf_quants.gguf: blocks of every quantized type filled from a fixed seed, and what the Python package `gguf`
# says their values are (tensor NAME.expected, f32). Usage: python make_gguf_quants.py OUT   (numpy, gguf 0.19.0)
import sys

import gguf
import numpy as np

Q = gguf.GGMLQuantizationType
# type: byte positions of its f16 fields (scales and offsets), which must be ordinary numbers
HALVES = {Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.IQ4_NL: [0],
          Q.Q2_K: [80, 82], Q.Q3_K: [108], Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208],
          Q.IQ4_XS: [0], Q.MXFP4: []}
rng = np.random.default_rng(20260101)
writer = gguf.GGUFWriter(sys.argv[1], "none")
for kind, halves in HALVES.items():
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, size=(2, 512 // elements * size), dtype=np.uint8)  # 2 rows of 512
    for at in halves:
        for start in range(at, blocks.shape[1], size):
            blocks[:, start:start + 2] = rng.normal(0, 0.05, size=(2, 1)).astype(np.float16).view(np.uint8)
    writer.add_tensor(kind.name, blocks, raw_dtype=kind)
    writer.add_tensor(kind.name + ".expected", gguf.quants.dequantize(blocks, kind).astype(np.float32))
for kind, bits in ((Q.F16, rng.normal(0, 1, (2, 8)).astype(np.float16)), (Q.BF16, rng.integers(0x3000, 0x4800, (2, 8)).astype(np.uint16).view(np.uint8))):
    writer.add_tensor(kind.name, bits, raw_dtype=kind)
    writer.add_tensor(kind.name + ".expected", gguf.quants.dequantize(bits.view(np.uint8) if kind == Q.BF16 else bits, kind).astype(np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
