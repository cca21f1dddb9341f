#!/usr/bin/env python3
"""Checks the prose of the project: comments, doc comments and pages. CONTRIBUTING.md has the rules.

  python3 .ci/prose.py              every file that git knows
  python3 .ci/prose.py PATH ...     these files and folders

A comment or a paragraph ends at 110 columns. A doc comment has more than one word, and begins with the noun of
the thing or with a verb in the third person: not with "Of", "What", "Who" or "As", and not with a participle.
Exit code 1 when something is found.
"""

import re
import subprocess
import sys
from pathlib import Path

COLUMNS = 110

# Comments of each kind of file: what begins one.
LINE_COMMENTS = {".rs": "//", ".proto": "//", ".py": "#", ".toml": "#", ".yaml": "#", ".yml": "#", ".sh": "#", ".sql": "--"}

ODD_BEGINNINGS = {"of", "what", "who", "whose", "as"}

# Participles that end neither with "ing" nor with "ed".
PARTICIPLES = set(
    "begun bound broken brought built chosen done drawn driven fallen found given gone held hidden kept known "
    "laid left lost made met seen sent shown sold spent stood taken thought told written".split()
)

# Words that end as participles do, and are none.
NO_PARTICIPLES = set(
    "anything bearing beginning binding bundling ceiling during embedded encoding ending everything exceeding "
    "existing feed following heading indeed mapping meaning need nothing padding pending ping remaining ring seed "
    "setting sibling something speed spelling string thing timing tracing under warning".split()
)

DOC = re.compile(r"^\s*(///|//!)(?: |$)(.*)$")


def is_participle(word):
    if word in NO_PARTICIPLES:
        return False
    return word in PARTICIPLES or (len(word) > 4 and word.endswith(("ing", "ed")))


def docs_of(lines):
    """Yields the first line and the text of each doc comment of a Rust file."""
    kind, begun_at, text = None, 0, []
    for number, line in enumerate([*lines, ""], start=1):
        match = DOC.match(line)
        if match and match[1] == kind:
            text.append(match[2])
            continue
        if kind:
            yield begun_at, " ".join(text).strip()
        kind, begun_at, text = (match[1], number, [match[2]]) if match else (None, 0, [])


def faults_of_doc(text):
    words = text.split()
    if not words or text.startswith(("#", "```")):
        return
    if len(words) == 1 and not text.startswith(("http", "[")):
        yield f"a doc comment of one word: {text!r}"
    first = re.sub(r"[^A-Za-z]", "", words[0]).lower() if not words[0].startswith(("`", "[")) else ""
    if first in ODD_BEGINNINGS or is_participle(first):
        yield f"a doc comment begins with {words[0]!r}: begin with the noun of the thing, or a verb in the third person"


def is_long(line, mark):
    """A comment that passes the last column and could be broken: not a table, not one long word."""
    at = line.find(mark)
    if len(line) <= COLUMNS or at < 0 or line[:at].strip():
        return False
    text = line[at:].lstrip("/!#- ")
    return not text.startswith("|") and " " in text[: COLUMNS - at] and "](" not in text and "http" not in text


def faults_of_page(lines):
    in_code = False
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and len(line) > COLUMNS and not re.match(r"\s*(\||#|\[[^]]*\]:)", line):
            yield number, f"a line of {len(line)} columns"


def faults_of(path):
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        return
    if path.suffix == ".md":
        yield from faults_of_page(lines)
        return
    mark = LINE_COMMENTS.get(path.suffix)
    if mark is None:
        return
    for number, line in enumerate(lines, start=1):
        if is_long(line, mark):
            yield number, f"a comment of {len(line)} columns"
    if path.suffix == ".rs":
        for number, text in docs_of(lines):
            for fault in faults_of_doc(text):
                yield number, fault


# Pages that are printed from tables of the code.
PRINTED = {"docs/errors.md", "docs/limits.md"}


def main():
    root = Path(__file__).resolve().parent.parent
    known = subprocess.check_output(["git", "ls-files", "-z", *sys.argv[1:]], cwd=Path.cwd() if sys.argv[1:] else root)
    base = Path.cwd() if sys.argv[1:] else root
    found = 0
    for name in filter(None, known.decode().split("\0")):
        path = base / name
        if not path.is_file() or str(path.resolve().relative_to(root)) in PRINTED:
            continue
        for number, fault in faults_of(path):
            print(f"{name}:{number}: {fault}")
            found += 1
    if found:
        sys.exit(f"{found} places to mend (.ci/prose.py says the rules)")


if __name__ == "__main__":
    main()
