# PopenServer: `mlc_llm serve` as a child process.
"""The server as a child process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

from ..errors import CommandError
from .config import EngineConfig


class PopenServer:
    """Runs ``mlc_llm serve`` in a process of its own, from ``start()`` or the begin of a ``with`` block to its end.

    >>> with PopenServer("dist/SmolLM2-135M-Instruct-q4f16_1-MLC") as server:
    ...     client = openai.OpenAI(base_url=server.openai_v1_base_url, api_key="none")

    ``port`` 0 takes a free one. ``flags``: further ones of the command, such as ``["--api-key", "secret"]``.
    """

    def __init__(self, model: Any, device: str = "auto", *, model_lib: Any = None, mode: str = "local",
                 engine_config: EngineConfig | dict[str, Any] | None = None, enable_debug: bool = True,
                 enable_tracing: bool = False, host: str = "127.0.0.1", port: int = 8082, flags: list[str] | None = None):
        config = EngineConfig.of(engine_config)
        self._command = [sys.executable, "-m", "mlc_llm", "serve", os.fspath(model), "--device", device, "--mode", mode,
                         "--host", host, "--port", str(port), "--speculative-mode", config.speculative_mode]
        pairs = [("--model-lib", model_lib and os.fspath(model_lib)), ("--overrides", config.overrides()),
                 ("--opt", config.opt)]
        self._command += [word for flag, value in pairs if value for word in (flag, value)]
        for name in config.models():
            self._command += ["--additional-models", name]
        self._command += ["--enable-debug"] * enable_debug + ["--enable-tracing"] * enable_tracing + (flags or [])
        self._process: subprocess.Popen[str] | None = None
        self._listeners: list[threading.Thread] = []
        self.host, self.port = host, port
        self.base_url = self.openai_v1_base_url = ""

    def start(self) -> None:
        """Returns once the server answers. Raises CommandError with the command's sentence."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                         text=True)
        assert self._process.stdout and self._process.stderr
        said: list[str] = []
        self._listen(self._pass_on, self._process.stderr, said)
        try:
            for line in self._process.stdout:
                if line.startswith("serving at "):
                    self.base_url = line.removeprefix("serving at ").split(";")[0]
                    break
        except BaseException:
            self.terminate()
            raise
        if not self.base_url:
            code = self._process.wait()
            self.terminate()
            errors = [line.removeprefix("error: ").rstrip() for line in said if line.startswith("error: ")]
            raise CommandError(errors[-1] if errors else f"mlc_llm serve ended with exit code {code}")
        self.port = int(self.base_url.rsplit(":", 1)[1])
        self.openai_v1_base_url = self.base_url + "/v1"
        self._listen(self._drain, self._process.stdout)

    def _listen(self, target: Any, *arguments: Any) -> None:
        self._listeners.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._listeners[-1].start()

    @staticmethod
    def _pass_on(stream: Any, said: list[str]) -> None:
        for line in stream:
            said[:] = [*said[-20:], line]
            sys.stderr.write(line)

    @staticmethod
    def _drain(stream: Any) -> None:
        for _ in stream:
            pass

    def terminate(self) -> None:
        """Ends the server; requests at work get ten seconds."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        while self._listeners:
            self._listeners.pop().join()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        self.base_url = self.openai_v1_base_url = ""

    def __enter__(self) -> PopenServer:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.terminate()
