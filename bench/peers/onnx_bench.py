# One measurement of ONNX Runtime GenAI on a folder of make_onnx, as one process, with the quantities and the arguments of
# llama_bench.cpp: onnx_bench.py FOLDER THREADS PROMPT GENERATE STREAMS
import json
import os
import sys
import time

import own_process


def main():
    begin = own_process.start()
    import numpy
    import onnxruntime_genai
    folder, (threads, prompt, generate, streams) = sys.argv[1], map(int, sys.argv[2:6])
    start = time.monotonic()
    config = onnxruntime_genai.Config(folder)
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
    model = onnxruntime_genai.Model(config)
    load_s = time.monotonic() - start

    def run(tokens, count, rows=1):
        """Seconds to the first token and from it to the last of `count`, after the same prompt in each of `rows` sequences."""
        params = onnxruntime_genai.GeneratorParams(model)
        # No sequence may end early: min_length forbids the token that would end it.
        params.set_search_options(batch_size=rows, min_length=tokens + count, max_length=tokens + count, do_sample=False)
        generator = onnxruntime_genai.Generator(model, params)
        start = time.monotonic()
        generator.append_tokens(numpy.array([[300 + i * 7919 % 20000 for i in range(tokens)]] * rows, dtype=numpy.int32))
        generator.generate_next_token()
        first_s = time.monotonic() - start
        for _ in range(count - 1):
            generator.generate_next_token()
        total_s = time.monotonic() - start
        if len(generator.get_sequence(rows - 1)) != tokens + count:
            sys.exit(f"onnxruntime: {len(generator.get_sequence(rows - 1))} tokens, expected {tokens + count}")
        return first_s, total_s - first_s

    run(16, 1)
    ttft_s = time.clock_gettime(time.CLOCK_BOOTTIME) - begin
    run(64, 16)
    prefill_s, decode_s = run(prompt, generate + 1, streams)
    print(f'{{"prefill_tok_s": {streams * prompt / prefill_s:.3f}, "decode_tok_s": {streams * generate / decode_s:.3f}, '
          f'"load_s": {load_s:.4f}, "ttft_s": {ttft_s:.4f}, "peak_rss_bytes": {own_process.peak_rss()}}}', flush=True)
    os._exit(0)  # its own teardown is not measured


main()
