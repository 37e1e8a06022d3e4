"""Renders many small templates as transformers' apply_chat_template does: every filter, test, operator, method, global
and statement of jinja2 with values of every kind.

Writes jinja_cases.json: {"context": variables, "cases": [[template, prompt, or null where Python raises an error], ...]}.
Templates whose output holds an address, depends on chance or is a complex number are left out. Needs jinja2 3.1.6 only.
Usage: python make_jinja_cases.py
"""
import itertools
import json
import pathlib
import re
import warnings
from datetime import datetime, timezone

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jinja_statements import STATEMENTS, EXPRESSIONS, FILTERS, METHODS

NOW = datetime.fromtimestamp(1700000000, timezone.utc).replace(tzinfo=None)  # 2023-11-14 22:13:20

CONTEXT = {
    "s": "it's a Bee-hive", "u": "H\u00e9llo \u00df\u01c6 \u4e00\u0663", "empty": "", "n": 7, "neg": -3, "zero": 0,
    "f": 2.5, "yes": True, "nil": None, "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "none_at_all": [],
    "d": {"b": 2, "a": 1, "A": 0}, "nested": {"x": {"y": [1, {"z": "deep"}]}, "items": "own", "_p": 1},
    "recs": [{"k": "x", "v": 1}, {"k": "y", "v": 2}, {"k": "X", "v": 3}, {"v": 4}],
    "big": 123456789012345678, "html": "<a href='x'>1 & 2</a>", "mixed": [1, "a", None, 2.0, True, [1], {"q": 1}],
    "lines": "one\n\n  two\r\nthree\u2028four", "tree": [{"n": 1, "c": [{"n": 2, "c": []}, {"n": 3, "c": [{"n": 4, "c": []}]}]}],
}
# One value of each kind, and a second one of some.
KINDS = ["n", "neg", "f", "yes", "nil", "s", "empty", "l", "d", "missing", "(1, 'a')", "range(3)", "html|safe",
         "2**70", "recs", "d.items()"]
PAIRS = ["n", "neg", "zero", "f", "yes", "nil", "s", "l", "d", "missing", "(3, 1)", "range(3)", "html|safe", "-2**70"]
LAZY = ("batch", "items", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "unique")


class Generation(jinja2.ext.Extension):
    """{% generation %}: the body as a block call, as transformers tracks assistant text."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


class TemplateDict:
    """What transformers gives for `dict`."""

    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args, **kwargs):
        return dict.fromkeys(*args, **kwargs)


class TemplateNamespace(jinja2.utils.Namespace):
    """What transformers gives for `namespace`: no names that begin with an underscore."""

    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        names = dict(*args, **kwargs)
        for name in names:
            TemplateNamespace._check(name)
        jinja2.utils.Namespace.__init__(self, names)

    def __setitem__(self, name, value):
        TemplateNamespace._check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals.update(raise_exception=raise_exception, strftime_now=lambda form: NOW.strftime(form),
                       dict=TemplateDict(), namespace=TemplateNamespace)
    return env


def expressions():
    env = environment()
    for name, kind in itertools.product(env.filters, KINDS):
        if name != "random":
            yield f"({kind})|{name}" + ("|list" if name in LAZY else "")
    for name, kind in itertools.product(env.tests, KINDS):
        if name in ("divisibleby", "sameas", "in") or not name.isalpha() or name in (
                "eq", "equalto", "ne", "gt", "greaterthan", "ge", "lt", "lessthan", "le"):
            continue
        yield f"({kind}) is {name}"
        yield f"({kind}) is not {name}"
    for op in ("+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or", "~"):
        for a, b in itertools.product(PAIRS, PAIRS):
            if (op, b) != ("**", PAIRS[-1]):  # Python would calculate without end
                yield f"({a}) {op} ({b})"
    for op in ("-", "+", "not "):
        yield from (f"{op}({kind})" for kind in KINDS)
    for kind in KINDS:
        yield from (f"({kind})[{key}]" for key in ("0", "-1", "9", "'a'", "nil", "1.0", "true", "1:", "::-1", ":-1", "::2",
                                                   "5:1:-2", "'x':"))
        yield from (f"({kind}).{name}" for name in ("a", "upper", "items", "append", "_x", "0"))
        yield from (f"[{kind}]", f"{{'k': {kind}}}", f"({kind},)", f"[{kind}]|string", f"({kind}) is sameas ({kind})",
                    f"'%s|%r' % ({kind}, {kind})", f"'{{}}|{{!r}}'.format({kind}, {kind})", f"({kind})|tojson(indent=1)",
                    f"'%d' % ({kind})", f"'%5.1f' % ({kind})", f"'{{:>5}}'.format({kind})", f"({kind})|int(default=5)")
    yield from FILTERS
    yield from METHODS
    yield from EXPRESSIONS


def templates():
    seen = set()
    for template in itertools.chain((f"{{{{ {e} }}}}" for e in expressions()), STATEMENTS):
        if template not in seen:
            seen.add(template)
            yield template


def main():
    warnings.simplefilter("ignore")
    env = environment()
    cases = []
    for template in templates():
        try:
            text = env.from_string(template).render(**json.loads(json.dumps(CONTEXT)))
            text.encode("utf-8")
        except Exception:
            text = None
        if text is None or not re.search(r" at 0x|<bound method|\dj\)", text):
            cases.append([template, text])
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    output = pathlib.Path(__file__).parent / "jinja_cases.json"
    context = json.dumps(CONTEXT, ensure_ascii=False)
    output.write_text(f'{{"context": {context},\n"cases": [\n{lines}\n]}}\n', encoding="utf-8")


main()
