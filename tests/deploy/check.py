"""Renders the chart, parses every file of deploy/, and compares flags and settings with what the binary knows.

Helm itself cannot be had from a package registry. Its language is rendered here as far as the chart uses it: values,
`quote`, `add`, `if` without `else`, and dashes that trim; anything else is an error, so that the chart stays within it.
"""

import json
import pathlib
import re
import shlex
import subprocess
import sys

import yaml

DEPLOY = pathlib.Path("deploy")
ACTION = re.compile(r"(?P<before>[ \t]*)\{\{(?P<left>-?) *(?P<what>.*?) *(?P<right>-?)\}\}")


def value(path, scope):
    for name in path.lstrip(".").split("."):
        scope = scope[name]
    return scope


def evaluate(text, scope):
    text, *pipes = [part.strip() for part in text.split("|")]
    words = text.split()
    if words[0] == "add":
        result = sum(value(w, scope) if w.startswith(".") else int(w) for w in words[1:])
    elif len(words) == 1 and words[0].startswith("."):
        result = value(words[0], scope)
    else:
        raise ValueError(f"the chart uses {text!r}, which is not rendered here")
    for pipe in pipes:
        if pipe != "quote":
            raise ValueError(f"the chart uses {pipe!r}, which is not rendered here")
        result = '"' + str(result).replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(result)


def render(template, scope):
    """The text of a template: actions that stand alone on a line are `if` and `end`, all others are values."""
    out, shown = [], [True]
    for line in template.splitlines(keepends=True):
        action = ACTION.fullmatch(line.rstrip("\n"))
        what = action["what"] if action else ""
        if what.startswith("if "):
            shown.append(shown[-1] and bool(value(what.removeprefix("if ").strip(), scope)))
        elif what == "end":
            shown.pop()
        elif shown[-1]:
            out.append(ACTION.sub(lambda m: m["before"] + evaluate(m["what"], scope), line))
    if len(shown) != 1:
        raise ValueError("an `if` has no `end`")
    return "".join(out)


def merge(below, above):
    return {**below, **{k: merge(below.get(k, {}), v) if isinstance(v, dict) else v for k, v in above.items()}}


def commands(document):
    """Every command line of windlass in a document, as words."""
    if isinstance(document, dict):
        args = document.get("args")
        if isinstance(args, list) and "image" in document:
            yield [str(word) for word in args]
        if isinstance(document.get("command"), str):
            yield shlex.split(document["command"])
        for inner in document.values():
            yield from commands(inner)
    elif isinstance(document, list):
        for inner in document:
            yield from commands(inner)


def started(unit):
    """The command line of a systemd unit, as words."""
    line = re.search(r"^\s*ExecStart=/usr/local/bin/windlass (.*)$", unit, re.M)
    return [word for word in shlex.split(line[1]) if not word.startswith("$")]


def main(binary):
    def run(*words):
        return subprocess.run([binary, *words], check=True, capture_output=True, text=True).stdout

    settings = json.loads(run("config", "--json"))
    seen = 0

    def check(words, where):
        nonlocal seen
        seen += 1
        offered = set(re.findall(r"--[a-z-]+", run(words[0], "--help")))
        for n, word in enumerate(words):
            if word.startswith("--"):
                assert word in offered, f"{where}: windlass {words[0]} has no {word}"
            if n and words[n - 1] == "--set":
                assert word.split("=")[0] in settings, f"{where}: there is no setting {word}"

    for path in sorted(DEPLOY.rglob("*.service")):
        check(started(path.read_text()), path)
    chart = DEPLOY / "helm/windlass"
    for path in sorted(DEPLOY.rglob("*.yaml")):
        if chart / "templates" not in path.parents:
            for document in yaml.safe_load_all(path.read_text()):
                assert document, f"{path} is empty"
                for words in commands(document):
                    check(words, path)
                for file in document.get("write_files", []) if isinstance(document, dict) else []:
                    if "ExecStart" in file["content"]:
                        check(started(file["content"]), path)
    values = yaml.safe_load((chart / "values.yaml").read_text())
    more = {"server": {"blobs": "s3://b/p", "secret": "s"}, "runner": {"cluster": "a b"}}
    for changed in ({}, more):
        scope = {"Values": merge(values, changed), "Release": {"Name": "try"}}
        for path in sorted((chart / "templates").iterdir()):
            text = render(path.read_text(), scope)
            for document in yaml.safe_load_all(text) if path.suffix == ".yaml" else []:
                assert document["apiVersion"] and document["kind"] and document["metadata"]["name"], path
                for words in commands(document):
                    check(words, path)
    print(f"{seen} command lines in deploy/ are known to the binary")


main(sys.argv[1])
