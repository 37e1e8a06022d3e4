# One measurement of OpenVINO GenAI on a GGUF file, as one process, with the quantities and the arguments of llama_bench.cpp:
# openvino_bench.py MODEL.gguf THREADS PROMPT GENERATE STREAMS
import os
import sys
import time

import own_process


def main():
    begin = own_process.start()
    import numpy
    import openvino
    import openvino_genai
    path, (threads, prompt, generate, streams) = sys.argv[1], map(int, sys.argv[2:6])
    start = time.monotonic()
    pipeline = openvino_genai.LLMPipeline(path, "CPU", INFERENCE_NUM_THREADS=threads)
    load_s = time.monotonic() - start

    def run(tokens, count, first, rows=1):
        """Seconds to the first token and from it to the last of `count`, after the same prompt in each of `rows` sequences.
        first: what the prompt begins with. The pipeline keeps what it has read, and reads no token of a prompt that begins as
        an earlier one did: every run needs another."""
        ids = numpy.array([[first + i * 7919 % 20000 for i in range(tokens)]] * rows, dtype=numpy.int64)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))
        config = openvino_genai.GenerationConfig(max_new_tokens=count, ignore_eos=True, do_sample=False)
        start = time.monotonic()
        metrics = pipeline.generate(inputs, config).perf_metrics
        total_s, first_s = time.monotonic() - start, metrics.get_ttft().mean / 1000
        steps = len(metrics.raw_metrics.m_new_token_times)
        if steps != count:
            sys.exit(f"openvino: {steps} steps, expected {count}")
        return first_s, total_s - first_s

    run(16, 1, 300)
    ttft_s = time.clock_gettime(time.CLOCK_BOOTTIME) - begin
    run(64, 16, 301)
    prefill_s, decode_s = run(prompt, generate + 1, 302, streams)
    print(f'{{"prefill_tok_s": {streams * prompt / prefill_s:.3f}, "decode_tok_s": {streams * generate / decode_s:.3f}, '
          f'"load_s": {load_s:.4f}, "ttft_s": {ttft_s:.4f}, "peak_rss_bytes": {own_process.peak_rss()}}}', flush=True)
    os._exit(0)  # its own teardown is not measured


main()
