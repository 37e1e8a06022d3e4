# Writes the first seeds of each target to fuzz/corpus/TARGET: small sound files. Usage: python fuzz/make_seeds.py
# What fuzzing found on top (after libFuzzer's -merge=1) lies beside them.
import json
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).parent / "corpus"


def seed(target, name, data):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def safetensors(header, size):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(256))[:size]


seed("safetensors", "two", safetensors({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                                        "b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [8, 20]}}, 20))
seed("safetensors", "empty", safetensors({}, 0))
seed("safetensors", "unread", safetensors({"__metadata__": {"a": [1, {"b": float("nan")}], "c": None}, "a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]},
                                           "b": {"kind": {"x": []}, "dtype": "C64", "shape": [1], "data_offsets": [2, 10]}}, 10))
seed("weight_index", "twice", b'{"metadata":{"total_size":NaN},"weight_map":{"a":"f"},"weight_map":{"a":"f","b":"f","a":"g"}}')
seed("weight_index", "stale", b'\xef\xbb\xbf{"weight_map":{"a":"model-00001-of-00002.safetensors","gone":"model-00009-of-00009.bin"},"metadata":[1e999]}')
seed("weight_index", "two", b'{"metadata":{"total_size":20},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors","c":"m-1.safetensors"}}')

def adapter(config, tensors):
    header, at = {}, 0
    for name, shape in tensors:
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * shape[0] * shape[1]]}
        at += 4 * shape[0] * shape[1]
    return json.dumps(config).encode() + b"\n" + safetensors(header, at)


MODULE = "base_model.model.model.layers.0.self_attn.q_proj"
PAIR = [(MODULE + ".lora_A.weight", [2, 4]), (MODULE + ".lora_B.weight", [3, 2])]
seed("lora", "plain", adapter({"peft_type": "LORA", "r": 2, "lora_alpha": 4}, PAIR))
seed("lora", "patterns", adapter({"r": 8, "lora_alpha": 16, "use_rslora": True, "rank_pattern": {"^model\\.layers\\.[0-9]+.(self_attn|mlp).q_proj$": 2},
                                  "alpha_pattern": {"q_proj": 3.5}}, PAIR))
seed("lora", "dora", adapter({"r": 2, "lora_alpha": 4, "use_dora": True}, PAIR))
seed("lora", "alone", adapter({"r": 2, "lora_alpha": 4}, PAIR[:1]))



def text(value):
    return struct.pack("<Q", len(value)) + value


def gguf(pairs, tensors, version=3):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    for key, kind, value in pairs:
        out += text(key) + struct.pack("<I", kind) + value
    body = b""
    for name, shape, kind, size in tensors:
        body += bytes(-len(body) % 32)
        out += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", d) for d in shape) + struct.pack("<IQ", kind, len(body))
        body += bytes((7 * i) % 256 for i in range(size))
    return out + bytes(-len(out) % 32) + body


def u32(value):
    return struct.pack("<I", value)


def texts(values):
    return u32(8) + struct.pack("<Q", len(values)) + b"".join(text(v) for v in values)


def model(arch):
    pairs = [(b"general.architecture", 8, text(arch)), (b"tokenizer.ggml.model", 8, text(b"gpt2")), (b"tokenizer.ggml.tokens", 9, texts([b"a", b"b", b"ab"])),
             (b"tokenizer.ggml.merges", 9, texts([b"a b"])), (b"tokenizer.ggml.scores", 9, u32(6) + struct.pack("<Qfff", 3, 0, -1, -2)),
             (b"tokenizer.ggml.token_type", 9, u32(5) + struct.pack("<Qiii", 3, 1, 1, 1)), (b"tokenizer.ggml.bos_token_id", 4, u32(0))]
    for key, value in ((b"block_count", 1), (b"context_length", 64), (b"embedding_length", 8), (b"feed_forward_length", 16),
                       (b"attention.head_count", 2), (b"attention.head_count_kv", 1)):
        pairs.append((arch + b"." + key, 4, u32(value)))
    pairs.append((arch + b".attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5)))
    pairs.append((arch + b".rope.freq_base", 6, struct.pack("<f", 10000)))
    return pairs


LLAMA = [(b"token_embd.weight", (8, 3), 0, 96), (b"blk.0.attn_q.weight", (8, 8), 1, 128), (b"blk.0.attn_k.weight", (8, 4), 30, 64),
         (b"blk.0.attn_q.bias", (8,), 0, 32), (b"output.weight", (32, 2), 2, 36)]
seed("gguf", "llama", gguf(model(b"llama"), LLAMA))
seed("gguf", "llama_rope", gguf(model(b"llama") + [(b"general.alignment", 4, u32(32))], LLAMA[:1] + [(b"rope_freqs.weight", (2,), 0, 8)]))
seed("gguf", "linear", gguf(model(b"qwen2") + [(b"qwen2.rope.scaling.type", 8, text(b"linear")), (b"qwen2.rope.scaling.factor", 6, struct.pack("<f", 2))],
                            [(b"token_embd.weight", (8, 3), 0, 96)]))
seed("gguf", "gptneox", gguf(model(b"gptneox"), [(b"token_embd.weight", (8, 3), 0, 96), (b"blk.0.attn_qkv.weight", (8, 12), 1, 192), (b"blk.0.attn_qkv.bias", (12,), 0, 48)], 2))
SIZES = {0: (1, 4), 1: (1, 2), 30: (1, 2), 28: (1, 8), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
         20: (32, 18), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210)}
for kind, (elements, size) in SIZES.items():
    seed("gguf", f"type_{kind}", gguf([(b"general.architecture", 8, text(b"llama"))], [(b"output.weight", (elements,), kind, size)]))
scalars = [(b"k%d" % t, t, bytes(n)) for t, n in ((0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (10, 8), (11, 8), (12, 8))]
seed("gguf", "values", gguf(scalars + [(b"list", 9, u32(3) + struct.pack("<Qhh", 2, -1, 1))], []))


seed("gguf", "unread", gguf(model(b"llama") + [(b"caf\xe9", 9, u32(9) + struct.pack("<QIQiiIQ", 2, 5, 2, 1, 2, 8, 1) + text(b"a")), (b"bool", 7, b"\x09"),
                                             (b"u64", 10, b"\xff" * 8), (b"twice", 4, u32(1)), (b"twice", 4, u32(2))],
                            LLAMA[:1] + [(b"strange", (32,), 99, 40), (b"output.weight", (256, 2), 17, 148), (b"five", (1, 1, 1, 1, 2), 0, 8)]))
seed("gguf", "part", gguf([(b"split.no", 2, struct.pack("<H", 1)), (b"split.count", 2, struct.pack("<H", 3))], [(b"blk.0.attn_q.weight", (8, 8), 1, 128)]))
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
for name, data in {"pointer": POINTER, "page": b"\n<!DOCTYPE html><html>", "error": b'<?xml version="1.0"?><Error><Code>', "gguf": gguf([], []), "swapped": b"FUGG",
                   "safetensors": safetensors({}, 0), "zip": b"PK\3\4", "legacy": b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", "tar": b"a" * 257 + b"ustar",
                   "gzip": b"\x1f\x8b", "xz": b"\xfd7zXZ", "elf": b"\x7fELF", "text": b"Entry not found", "empty": b"", "part": b"model-00002-of-00003.safetensors",
                   "json": b'\xef\xbb\xbf{"a": [NaN, Infinity, -Infinity, 1e999, -1e999], "b": "\\ud800x\\ud83d\\ude00", "b": 123456789012345678901234567890}'}.items():
    seed("probe", name, data)


def unicode(value):
    return b"X" + struct.pack("<I", len(value)) + value


def tensor(name, kind, key, elements, offset, shape, stride):
    ints = lambda values: b"(" + b"".join(b"M" + struct.pack("<H", v) for v in values) + b"t"
    return (unicode(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + unicode(b"storage") + b"ctorch\n" + kind + b"\n" + unicode(key) + unicode(b"cpu")
            + b"M" + struct.pack("<H", elements) + b"tQK" + bytes([offset]) + ints(shape) + ints(stride) + b"\x89ccollections\nOrderedDict\n)RtR")


PICKLES = {
    "plain": b"\x80\x02}(" + tensor(b"w", b"FloatStorage", b"0", 6, 0, (2, 3), (3, 1)) + b"u.",
    "views": b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(" + tensor(b"w", b"FloatStorage", b"0", 6, 0, (3, 2), (1, 3))
             + tensor(b"v", b"BFloat16Storage", b"1", 4, 1, (2,), (1,)) + b"u}" + unicode(b"_metadata") + b"}sb.",
    "parameter": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94(ctorch._utils\n_rebuild_parameter\n("
                 + tensor(b"w", b"HalfStorage", b"0", 1, 0, (), ())[6:] + b"\x88Nt" + b"R.",
    "others": b"\x80\x02}(" + unicode(b"n") + b"J\xff\xff\xff\xff" + unicode(b"f") + b"G\x00\x00\x00\x00\x00\x00\x00\x00" + unicode(b"l") + b"\x8a\x02\x00\xff"
              + b"\x8c\x01a\x94h\x00" + tensor(b"w", b"LongStorage", b"0", 1, 0, (1,), (1,)) + b"u.",
    "objects": b"\x80\x02}(" + tensor(b"w", b"QInt8Storage", b"0", 2, 0, (2,), (1,)) + unicode(b"o") + b"}(" + unicode(b"state") + b"}K\x01](K\x01esu"
               + unicode(b"n") + b"cargparse\nNamespace\n)\x81}" + unicode(b"a") + b"K\x01sb" + unicode(b"s") + b"\x8f(K\x01\x90" + unicode(b"f") + b"(K\x01\x91"
               + unicode(b"k") + b"cm\nC\n)}\x92" + unicode(b"d") + b"ccollections\ndefaultdict\n)R" + unicode(b"k") + b"K\x01s" + unicode(b"p") + b"K\x01K\x020(K\x031"
               + unicode(b"b") + b"C\x02ab" + unicode(b"l") + b"\x8a\x0d" + bytes(13) + tensor(b"v", b"FloatStorage", b"0", 6, 0, (6,), (1,)) + b"u.",
    "global": b"\x80\x04}\x8c\x01w\x8c\x0ccollections\x8c\x0bOrderedDict\x93)R\x85\x86s.",
}


def zipped(entries):
    out, directory = b"", b""
    for name, data in entries:
        at = len(out)
        out += struct.pack("<IHHHIIIIHH", 0x04034B50, 0, 0, 0, 0, 0, len(data), len(data), len(name), 0) + name + data
        directory += struct.pack("<IHHHHIIIIHHHHHII", 0x02014B50, 0, 0, 0, 0, 0, 0, len(data), len(data), len(name), 0, 0, 0, 0, 0, at) + name
    return out + directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(entries), len(entries), len(directory), len(out), 0)


def zipped64(entries):
    out, directory = b"", b""
    for name, data in entries:
        at = len(out)
        out += struct.pack("<IHHHIIIIHH", 0x04034B50, 0, 0, 0, 0, 0, len(data), len(data), len(name), 0) + name + data
        extra = struct.pack("<HHQQQ", 1, 24, len(data), len(data), at)
        directory += struct.pack("<IHHHHIIIIHHHHHII", 0x02014B50, 0, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra), 0, 0, 0, 0, 0xFFFFFFFF) + name + extra
    end = len(out) + len(directory)
    record = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, len(entries), len(entries), len(directory), len(out))
    return out + directory + record + struct.pack("<IIQI", 0x07064B50, 0, end, 1) + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)


for name, pickle in PICKLES.items():
    seed("torch_pickle", name, pickle)
    entries = [(b"a/data.pkl", pickle), (b"a/byteorder", b"little"), (b"a/data/0", bytes(24)), (b"a/data/1", bytes(8))]
    seed("torch_zip", name, zipped(entries))
seed("torch_zip", "zip64", zipped64([(b"a/data.pkl", PICKLES["plain"]), (b"a/data/0", bytes(24))]))
seed("torch_zip", "legacy", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19")
MANIFEST = json.dumps({"model_type": "llama", "quantization": "q4f16_1", "context_window_size": 64, "params": [{"name": "w", "shape": [2, 3], "dtype": "float16"}]}).encode()
seed("library", "manifest", MANIFEST)
RECORD = {"name": "w", "shape": [2, 3], "dtype": "float32", "format": "f32-to-bf16", "nbytes": 12, "byteOffset": 0}
SHARD = {"dataPath": "params_shard_0.bin", "format": "raw-shard", "nbytes": 12, "records": [RECORD], "md5sum": "0" * 32}
seed("shards", "one", json.dumps({"metadata": {"ParamSize": 1, "ParamBytes": 24.0, "BitsPerParam": 32.0}, "records": [SHARD]}).encode())
LLAMA_CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
                "num_key_value_heads": 2, "num_hidden_layers": 2, "head_dim": None, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "vocab_size": 256,
                "max_position_embeddings": 128, "tie_word_embeddings": True, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}
NEOX_CONFIG = {"model_type": "gpt_neox", "hidden_act": "gelu", "hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4, "num_hidden_layers": 2,
               "layer_norm_eps": 1e-05, "max_position_embeddings": 256, "rotary_pct": 0.25, "rotary_emb_base": 10000, "use_parallel_residual": True, "vocab_size": 512}
seed("config", "llama", json.dumps(LLAMA_CONFIG).encode())
seed("config", "gpt_neox", json.dumps(NEOX_CONFIG).encode())
seed("config", "mlc", json.dumps({"model_type": "llama", "quantization": "q4f16_1", "model_config": LLAMA_CONFIG, "context_window_size": 128}).encode())
seed("plan", "empty", b"MLCPLAN4" + bytes(32))


def side_files(config=None, special_map=None, added=None, own=None):
    return b"\x1e".join(b"" if part is None else json.dumps(part).encode() for part in (config, special_map, added, own))


TOKEN = {"content": "<e>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
seed("special_tokens", "decoder", side_files({"eos_token": "<e>", "added_tokens_decoder": {"4": TOKEN, "9": dict(TOKEN, content="<f>", lstrip=True)}},
                                             {"pad_token": "<p>"}, None, [dict(TOKEN, id=4)]))
seed("special_tokens", "map", side_files({"bos_token": dict(TOKEN, __type="AddedToken"), "unk_token": None, "image_token": "<i>", "extra_special_tokens": {"v_token": "<v>"}},
                                         {"eos_token": dict(TOKEN), "additional_special_tokens": ["<t>", dict(TOKEN, content="<u>")]}, {"<x>": 4, "a": 0}))
seed("special_tokens", "bare", side_files())
# Statements of the comparison with jinja2, the shapes of chat templates among them.
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests" / "data" / "chat"))
import jinja_statements  # noqa: E402

for number, source in enumerate(jinja_statements.STATEMENTS[::6]):
    seed("template", f"statement_{number:02}", source.encode())
for name, expressions in (("expression", jinja_statements.EXPRESSIONS), ("filter", jinja_statements.FILTERS), ("method", jinja_statements.METHODS)):
    for number, part in enumerate(expressions[i::12] for i in range(12)):
        seed("template", f"{name}_{number:02}", "".join(f"{{{{ {e} }}}}" for e in part[:20]).encode("utf-8", "replace"))

for file in sorted((ROOT.parents[1] / "tests/data/weights/packed").glob("*.safetensors")):
    seed("packed", file.stem, file.read_bytes())

for number, (kind, source) in enumerate([
        (0, json.dumps({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x"]}}, "required": ["a"]})),
        (0, json.dumps({"$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}, "$ref": "#/$defs/t"})),
        (0, json.dumps({"allOf": [{"anyOf": [{"minLength": 1}, {"type": "null"}]}, {"oneOf": [{"pattern": "^a+$"}, {"type": "null"}]}]})),
        (1, "(yes|no), [a-z]{2,5}\\d?"), (2, "start: \"a\" word*\nword: /[a-z]+/ | \"(\" word \")\"\n%ignore / /"),
        (3, "root ::= \"a\" [b-d\\n]{1,3} (list | .)?\nlist ::= \"(\" (root \",\")* \")\" # nested\n")]):
    seed("grammar", f"grammar_{number:02}", bytes([kind]) + source.encode())
DEEP_SEEK = ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>")
for form, answer in [(0, "plain"), (1, "a<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\"}}\n</tool_call>"), (2, "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}]"),
                     (2, "[TOOL_CALLS]f[ARGS]{\"a\": 1}"), (3, "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": \"{}\"}"),
                     (4, "[f(a=1, b='x'), g(c=[True, None])]"), (5, DEEP_SEEK), (6, "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b"),
                     (71, "<think>a</think>\nb")]:
    seed("tool_calls", f"form_{form}_{len(answer)}", bytes([form, 7]) + answer.encode())
