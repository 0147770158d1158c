#!/usr/bin/env python3
"""Checks who imports whom in host/src: the engine stays out of the supervisor, `hook` knows neither `cli` nor `config`,
top-level modules form no cycle, and each file begins with the processes in which it may run. `imports.py [FOLDER]`."""
import re
import sys
from pathlib import Path

SOURCE = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "host/src")
# What handles bytes from outside, or brings threads along. Only the compiler and the runner may name it.
ENGINE = re.compile(r"\b(wasmtime\w*|wasmparser|tokio\w*|hyper|rustls)\s*::")
MAY_NAME_ENGINE = ("hook/compiler/", "hook/runner/", "hook/engine.rs")
PROCESSES = re.compile(r"//! (Supervisor|Compiler|Runner|Compiler and runner|Supervisor and compiler|Supervisor and runner|All processes|Tests): ")


def imported(name, text):
    """The top-level modules that a file names, by `crate::` or by `super::` up to the crate's root."""
    parts = name.removesuffix(".rs").removesuffix("/mod").split("/")
    up = "::".join(["super"] * len(parts))
    for start in re.finditer(rf"(?<![\w:])(?:crate|{up})::(\w+|\{{)", text):
        if start[1] != "{":
            yield start[1]
            continue
        depth, rest = 1, text[start.end():]
        for token in re.finditer(r"[{}]|\w+(?=\s*(?:::|,|\}))", rest):
            depth += {"{": 1, "}": -1}.get(token[0], 0)
            if depth == 0:
                break
            if depth == 1 and token[0] != "}" and not rest[:token.start()].rstrip().endswith("::"):
                yield token[0]


def cycle(graph, path):
    """A path from a module back to itself."""
    for module in sorted(graph.get(path[-1], ())):
        found = path + [module] if module in path else cycle(graph, path + [module])
        if found:
            return found
    return None


errors, graph = [], {}
files = {str(file.relative_to(SOURCE)): file.read_text() for file in sorted(SOURCE.rglob("*.rs"))}
modules = {name.split("/")[0].removesuffix(".rs") for name in files} - {"main"}
for name, text in files.items():
    if not PROCESSES.match(text):
        errors.append(f"{name}: does not begin with the processes in which it may run: {PROCESSES.pattern}")
    text = re.sub(r"//.*", "", text)
    if not name.startswith(MAY_NAME_ENGINE) and (engine := ENGINE.search(text)):
        errors.append(f"{name}: names {engine[1]}, which only {', '.join(MAY_NAME_ENGINE)} may")
    top = name.split("/")[0].removesuffix(".rs")
    imports = {module for module in imported(name, text) if module in modules} - {top}
    if top == "hook" and (above := imports & {"cli", "config"}):
        errors.append(f"{name}: imports {', '.join(sorted(above))}; hooks are handed what they need")
    graph.setdefault(top, set()).update(imports)
if found := next(filter(None, (cycle(graph, [module]) for module in sorted(graph))), None):
    errors.append(f"cycle: {' -> '.join(found[found.index(found[-1]):])}")
print("\n".join(f"imports: {error}" for error in errors), end="\n" if errors else "")
sys.exit(bool(errors))
