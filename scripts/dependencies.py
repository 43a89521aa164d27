"""Checks what depends on what: the direction of our own crates, licences, and that nothing is declared in vain.

Run from the root of the repository; needs nothing but cargo and Python's standard library.
"""

import json
import pathlib
import re
import subprocess
import sys

# Who may know whom, as ARCHITECTURE.md draws it. Tests may know more (dev-dependencies are not looked at).
MAY_USE = {
    "windlass-model": set(),
    "windlass-store": {"windlass-model"},
    "windlass-registry": {"windlass-model"},
    "windlass-scratch": set(),
    "windlass-server": {"windlass-model", "windlass-store", "windlass-registry"},
    "windlass-client": {"windlass-model"},
    "windlass-runner": {"windlass-model", "windlass-client", "windlass-registry"},
    "outcast": {"windlass-client", "windlass-model"},
    "windlass": {"windlass-model", "windlass-store", "windlass-server", "windlass-client", "windlass-registry", "windlass-runner", "windlass-scratch", "outcast"},
}

# The rules of a task's life must stay free of I/O, clocks and threads.
MODEL_MUST_NOT_USE = {"tokio", "rusqlite", "reqwest", "hyper", "rand", "getrandom", "libc", "nix"}

LICENCES = {
    "MIT", "MIT-0", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "0BSD",
    "Unicode-3.0", "Unlicense", "CC0-1.0", "CDLA-Permissive-2.0", "BSL-1.0", "MPL-2.0",
}


def allowed(expression):
    """Whether a licence expression can be met with the licences above: one of each OR, all of each AND."""
    expression = expression.replace("/", " OR ").replace("(", " ").replace(")", " ")
    parts = [part.strip() for part in re.split(r"\bAND\b", expression)]
    return all(any(one.strip() in LICENCES for one in re.split(r"\bOR\b", part)) for part in parts)


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    ours = {package["name"]: package for package in metadata["packages"] if package["source"] is None}
    problems = [f"{name} is not in scripts/dependencies.py" for name in ours if name not in MAY_USE]

    for name, package in ours.items():
        normal = {d["name"] for d in package["dependencies"] if d["kind"] is None}
        for other in (normal & set(ours)) - MAY_USE.get(name, set()):
            problems.append(f"{name} must not depend on {other}")
        if name == "windlass-model":
            problems += [f"{name} must not depend on {other}" for other in normal & MODEL_MUST_NOT_USE]
        folder = pathlib.Path(package["manifest_path"]).parent
        text = "\n".join(path.read_text() for path in folder.rglob("*.rs"))
        for dependency in package["dependencies"]:
            known_as = (dependency["rename"] or dependency["name"]).replace("-", "_")
            if not re.search(rf"\b{known_as}\b", text):
                problems.append(f"{name} declares {dependency['name']} and does not use it")

    for package in metadata["packages"]:
        if package["source"] is None:
            continue
        if not package["source"].startswith("registry+"):
            problems.append(f"{package['name']} does not come from a registry")
        licence = package["license"] or ""
        if not allowed(licence):
            problems.append(f"{package['name']} {package['version']} has the licence {licence!r}")

    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(metadata['packages']) - len(ours)} dependencies, {len(problems)} problems")
    return 1 if problems else 0


sys.exit(main())
