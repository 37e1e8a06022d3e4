# `python -m mlc_llm ...`, and the command `mlc_llm` that pip installs.
"""The command line."""

import signal
import sys

import _mlc_llm


def main() -> int:
    for name in ("SIGINT", "SIGPIPE"):  # a program of its own: Python's handlers would only note a signal
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    return _mlc_llm.run_program(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
