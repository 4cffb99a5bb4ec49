#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is written beside the code is whole and true: no reminders left behind, each C file begins with its licence,
and a file that a document names is there.

usage: check-comments.py SOURCE_ROOT"""

import fnmatch
import pathlib
import re
import subprocess
import sys

# Put together here, so that this file may be checked too.
REMINDER = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")

SPDX_C = "/* SPDX-License-Identifier: Apache-2.0 */"

# Names with one of these endings are files of this repository when a document has them in backticks. What the
# system or a build makes (libobjd.so, objd.pc) ends otherwise.
ENDINGS = (".c", ".h", ".cc", ".cpp", ".py", ".sh", ".md", ".build", ".pml", ".litmus", ".sym", ".supp", ".proto")
BACKTICKS = re.compile(r"`([^`\s]+)`")


def repository_files(root):
    """All files that are or would be committed; in a source archive, all files."""
    git = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if git.returncode == 0:
        paths = (pathlib.PurePath(name) for name in git.stdout.decode().split("\0") if name)
    else:
        paths = (p.relative_to(root) for p in root.rglob("*")
                 if not any(part == "build" or part.startswith("build-") for part in p.parts))
    return sorted(p for p in paths if (root / p).is_file())


def read(path):
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


def reminders(path, text):
    for i, line in enumerate(text.splitlines(), 1):
        if REMINDER.search(line):
            yield f"{path}:{i}: a reminder: {line.strip()}"


def licence(path, text):
    if path.suffix in (".c", ".h") and text.split("\n", 1)[0] != SPDX_C:
        yield f"{path}:1: the first line is not {SPDX_C}"


def is_there(name, document, files, folders):
    """Names are meant from the top, from libclient/ or from the document's folder; a bare name, from anywhere."""
    name = name.removeprefix("./")
    bases = [pathlib.PurePath(), pathlib.PurePath("libclient"), document.parent]
    if name.endswith("/"):
        return any(base / name in folders for base in bases)
    if "/" not in name:
        return any(fnmatch.fnmatch(path.name, name) for path in files)
    return any(fnmatch.fnmatch(str(path), str(base / name)) for path in files for base in bases)


def names(document, text, files):
    folders = {parent for path in files for parent in path.parents}
    tops = {path.parts[0] for path in files if len(path.parts) > 1}
    for i, line in enumerate(text.splitlines(), 1):
        for name in BACKTICKS.findall(line):
            if name.startswith(("/", "~", "<", "$", "-")):
                continue
            is_file = name.endswith(ENDINGS)
            is_folder = name.endswith("/") and name.removeprefix("./").split("/")[0] in tops
            if (is_file or is_folder) and not is_there(name, document, files, folders):
                yield f"{document}:{i}: there is no {name}"


def is_corpus(path):
    """What a fuzzer has found to be of interest: any bytes, in files without an ending."""
    return path.parts[:2] == ("tests", "fuzz") and len(path.parts) == 4 and not path.suffix


def main():
    root = pathlib.Path(sys.argv[1])
    files = repository_files(root)
    complaints = []
    for path in files:
        if path.name == "LICENSE" or is_corpus(path):
            continue
        text = read(root / path)
        complaints += reminders(path, text)
        complaints += licence(path, text)
        if path.suffix == ".md":
            complaints += names(path, text, files)

    print("\n".join(complaints))
    print(f"{len(files)} files, {len(complaints)} complaints")
    return 1 if complaints or not files else 0


sys.exit(main())
