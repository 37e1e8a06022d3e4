#!/usr/bin/env python3
"""Makes the reference logits of SmolLM2-135M-Instruct that the end-to-end tests compare with.

    pip install numpy tokenizers
    make_reference.py --check SOURCE_FOLDER      # our forward pass against transformers' stored logits
    make_reference.py SMOLLM2.gguf OUTPUT_FOLDER # writes the .npy files below

The forward pass is our own, in float64, from the weights of the GGUF file rounded to bfloat16 (what q0f32 files hold).
--check proves it: on a folder with config.json, model.safetensors, tokens.npy and logits_fp32.npy (made by transformers in
float32) it prints the relative RMS difference and fails above 1e-5.

Files written: 13 sequences of 64 tokens, the first three are the texts and the others the prompts.
    tokens.npy       i32[13, 64]
    sample_ids.npy   i32[512]        vocabulary entries, fixed at random
    text_samples.npy f32[3, 64, 512] logits of the texts at sample_ids
    statistics.npy   f32[13, 64, 2]  mean and RMS of all logits of a position
    top_ids.npy      i32[13, 64, 8]  the largest logits, in order: [..., 0] is the argmax, [..., 0] - [..., 1] the margin
    top_logits.npy   f32[13, 64, 8]
    full_logits.npy  f32[vocab]      text 0, last position
A relative RMS error of a position is RMS(ours - text_samples) / statistics[..., 1]: over 512 entries drawn at random it
estimates the one over the vocabulary to about 1/sqrt(2 * 512) = 3%.
"""
import argparse
import json
import struct
import sys
from pathlib import Path

import numpy as np

POSITIONS = 64
TEXTS = [
    "The old lighthouse stood at the end of the cape, and every evening the keeper climbed its ninety-six steps to "
    "light the lamp. On clear nights ships twenty miles away could see the beam; in fog he rang the bell by hand, "
    "once every thirty seconds, until the morning came and the gulls returned to the rocks below.",
    "Photosynthesis is the process by which green plants turn sunlight, water and carbon dioxide into sugar and oxygen. "
    "It takes place in the chloroplasts of the leaf cells, where chlorophyll absorbs red and blue light. The energy "
    "is first stored in small molecules and then spent to build glucose, which feeds the roots, the stem and the fruit.",
    "def mean(values):\n    \"\"\"Arithmetic mean of a list of numbers.\"\"\"\n    if not values:\n"
    "        raise ValueError(\"mean of nothing\")\n    total = 0.0\n    for value in values:\n        total += value\n"
    "    return total / len(values)\n\n\nprint(mean([1, 2, 3.5]))\n",
]
PROMPTS = [
    "What is the capital of France? Please answer in one short sentence, and then tell me two things that a visitor who "
    "has only one day should see there, with the reason why each of them is worth the time and about how long it takes "
    "to walk from the first place to the second.",
    "Write a short story about a clockmaker who repairs the town's broken tower clock during a storm. The story should "
    "have a beginning, a middle and an end, mention the smell of rain on the stone stairs, and close with the clock "
    "striking seven as the sun comes through the clouds.",
    "I have 3 boxes with 12 apples in each box. I give away 7 apples to my neighbour and buy 2 more boxes of the same "
    "size on Saturday. How many apples do I have in the end? Show every step of the calculation, one step on each line, "
    "and write the result at the very end.",
    "Explain to a ten-year-old child why the sky is blue during the day and red in the evening. Use simple words, no "
    "formulas, and one comparison with something that can be found in a kitchen, and do not use more than five sentences "
    "for the whole explanation, please.",
    "Translate the following sentences into French: The train to the mountains leaves at half past six. We have packed "
    "bread, cheese and a thermos of tea. If it snows again tonight, the pass will be closed and we shall have to wait in "
    "the village until the road is free.",
    "List the steps for changing a flat bicycle tyre, from loosening the wheel to pumping up the new tube. For each step "
    "name the tool that is needed and one mistake that beginners make. Keep every item to one line and number the lines "
    "so that they can be followed easily.",
    "Summarize this paragraph: The committee met on Tuesday to discuss the new library. Most members wanted a larger "
    "reading room, but the budget allows only for the repair of the roof and new windows. A vote was postponed until the "
    "architect can present a cheaper plan next month.",
    "Compare the advantages of travelling by train and by aeroplane for a journey of eight hundred kilometres. Consider "
    "the price, the total time from door to door, the comfort on the way and the effect on the climate, and finish with "
    "a clear recommendation for a family of four people.",
    "Write a Python function that takes a list of words and returns a dictionary which maps each first letter to the "
    "sorted list of the words that begin with it. Words that start with a digit should be collected under the key '#', "
    "and empty strings must be ignored by the function.",
    "The Roman Empire reached its greatest extent under the emperor Trajan in the year 117. Describe how goods, letters "
    "and soldiers moved between the provinces at that time, which roads and sea routes mattered the most, and what made "
    "travel in the winter months so dangerous for merchants.",
]
CLOSING = " Keep the answer friendly, clear and complete, and check it once more before you send it."


def round_bf16(a):
    """float32 -> bfloat16 -> float32, ties to even."""
    bits = np.ascontiguousarray(a, dtype=np.float32).view(np.uint32)
    return (((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32)).view(np.float32)


def read_safetensors(path):
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, t in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        raw = data[8 + size + t["data_offsets"][0] : 8 + size + t["data_offsets"][1]]
        if t["dtype"] == "BF16":
            a = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            a = np.frombuffer(raw, {"F16": np.float16, "F32": np.float32}[t["dtype"]])
        tensors[name] = a.reshape(t["shape"]).astype(np.float32)
    return tensors


class Gguf:
    """Metadata and float32 tensors of a GGUF v2/v3 file, as far as SmolLM2's needs."""

    SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def __init__(self, path):
        self.data, self.at = path.read_bytes(), 0
        magic, version, tensors, pairs = self.unpack("<4sIQQ")
        assert magic == b"GGUF" and version in (2, 3), path
        self.metadata = {}
        for _ in range(pairs):
            key = self.text()
            self.metadata[key] = self.value(self.unpack("<I")[0])
        infos = []
        for _ in range(tensors):
            name = self.text()
            dims = self.unpack(f"<{self.unpack('<I')[0]}Q")
            kind, offset = self.unpack("<IQ")
            infos.append((name, dims[::-1], kind, offset))
        alignment = self.metadata.get("general.alignment", 32)
        base = -(-self.at // alignment) * alignment
        self.tensors = {n: self.decode(kind, base + offset, shape) for n, shape, kind, offset in infos}

    def unpack(self, form):
        out = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return out

    def text(self):
        (n,) = self.unpack("<Q")
        self.at += n
        return self.data[self.at - n : self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            item, n = self.unpack("<IQ")
            return [self.value(item) for _ in range(n)]
        return self.unpack("<" + self.SCALARS[kind])[0]

    def decode(self, kind, at, shape):
        n = int(np.prod(shape))
        if kind == 0:
            return np.frombuffer(self.data, np.float32, n, at).reshape(shape)
        if kind == 1:
            return np.frombuffer(self.data, np.float16, n, at).reshape(shape).astype(np.float32)
        if kind == 3:  # Q4_1: per 32 elements f16 d, f16 m, 16 bytes; low nibbles are elements 0..15
            blocks = np.frombuffer(self.data, np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]), n // 32, at)
            codes = np.concatenate([blocks["q"] & 15, blocks["q"] >> 4], axis=1).astype(np.float32)
            values = blocks["d"][:, None].astype(np.float32) * codes + blocks["m"][:, None].astype(np.float32)
            return values.reshape(shape)
        if kind == 8:  # Q8_0: per 32 elements f16 d, 32 x i8
            blocks = np.frombuffer(self.data, np.dtype([("d", "<f2"), ("q", "i1", 32)]), n // 32, at)
            return (blocks["d"][:, None].astype(np.float32) * blocks["q"]).reshape(shape)
        if kind == 14:  # Q6_K: per 256 elements 128 low nibbles, 64 high pairs, 16 x i8 scales, f16 d
            form = np.dtype([("l", "u1", (2, 64)), ("h", "u1", (2, 32)), ("s", "i1", 16), ("d", "<f2")])
            blocks = np.frombuffer(self.data, form, n // 256, at)
            low = np.stack([blocks["l"] & 15, blocks["l"] >> 4], axis=2).reshape(-1, 2, 4, 32)
            high = np.stack([blocks["h"] >> s & 3 for s in (0, 2, 4, 6)], axis=2)
            codes = (low | high << 4).astype(np.int32) - 32
            scaled = blocks["d"][:, None].astype(np.float32) * blocks["s"].astype(np.float32)
            return (scaled[:, :, None] * codes.reshape(-1, 16, 16).astype(np.float32)).reshape(shape)
        raise ValueError(f"GGUF tensor kind {kind} is not read here")


def llama_from_gguf(gguf):
    """(config, tensors) in Hugging Face's terms; GGUF keeps q and k with the halves of each head interleaved."""
    m = {k.split(".", 1)[1]: v for k, v in gguf.metadata.items() if k.startswith("llama.")}
    config = {
        "hidden_size": m["embedding_length"], "num_hidden_layers": m["block_count"],
        "num_attention_heads": m["attention.head_count"], "num_key_value_heads": m["attention.head_count_kv"],
        "rms_norm_eps": m["attention.layer_norm_rms_epsilon"], "rope_theta": m.get("rope.freq_base", 10000.0),
        "model_type": "llama",
    }
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
             "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    tensors = {}
    for name, w in gguf.tensors.items():
        parts = name.split(".")
        if parts[-2] in heads:
            half = w.shape[0] // heads[parts[-2]] // 2
            w = w.reshape(heads[parts[-2]], half, 2, -1).swapaxes(1, 2).reshape(w.shape)
        prefix = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
        tensors[prefix + names[parts[-2]] + ".weight"] = w
    return config, tensors


def rope_factors(config, rotary_dim, rows):
    f = float(config.get("rope_theta", 10000)) ** -(np.arange(0, rotary_dim, 2) / rotary_dim)
    scaling = config.get("rope_scaling")
    if scaling and scaling.get("rope_type") == "llama3":
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        turns = scaling["original_max_position_embeddings"] * f / (2 * np.pi)
        smooth = np.clip((turns - low) / (high - low), 0, 1)
        f = (1 - smooth) * f / scaling["factor"] + smooth * f
    angle = np.arange(rows)[:, None] * f
    return np.cos(angle), np.sin(angle)


def attend(q, k, v, cos, sin):
    """q [T, heads, D], k and v [T, kv_heads, D] -> [T, heads * D], causal."""
    half = cos.shape[1]

    def rotate(x):
        a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        c, s = cos[:, None], sin[:, None]
        return np.concatenate([a * c - b * s, b * c + a * s, rest], axis=-1)

    q, k = rotate(q), np.repeat(rotate(k), q.shape[1] // k.shape[1], axis=1)
    v = np.repeat(v, q.shape[1] // v.shape[1], axis=1)
    scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[-1])
    scores = np.where(np.tril(np.ones(scores.shape[1:], bool)), scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("hts,shd->thd", p / p.sum(-1, keepdims=True), v).reshape(len(q), -1)


def llama_logits(config, w, tokens):
    w = {k: v.astype(np.float64) for k, v in w.items()}
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    size = config.get("head_dim") or config["hidden_size"] // heads
    cos, sin = rope_factors(config, size, len(tokens))

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + config["rms_norm_eps"]) * w[name + ".weight"]

    x = w["model.embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        y = norm(x, p + "input_layernorm")
        q, k, v = (y @ w[p + f"self_attn.{n}_proj.weight"].T for n in "qkv")
        y = attend(q.reshape(-1, heads, size), k.reshape(-1, kv_heads, size), v.reshape(-1, kv_heads, size), cos, sin)
        x = x + y @ w[p + "self_attn.o_proj.weight"].T
        y = norm(x, p + "post_attention_layernorm")
        gate, up = (y @ w[p + f"mlp.{n}_proj.weight"].T for n in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[p + "mlp.down_proj.weight"].T
    return norm(x, "model.norm") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def relative_rms(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))


def check(folder):
    config = json.loads((folder / "config.json").read_text())
    tokens = np.load(folder / "tokens.npy").reshape(-1)
    ours = llama_logits(config, read_safetensors(folder / "model.safetensors"), tokens)
    error = relative_rms(ours, np.load(folder / "logits_fp32.npy").reshape(ours.shape).astype(np.float64))
    print(f"{folder.name}: relative RMS {error:.2e} against the stored logits")
    return error < 1e-5


def tokenize(gguf, texts):
    """Byte-level BPE of the GGUF's vocabulary and merges, digits one by one (pre-tokenizer kind `smollm`)."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocab = {t: i for i, t in enumerate(gguf.metadata["tokenizer.ggml.tokens"])}
    merges = [tuple(m.split(" ", 1)) for m in gguf.metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    rows = [tokenizer.encode(t).ids for t in texts]
    short = [len(r) for r in rows if len(r) < POSITIONS]
    assert not short, f"texts of only {short} tokens"
    return np.array([r[:POSITIONS] for r in rows], np.int32)


def make(path, out):
    gguf = Gguf(path)
    config, weights = llama_from_gguf(gguf)
    weights = {k: round_bf16(v) for k, v in weights.items()}
    tokens = tokenize(gguf, TEXTS + [p + CLOSING for p in PROMPTS])
    logits = np.stack([llama_logits(config, weights, row) for row in tokens])
    ids = np.sort(np.random.default_rng(1).choice(logits.shape[-1], 512, replace=False)).astype(np.int32)
    top = np.argsort(-logits, axis=-1, kind="stable")[..., :8]
    out.mkdir(parents=True, exist_ok=True)
    for name, a in {
        "tokens": tokens, "sample_ids": ids, "text_samples": logits[:3][..., ids].astype(np.float32),
        "statistics": np.stack([logits.mean(-1), np.sqrt((logits**2).mean(-1))], -1).astype(np.float32),
        "top_ids": top.astype(np.int32), "top_logits": np.take_along_axis(logits, top, -1).astype(np.float32),
        "full_logits": logits[0, -1].astype(np.float32),
    }.items():
        np.save(out / f"{name}.npy", a)
    hits = (top[:, :-1, 0] == tokens[:, 1:]).mean()
    print(f"{tokens.size} positions; the argmax is the text's next token in {hits:.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=Path, action="append", default=[], metavar="SOURCE_FOLDER")
    parser.add_argument("paths", nargs="*", type=Path, metavar="SMOLLM2.gguf OUTPUT_FOLDER")
    args = parser.parse_args()
    if not all([check(folder) for folder in args.check]):
        return 1
    if args.paths:
        make(*args.paths)
    return 0


if __name__ == "__main__":
    sys.exit(main())
