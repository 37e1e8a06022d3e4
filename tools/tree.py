# What the checks share: listing the tree's files, blanking comments and strings, running a check and its self-test.
import argparse
import re
import sys
import tempfile
from pathlib import Path

TOP = [".ci", "apps", "bench", "cmake", "docs", "fuzz", "python", "rust", "scripts", "src", "tests", "tools", "web"]
SKIPPED = {"__pycache__", "target", "results", "corpus"}  # folders of generated or foreign files
CPP = (".h", ".cpp")


def files(root, suffixes=None, under=None):
    """Files of the tree in sorted order: the known top folders, or `under` alone, plus the root's own files."""
    found = []
    for top in [under] if under else TOP:
        for path in sorted((root / top).rglob("*")):
            if path.is_file() and not SKIPPED & set(path.relative_to(root).parts):
                found.append(path)
    if not under:
        found += sorted(p for p in root.iterdir() if p.is_file() and p.suffix != ".log")
    return [p for p in found if suffixes is None or p.suffix in suffixes]


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


_TOKENS = re.compile(
    r'R"([^(\s]{0,16})\((?:.|\n)*?\)\1"'       # raw string
    r'|//[^\n]*|/\*(?:.|\n)*?\*/'              # comments
    r'|"(?:\\.|[^"\\\n])*"'                    # string
    r"|(?<![0-9a-fA-F])'(?:\\[^'\n]+|[^'\\\n])'"  # character (not a digit separator)
)


def blank(code, keep_strings=False):
    """Code with comments and literals replaced by spaces, every line and column kept."""
    def spaces(match):
        text = match.group()
        if keep_strings and not text.startswith(("//", "/*")):
            return text
        return re.sub(r"[^\n]", " ", text)
    return _TOKENS.sub(spaces, code)


def make_tree(contents):
    """A temporary folder with these {path: text} files; the caller removes it."""
    folder = tempfile.TemporaryDirectory(prefix="check-")
    for name, text in contents.items():
        path = Path(folder.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def expect(check, contents, *wanted):
    """Self-tests: `check` on this small tree must report exactly the `wanted` problems, each given by a part of its text."""
    with make_tree(contents) as folder:
        problems = check(Path(folder))
    unmet = [w for w in wanted if not any(w in p for p in problems)]
    if unmet or len(problems) != len(wanted):
        sys.exit(f"self-test: expected problems {list(wanted)}, got {problems}")


def main(name, check, self_test, extra=None):
    """Entry of every check: `--self-test`, or the tree at ROOT; prints one line per problem and exits 1 if there is any."""
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("root", nargs="?", default=Path(__file__).resolve().parent.parent, type=Path)
    parser.add_argument("--self-test", action="store_true", help="prove that the check rejects what it must")
    if extra:
        parser.add_argument(extra[0], action="store_true", help=extra[1])
    options = parser.parse_args()
    if options.self_test:
        self_test()
        print(f"{name}: self-test passed")
        return
    if extra and getattr(options, extra[0].strip("-").replace("-", "_")):
        extra[2](options.root)
        return
    problems = check(options.root)
    for problem in problems:
        print(problem)
    print(f"{name}: {len(problems)} problem(s)")
    sys.exit(1 if problems else 0)
