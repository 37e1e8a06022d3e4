"""Renders templates/*.jinja for every conversation of template_cases.json as transformers' apply_chat_template does.

Writes template_prompts.json: {template: {case: prompt, or {"refused": text} where the template raises an exception, or
null where Python itself does (the case does not fit the template)}}. Needs jinja2 3.1 only.
Usage: python make_template_prompts.py [TEMPLATE_FOLDER OUTPUT]
"""
import json
import pathlib
import sys
from datetime import datetime, timezone

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.fromtimestamp(1700000000, timezone.utc)  # 2023-11-14 22:13:20


class Generation(jinja2.ext.Extension):
    """{% generation %}: the body as a block call, as transformers tracks assistant text."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: NOW.strftime(form)
    return env


def main():
    here = pathlib.Path(__file__).parent
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "templates"
    output = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else here / "template_prompts.json"
    cases = json.loads((here / "template_cases.json").read_text(encoding="utf-8"))
    prompts = {}
    for path in sorted(folder.glob("*.jinja")):
        template = environment().from_string(path.read_bytes().decode("utf-8"))
        prompts[path.name] = {}
        for case, variables in cases.items():
            try:
                text = template.render(**json.loads(json.dumps(variables)))
            except (jinja2.exceptions.UndefinedError, jinja2.exceptions.SecurityError):
                text = None
            except jinja2.exceptions.TemplateError as error:
                text = {"refused": str(error)}
            except Exception:  # types that do not fit, endless recursion
                text = None
            prompts[path.name][case] = text
    output.write_text(json.dumps(prompts, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


main()
