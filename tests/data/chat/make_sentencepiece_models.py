"""Trains the two toy SentencePiece models in tokenizers/: a Llama-like BPE model and a T5-like unigram model."""
import io
import json
import pathlib

import sentencepiece
from make_tokenizer_lines import HERE, line, without_control

lines = [without_control(line(i).decode("utf-8", errors="ignore")).replace("\n", " ") for i in range(20000, 26000)]
common = dict(unk_id=0, bos_id=1, eos_id=2, pad_id=-1, hard_vocab_limit=False, num_threads=1)
for name, options in {
    "spm_bpe": dict(model_type="bpe", vocab_size=900, byte_fallback=True, normalization_rule_name="identity",
                    remove_extra_whitespaces=False, character_coverage=0.98, user_defined_symbols=["<|im_start|>"]),
    "spm_unigram": dict(model_type="unigram", vocab_size=700, normalization_rule_name="nfkc", character_coverage=0.98),
}.items():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **common, **options)
    pathlib.Path(HERE / "tokenizers" / f"{name}.model").write_bytes(model.getvalue())
