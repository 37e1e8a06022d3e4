# One measurement of OpenVINO GenAI on a GGUF file, as one process, with the quantities and the arguments of llama_bench.cpp:
# openvino_bench.py MODEL.gguf THREADS PROMPT GENERATE STREAMS
import os
import sys
import time


def process_start():
    """Seconds since boot at which this process began."""
    with open("/proc/self/stat") as f:
        return int(f.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")


def peak_rss():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM:"))


def main():
    begin = process_start()
    import numpy
    import openvino
    import openvino_genai
    path, (threads, prompt, generate, streams) = sys.argv[1], map(int, sys.argv[2:6])
    start = time.monotonic()
    pipeline = openvino_genai.LLMPipeline(path, "CPU", INFERENCE_NUM_THREADS=threads)
    load_s = time.monotonic() - start

    def run(tokens, count, rows=1):
        """Seconds for `count` tokens after the same prompt in each of `rows` sequences."""
        ids = numpy.array([[300 + i * 7919 % 20000 for i in range(tokens)]] * rows, dtype=numpy.int64)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))
        config = openvino_genai.GenerationConfig(max_new_tokens=count, ignore_eos=True, do_sample=False)
        start = time.monotonic()
        pipeline.generate(inputs, config)
        return time.monotonic() - start

    run(16, 1)
    ttft_s = time.clock_gettime(time.CLOCK_BOOTTIME) - begin
    run(64, 2)
    prefill_s = run(prompt, 1, streams)
    decode_s = run(prompt, generate + 1, streams) - prefill_s
    print(f'{{"prefill_tok_s": {streams * prompt / prefill_s:.3f}, "decode_tok_s": {streams * generate / decode_s:.3f}, '
          f'"load_s": {load_s:.4f}, "ttft_s": {ttft_s:.4f}, "peak_rss_bytes": {peak_rss()}}}', flush=True)
    os._exit(0)  # its own teardown is not measured


main()
