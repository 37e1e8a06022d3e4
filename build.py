#!/usr/bin/env python3
# The build.py of 2023: python3 build.py --model NAME --target TARGET --quantization CODE. Runs `mlc_llm build`.
import os
import shutil
import sys


def main():
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "build", "mlc_llm")
    tool = here if os.access(here, os.X_OK) else shutil.which("mlc_llm")
    if not tool:
        sys.exit("error: build.py: no build/mlc_llm and no mlc_llm in PATH; run scripts/build first")
    os.execv(tool, [tool, "build", *sys.argv[1:]])


if __name__ == "__main__":
    main()
