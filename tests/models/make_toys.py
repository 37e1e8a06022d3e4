#!/usr/bin/env python3
"""Makes toy models under tests/data/models with transformers, and logits of their steps.

Usage: make_toys.py DATA TOY...   the toys of TOYS: config.json, model.safetensors, tokens.npy, logits_fp32.npy
       make_toys.py --steps FOLDER...   logits_steps_fp32.npy of models in folders of that form

With transformers 5.24 and torch. Weights are random of a fixed seed, about 1.5 / sqrt(inputs) wide so that what a config
switches on shows in the logits, and stored in bfloat16. `logits_fp32.npy`: f32[ids, vocab], one forward in float32 over
all of tokens.npy. `logits_steps_fp32.npy`: the same ids as a prompt of 12 and single steps after it, over one cache:
where the rotation depends on the text's length, keys stay as they were when they entered it. Toys that give embeddings have
`batch_{tokens,mask,last_hidden_fp32}.npy` instead: [texts, longest], and [texts, longest, hidden].
"""

import json
import os
import sys

import numpy
import torch
import transformers

PROMPT = 12
IDS = 28

SIZES = {"hidden_size": 64, "intermediate_size": 136, "num_attention_heads": 4, "num_hidden_layers": 2,
         "num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
         "hidden_act": "silu", "dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}

TOYS = {
    # Heads that are no power of two: the last slopes lie between the first ones.
    "bloom": {"architectures": ["BloomForCausalLM"], "model_type": "bloom", "apply_residual_connection_post_layernorm": False,
              "bos_token_id": 1, "eos_token_id": 2, "hidden_size": 96, "layer_norm_epsilon": 1e-05, "n_head": 6, "n_layer": 2,
              "offset_alibi": 100, "pad_token_id": 3, "seq_length": 64, "torch_dtype": "bfloat16", "vocab_size": 400},
    # Queries without a latent of their own, experts in no groups, a yarn that scales cosines and sines too.
    "deepseek_v2_lite": {
        **SIZES, "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "attention_bias": False,
        "first_k_dense_replace": 1, "kv_lora_rank": 32, "moe_intermediate_size": 40, "moe_layer_freq": 1, "n_group": 1,
        "n_routed_experts": 5, "n_shared_experts": 1, "norm_topk_prob": False, "num_experts_per_tok": 2,
        "num_key_value_heads": 4, "q_lora_rank": None, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
        "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 3.0, "mscale": 1.0, "mscale_all_dim": 0.5,
                         "original_max_position_embeddings": 16, "type": "yarn"},
        "rope_theta": 10000.0, "routed_scaling_factor": 2.0, "scoring_func": "softmax", "tie_word_embeddings": False,
        "topk_group": 1, "topk_method": "greedy", "v_head_dim": 24,
    },
    # Its windows are shorter than the text, every cap bends the scores and logits it meets, and the scale is not that of
    # the heads.
    "gemma2": {
        "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "attention_bias": False,
        "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0, "head_dim": 24,
        "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 64,
        "intermediate_size": 96, "max_position_embeddings": 128, "num_attention_heads": 4, "num_hidden_layers": 3,
        "num_key_value_heads": 2, "query_pre_attn_scalar": 20, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
        "sliding_window": 9, "vocab_size": 512, "torch_dtype": "bfloat16",
    },
    # Both bases and the scaling show within the text, and so does the window; the scale is not that of the heads.
    "gemma3_text": {
        "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "attention_bias": False,
        "attn_logit_softcapping": None, "cache_implementation": "hybrid", "final_logit_softcapping": None, "head_dim": 24,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 64, "intermediate_size": 96,
        "max_position_embeddings": 128, "num_attention_heads": 4, "num_hidden_layers": 3, "num_key_value_heads": 2,
        "query_pre_attn_scalar": 20, "rms_norm_eps": 1e-06, "rope_local_base_freq": 100.0,
        "rope_scaling": {"factor": 4.0, "rope_type": "linear"}, "rope_theta": 5000.0, "sliding_window": 9,
        "sliding_window_pattern": 2, "vocab_size": 512, "torch_dtype": "bfloat16",
    },
    "phi3": {**SIZES, "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "partial_rotary_factor": 0.75,
             "original_max_position_embeddings": 64, "rope_scaling": None, "rope_theta": 10000.0,
             "sliding_window": None, "tie_word_embeddings": False},
    "phi3_longrope": {**SIZES, "architectures": ["Phi3ForCausalLM"], "model_type": "phi3",
                      "original_max_position_embeddings": 16, "rope_theta": 10000.0, "tie_word_embeddings": False,
                      "sliding_window": 64,
                      "rope_scaling": {"long_factor": [1.0, 1.3, 1.9, 2.6, 3.4, 4.5, 6.0, 8.0],
                                       "short_factor": [1.0, 1.02, 1.05, 1.1, 1.2, 1.3, 1.5, 2.0],
                                       "type": "longrope"}},
    "qwen3": {**SIZES, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 24,
              "attention_bias": False, "rope_theta": 1000000.0, "rope_scaling": None, "sliding_window": None,
              "use_sliding_window": False, "max_window_layers": 2, "tie_word_embeddings": True},
    # As Qwen3-Embedding is published: the decoder alone, and sentence-transformers' files beside it.
    "qwen3_embedding": {**SIZES, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 24,
                        "hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 1, "vocab_size": 520,
                        "attention_bias": False, "rope_theta": 1000000.0, "rope_scaling": None, "sliding_window": None,
                        "use_sliding_window": False, "max_window_layers": 2, "tie_word_embeddings": False},
    # More channels inside than outside, activations halved once on the way, a last part of 80 that fills no group.
    "rwkv": {"architectures": ["RwkvForCausalLM"], "model_type": "rwkv", "attention_hidden_size": 80,
             "bos_token_id": 0, "context_length": 64, "eos_token_id": 0, "hidden_size": 64, "intermediate_size": 136,
             "layer_norm_epsilon": 1e-05, "num_hidden_layers": 3, "rescale_every": 2, "tie_word_embeddings": False,
             "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 400},
}


def load(folder):
    """The model of a folder in float32, with the attention that is written out."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()


def make(folder, seed):
    """Random weights for the config that `folder` holds, ids, and logits."""
    torch.manual_seed(seed)
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".time_" in name:
                random_recurrence(name, weight)
            elif weight.dim() > 1:
                weight.normal_(0, (0.5 if "embed" in name else 1.5 / weight.shape[-1] ** 0.5))
            elif name.endswith("bias"):
                weight.normal_(0, 0.3)
            elif "Gemma" in type(model).__name__:  # stored less 1: 1 + weight is a bfloat16 too
                weight.copy_(torch.round(weight.normal_(0, 0.15) * 128) / 128)
            else:
                weight.normal_(1, 0.15)
    stated = config_text(folder)
    embeds = folder.endswith("_embedding")
    stored = model.base_model if config.model_type == "bloom" or embeds else model  # as its authors store it
    stored.to(torch.bfloat16).save_pretrained(folder)
    write(os.path.join(folder, "config.json"), stated)
    for extra in ("generation_config.json",):
        if os.path.exists(os.path.join(folder, extra)):
            os.remove(os.path.join(folder, extra))
    if embeds:
        return embedding_batch(folder, config, seed)
    ids = numpy.random.default_rng(seed).integers(0, config.vocab_size, IDS, dtype=numpy.int32)
    numpy.save(os.path.join(folder, "tokens.npy"), ids)
    with torch.no_grad():
        logits = load(folder)(torch.tensor(ids, dtype=torch.int64)[None], use_cache=False).logits[0]
    numpy.save(os.path.join(folder, "logits_fp32.npy"), logits.numpy())


def embedding_batch(folder, config, seed):
    """Three texts of one batch, padded on the right, and the last hidden states of their tokens."""
    lengths = (13, 1, 7)
    mask = numpy.array([[i < n for i in range(max(lengths))] for n in lengths], dtype=numpy.int32)
    ids = numpy.random.default_rng(seed).integers(1, config.vocab_size, mask.shape, dtype=numpy.int32) * mask
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        states = model(torch.tensor(ids, dtype=torch.int64), attention_mask=torch.tensor(mask)).last_hidden_state
    for name, array in (("tokens", ids), ("mask", mask), ("last_hidden_fp32", states.numpy())):
        numpy.save(os.path.join(folder, f"batch_{name}.npy"), array)
    os.makedirs(os.path.join(folder, "1_Pooling"), exist_ok=True)
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    pooling = {"word_embedding_dimension": config.hidden_size} | {f"pooling_mode_{m}": m == "lasttoken" for m in modes}
    write(os.path.join(folder, "1_Pooling/config.json"), json.dumps(pooling | {"include_prompt": True}, indent=2) + "\n")
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
               for i, (path, kind) in enumerate(kinds)]
    write(os.path.join(folder, "modules.json"), json.dumps(modules, indent=2) + "\n")


def random_recurrence(name, weight):
    """What a layer of RWKV-4 keeps of earlier tokens: shares of the last, and rates of decay from slow to at once."""
    if "time_mix" in name:
        weight.uniform_(0.1, 0.9)
    elif name.endswith("time_decay"):
        weight.uniform_(-4, 1.5)
    else:
        weight.normal_(0, 1)


def steps(folder):
    """A prompt, then one id at a time."""
    model = load(folder)
    ids = torch.tensor(numpy.load(os.path.join(folder, "tokens.npy")).astype(numpy.int64))[None]
    cache, rows = transformers.DynamicCache(), []
    with torch.no_grad():
        for begin, end in [(0, PROMPT)] + [(i, i + 1) for i in range(PROMPT, ids.shape[1])]:
            rows.append(model(ids[:, begin:end], past_key_values=cache, use_cache=True).logits[0])
    numpy.save(os.path.join(folder, "logits_steps_fp32.npy"), torch.cat(rows).numpy())


def config_text(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main():
    if sys.argv[1] == "--steps":
        for folder in sys.argv[2:]:
            steps(folder)
        return
    for toy in sys.argv[2:]:
        folder = os.path.join(sys.argv[1], toy)
        os.makedirs(folder, exist_ok=True)
        write(os.path.join(folder, "config.json"), json.dumps(TOYS[toy], indent=2) + "\n")
        make(folder, seed=len(toy))
        scaling = TOYS[toy].get("rope_scaling") or {}
        if scaling.get("type") == "longrope":
            steps(folder)


if __name__ == "__main__":
    main()
