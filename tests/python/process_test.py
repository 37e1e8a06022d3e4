# What needs a process of its own: Ctrl-C, the end of the interpreter, `python -m mlc_llm`, PopenServer.
import json
import os
import signal
import subprocess
import sys
import unittest
import urllib.error
import urllib.request

import toy

from mlc_llm import CommandError, PopenServer

BEGIN = """
import sys, threading
from mlc_llm import AsyncMLCEngine, MLCEngine
engine = {kind}({model!r}, device="cpu", model_lib={library!r}, engine_config={{"verbose": False}})
ask = dict(messages=[{{"role": "user", "content": "Hello"}}], temperature=0, max_tokens=8000)
"""


def python(code, kind="MLCEngine"):
    text = BEGIN.format(kind=kind, model=str(toy.converted()), library=str(toy.library())) + code
    return subprocess.Popen([sys.executable, "-B", "-c", text], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def command(*arguments):
    return subprocess.run([sys.executable, "-B", "-m", "mlc_llm", *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=300)


class InterruptTest(unittest.TestCase):
    def interrupted(self, code, kind="MLCEngine"):
        """Sends Ctrl-C once `code` has printed a line; its exit code, the rest of what it prints, and its errors."""
        process = python(code, kind)
        self.assertEqual(process.stdout.readline(), "running\n")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def test_ends_a_wait(self):
        code, out, err = self.interrupted("""
def tell():
    while engine.metrics()["requests_running"] == 0: pass
    print("running", flush=True)
try:
    threading.Thread(target=tell).start()
    engine.chat.completions.create(**ask)
    print("answered")
except KeyboardInterrupt:
    print("interrupted")
engine.chat.completions.create(**(ask | {"max_tokens": 3}))
print("and goes on, with", engine.metrics()["requests_finished"]["abort"], "aborted")
""")
        self.assertEqual((code, out), (0, "interrupted\nand goes on, with 1 aborted\n"), err)

    def test_ends_a_stream(self):
        code, out, err = self.interrupted("""
try:
    for number, chunk in enumerate(engine.chat.completions.create(**ask, stream=True)):
        if number == 0: print("running", flush=True)
    print("answered")
except KeyboardInterrupt:
    print("interrupted")
""")
        self.assertEqual((code, out), (0, "interrupted\n"), err)

    def test_ends_coroutines(self):
        code, out, err = self.interrupted("""
import asyncio
async def work():
    first = True
    async for chunk in await engine.chat.completions.create(**ask, stream=True):
        if first: print("running", flush=True)
        first = False
    print("answered")
try:
    asyncio.run(work())
except KeyboardInterrupt:
    print("interrupted")
""", "AsyncMLCEngine")
        self.assertEqual((code, out), (0, "interrupted\n"), err)

    def test_unhandled_ends_the_program(self):
        code, _, err = self.interrupted('print("running", flush=True)\nengine.chat.completions.create(**ask)\n')
        self.assertEqual(code, -signal.SIGINT, err)
        self.assertIn("KeyboardInterrupt", err)


class EndTest(unittest.TestCase):
    def ends_well(self, code, kind="MLCEngine"):
        process = python(code, kind)
        out, err = process.communicate(timeout=120)
        self.assertEqual((process.returncode, err), (0, ""))
        return out

    def test_with_a_stream_at_work(self):
        self.ends_well("stream = engine.chat.completions.create(**ask, stream=True)\nnext(stream)\n")

    def test_with_threads_at_work(self):
        self.ends_well("""
for daemon in (True, False):
    threading.Thread(target=lambda: engine.completions.create(prompt="a", max_tokens=300), daemon=daemon).start()
""")

    def test_with_coroutines_at_work(self):
        self.ends_well("""
import asyncio
async def work():
    await anext(await engine.chat.completions.create(**ask, stream=True))
asyncio.run(work())
""", "AsyncMLCEngine")


class CommandTest(unittest.TestCase):
    def test_runs(self):
        done = command("--help")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("convert_weight", done.stdout)

    def test_says_what_is_wrong(self):
        done = command("compile", toy.converted(), "--optt", "O2", "-o", toy.FOLDER / "x.so")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"^error: unknown flag --optt for compile; did you mean '--opt'\?.*\n$")

    def test_writes_what_the_functions_write(self):
        done = command("gen_config", toy.checkpoint(), "--quantization", "q4f16_1", "-o", toy.FOLDER / "by_command")
        self.assertEqual(done.returncode, 0, done.stderr)
        written = json.loads((toy.FOLDER / "by_command/mlc-chat-config.json").read_text())
        self.assertEqual(written["context_window_size"], toy.CONTEXT)


class ServerTest(unittest.TestCase):
    def test_serves(self):
        with PopenServer(**toy.model(), port=0, flags=["--api-key", "secret"]) as server:
            self.assertNotEqual(server.port, 0)
            body = json.dumps({"prompt": "Once upon", "max_tokens": 5}).encode()
            url = server.openai_v1_base_url + "/completions"
            headers = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
            with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
                self.assertEqual(json.load(answer)["usage"]["completion_tokens"], 5)
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url, body)
            self.assertEqual(refused.exception.code, 401)
            refused.exception.close()
            process = server._process.pid
        with self.assertRaises(ProcessLookupError):
            os.kill(process, 0)

    def test_says_what_is_wrong(self):
        with self.assertRaisesRegex(CommandError, "none"):
            PopenServer(toy.FOLDER / "none", port=0).start()


if __name__ == "__main__":
    unittest.main()
