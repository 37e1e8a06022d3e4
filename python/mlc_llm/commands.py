# The commands as functions.
"""convert_weight, gen_config and compile, in this process."""

from __future__ import annotations

import os
import sys
from typing import Any

import _mlc_llm

from .errors import CommandError


def _run(command: str, *arguments: Any, **flags: Any) -> None:
    words = [command, *(os.fspath(argument) for argument in arguments)]
    for name, value in flags.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, dict):
            words += [flag, ";".join(f"{key}={entry}" for key, entry in value.items())]
        elif isinstance(value, (list, tuple)):
            words += [flag, ",".join(str(entry) for entry in value)]
        elif value is not None and value is not False:
            words += [flag, str(value)]
    sys.stdout.flush()
    try:
        code = _mlc_llm.run_command(words)
    except _mlc_llm.UserError as error:
        raise CommandError(str(error)) from None
    if code != 0:
        raise CommandError(f"{command}: failed with exit code {code}; what was wrong stands above")


def convert_weight(config: Any, quantization: str, output: Any, **flags: Any) -> None:
    """Writes the quantized weights of a Hugging Face folder or GGUF file into the folder `output`.

    ``flags``: further flags of ``mlc_llm convert_weight`` (``source_format="awq"``, ``threads=2``, ``verify=...``). Raises
    CommandError with the command's sentence. Ctrl-C removes unfinished files and ends the process, as it ends the command.
    """
    _run("convert_weight", config, quantization=quantization, output=os.fspath(output), **flags)


def gen_config(config: Any, quantization: str, output: Any, **flags: Any) -> None:
    """Writes mlc-chat-config.json and the tokenizer files into the folder `output`; as convert_weight.

    ``flags``: further flags of ``mlc_llm gen_config`` (``conv_template="chatml"``, ``context_window_size=4096``).
    """
    _run("gen_config", config, quantization=quantization, output=os.fspath(output), **flags)


def compile(model: Any, output: Any, **flags: Any) -> None:  # the command's name
    """Compiles the library of a converted folder, or its mlc-chat-config.json, to the file `output`; as convert_weight.

    ``flags``: further flags of ``mlc_llm compile`` (``device="cpu"``, ``opt="O2"``, ``overrides={"prefill_chunk_size": 512}``).
    """
    _run("compile", model, output=os.fspath(output), **flags)
