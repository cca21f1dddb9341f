#!/usr/bin/env python3
"""Checks the structure of the house: which crate may import which, and that files import each other in no circle.

  python3 .ci/rooms.py            checks, exit code 1 when something is found
  python3 .ci/rooms.py --print    prints the table of crates as CONTRIBUTING.md shows it

A parent module and its child may name each other. Tests are not looked at.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "CONTRIBUTING.md"

# Each crate and the crates that it may name in its `[dependencies]`, in the order of the house: from the
# ground up.
ROOMS = {
    "api": [],
    "storage": [],
    "lake": [],
    "ledger": ["api"],
    "history": ["api"],
    "client": ["api"],
    "feeds": ["api", "client"],
    "guard": ["api"],
    "shard": ["ledger", "storage"],
    "orders": ["api", "ledger", "shard"],
    "changes": ["api", "history", "lake"],
    "backup": ["ledger", "client", "lake"],
    "sinks": ["api", "client", "changes", "lake"],
    "node": ["api", "ledger", "history", "storage", "shard", "orders", "guard"],
    "holdfast": ["api", "client", "feeds", "changes", "backup", "sinks", "node"],
}


def table():
    lines = ["| crate | may import |", "|---|---|"]
    lines += [f"| `{room}` | {', '.join(f'`{other}`' for other in others) or '–'} |" for room, others in ROOMS.items()]
    return "\n".join(lines)


def wrong_imports():
    rooms = {path.parent.name: path for path in ROOT.glob("crates/*/Cargo.toml")}
    for room in sorted(rooms.keys() ^ ROOMS.keys()):
        yield f"crates/{room}: the table in .ci/rooms.py and the folder crates/ differ about this crate"
    for room, path in sorted(rooms.items()):
        names = tomllib.loads(path.read_text()).get("dependencies", {})
        named = [name.removeprefix("holdfast-") for name in names if name.startswith("holdfast-")]
        for other in sorted(set(named) - set(ROOMS.get(room, []))):
            yield f"crates/{room} imports {other}, which the table in .ci/rooms.py does not allow"
    ledger = tomllib.loads(rooms["ledger"].read_text())["dependencies"]["holdfast-api"]
    if ledger.get("features"):
        yield "crates/ledger imports more of api than its plain rules: it may name no feature of it"


def use_paths(tree):
    """Expands `a::{b, c::{self, D}}` into its paths."""
    tree = re.sub(r"\s+", "", tree.replace(" as _", ""))
    depth, start, parts = 0, 0, []
    for at, character in enumerate(tree):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append(tree[start:at])
            start = at + 1
    parts.append(tree[start:])
    for part in filter(None, parts):
        if part.endswith("}") and "{" in part:
            head, inner = part.split("{", 1)
            for rest in use_paths(inner[:-1]):
                yield head + rest
        else:
            yield part


def without_tests(text):
    text = re.sub(r"//[^\n]*", "", text)
    return re.split(r"#\[cfg\((?:all\()?test", text, maxsplit=1)[0]


class Crate:
    """The files of one crate root and what they import of each other."""

    def __init__(self, root_file):
        self.folder = root_file.parent
        self.files = {}
        self.exports = {}
        for path in sorted(self.folder.rglob("*.rs")):
            parts = list(path.relative_to(self.folder).with_suffix("").parts)
            if parts[0] == "bin" or "tests" in parts:
                continue
            if path == root_file:
                parts = []
            elif len(parts) == 1 and parts[0] in ("main", "lib", "build"):
                continue
            elif parts[-1] == "mod":
                parts.pop()
            self.files[tuple(parts)] = without_tests(path.read_text())
        for module, text in self.files.items():
            for visibility, tree in re.findall(r"^\s*(pub(?:\([^)]*\))?)\s+use\s+([^;]+);", text, re.M):
                for path in use_paths(tree):
                    name = re.sub(r".*as(?=[A-Z_])", "", path.split("::")[-1]) if "as" in path else path.split("::")[-1]
                    target = self.absolute(module, path.split("::"))
                    if target:
                        self.exports.setdefault(module, {})[name] = target

    def absolute(self, module, path):
        """The path from the crate's root, or None for a path into another crate."""
        head, rest = path[0], path[1:]
        if head == "crate":
            return tuple(rest)
        if head in ("self", "super"):
            base = list(module)
            if head == "super":
                base = base[:-1]
            while rest and rest[0] == "super":
                base, rest = base[:-1], rest[1:]
            return tuple(base) + tuple(rest)
        if (*module, head) in self.files:
            return (*module, *path)
        return None

    def home_of(self, path, seen=()):
        """The module that defines what a path names."""
        for length in range(len(path), -1, -1):
            module = path[:length]
            if module not in self.files:
                continue
            if length == len(path):
                return module
            target = self.exports.get(module, {}).get(path[length])
            if target and target not in seen:
                return self.home_of(target + path[length + 1 :], (*seen, target))
            return module
        return None

    def imports(self):
        edges = {}
        for module, text in self.files.items():
            paths = [p for tree in re.findall(r"\buse\s+([^;]+);", text) for p in use_paths(tree)]
            body = re.sub(r"\buse\s+[^;]+;", "", text)
            paths += re.findall(r"\b(?:crate|super)(?:::\w+)+", body)
            for path in paths:
                target = self.absolute(module, [part for part in path.split("::") if part != "self" or path.startswith("self")])
                home = self.home_of(target) if target is not None else None
                if home is None or home == module:
                    continue
                is_family = home[: len(module)] == module or module[: len(home)] == home
                if not is_family:
                    edges.setdefault(module, set()).add(home)
        return edges


def circles(edges):
    """The strongly connected components of more than one node (Tarjan)."""
    index, low, on_stack, stack, found = {}, {}, set(), [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on_stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while True:
                other = stack.pop()
                on_stack.discard(other)
                component.append(other)
                if other == node:
                    break
            if len(component) > 1:
                found.append(sorted(component))

    sys.setrecursionlimit(10_000)
    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def found_circles():
    roots = [*ROOT.glob("crates/*/src/lib.rs"), *ROOT.glob("crates/*/src/main.rs"), *ROOT.glob("*/src/lib.rs")]
    roots += [*ROOT.glob("*/src/main.rs"), *ROOT.glob("tests/*/src/lib.rs"), *ROOT.glob("benchmarks/src/bin/*/main.rs")]
    for root in sorted(roots):
        edges = Crate(root).imports()
        for circle in circles(edges):
            names = ", ".join("::".join(module) for module in circle)
            yield f"{root.parent.relative_to(ROOT)}: {len(circle)} files import each other in a circle: {names}"
            for module in circle:
                inside = sorted("::".join(other) for other in edges[module] if other in circle)
                yield f"    {'::'.join(module)} -> {', '.join(inside)}"


def main():
    if "--print" in sys.argv:
        print(table())
        return
    found = [*wrong_imports(), *found_circles()]
    if table() not in PAGE.read_text():
        found.append("CONTRIBUTING.md does not show the table that `.ci/rooms.py --print` prints")
    for line in found:
        print(line)
    if found:
        sys.exit("the structure of the house is not as the rules say (.ci/rooms.py)")


if __name__ == "__main__":
    main()
