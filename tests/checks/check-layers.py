#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Includes point one way: a layer of libclient/ sees itself and those below it, the programs see all of libclient/
and dumpload/, but not one another, and examples see only <objd.h>.

usage: check-layers.py SOURCE_ROOT"""

import pathlib
import re
import sys

# Taking a lock may find its holder dead, whose lane is then rolled back, which frees memory, which takes a lock: sync, txn
# and mem are three folders of one layer.
RANKS = {"base": 0, "arena": 1, "sync": 2, "txn": 2, "mem": 2, "object": 3, "rpc": 4, "client": 5}
LAYERS = list(RANKS)
SHARED = "dumpload"  # what objd and objctl have in common beside the library
PROGRAMS = ["daemon", "tools", "bench"]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def sources(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in (".c", ".h", ".cc", ".cpp", ".hpp"))


def includes(path):
    """Yields (line number, whether in quotes, name)."""
    text = path.read_text()
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1] == '"', match[2]


def complaint_in_library(layer, root, quoted, name):
    if name == "objd.h":
        return None
    top = name.split("/")[0]
    if not quoted:
        return f"<{name}> is ours: use quotes" if top in LAYERS else None
    if top not in LAYERS:
        return f'"{name}" does not start with a layer ({", ".join(LAYERS)})'
    if not (root / "libclient" / name).is_file():
        return f'"{name}" is not there'
    if RANKS[top] > RANKS[layer]:
        return f'"{name}" is above {layer}'
    return None


def complaint_in_program(path, program, root, quoted, name):
    if not quoted or name == "objd.h":
        return None
    top = name.split("/")[0]
    if top in LAYERS and (root / "libclient" / name).is_file():
        return None
    if top == SHARED and (root / name).is_file():
        return None
    own = [path.parent / name, root / program / name]
    if any(p.is_file() and (root / program).resolve() in p.resolve().parents for p in own):
        return None
    return f'"{name}" is neither in libclient/ nor in {program}/'


def complaint_in_example(path, quoted, name):
    if quoted and not (path.parent / name).is_file():
        return f'"{name}" is not beside it: an example sees only <objd.h>'
    return None


def main():
    root = pathlib.Path(sys.argv[1])
    n_files = 0
    complaints = []

    def go_through(folder, judge):
        nonlocal n_files
        for path in sources(folder):
            n_files += 1
            for line, quoted, name in includes(path):
                complaint = judge(path, quoted, name)
                if complaint:
                    complaints.append(f"{path.relative_to(root)}:{line}: {complaint}")

    library = root / "libclient"
    for path in sources(library):
        top = path.relative_to(library).parts[0]
        if top != "include" and top not in LAYERS:
            complaints.append(f"{path.relative_to(root)}: is in no layer")
    for layer in LAYERS:
        go_through(library / layer, lambda path, quoted, name: complaint_in_library(layer, root, quoted, name))
    for program in [*PROGRAMS, SHARED]:
        go_through(root / program, lambda path, quoted, name: complaint_in_program(path, program, root, quoted, name))
    go_through(root / "examples", complaint_in_example)

    print("\n".join(complaints))
    print(f"{n_files} files, {len(complaints)} wrong includes")
    return 1 if complaints or n_files == 0 else 0


sys.exit(main())
