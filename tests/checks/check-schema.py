#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What our code writes is what protobuf's own implementation reads, and writes itself: the exchange in docs/protocol.md
and the sound messages of the fuzzer's corpus, decoded by protoc and encoded again, are the same bytes.

usage: check-schema.py SOURCE_ROOT"""

import pathlib
import re
import subprocess
import sys

HEAD = 32  # bytes of a frame before its message
TYPES = ["Batch", "Reply", "Hello", "Welcome", "Refused"]  # as the first byte of an input of tests/fuzz/fuzz_wire.c says

FRAME = re.compile(r"^```frame (\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINE_BYTES = re.compile(r"^ *((?:[0-9a-f]{2}(?: |$))+)", re.MULTILINE)


def frames_of_document(root):
    text = (root / "docs" / "protocol.md").read_text()
    for name, block in FRAME.findall(text):
        yield f"frame {name}", name.capitalize(), bytes.fromhex("".join(LINE_BYTES.findall(block)))[HEAD:]


def messages_of_corpus(root):
    for path in sorted((root / "tests" / "fuzz" / "wire").glob("*")):
        data = path.read_bytes()
        if path.name.startswith(("bad", "frames", "unknown")):
            continue
        bulk = data[1] * 8
        yield path.name, TYPES[data[0]], data[2 : len(data) - bulk]


def protoc(root, way, message, data):
    schema = root / "schema"
    command = ["protoc", f"--proto_path={schema}", f"--{way}=objd.rpc.{message}", str(schema / "objd.proto")]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def main():
    root = pathlib.Path(sys.argv[1])
    n = n_bad = 0
    for name, message, data in [*frames_of_document(root), *messages_of_corpus(root)]:
        text = protoc(root, "decode", message, data)
        again = protoc(root, "encode", message, text.stdout)
        # Fields that it does not know have no name in its text, only a number.
        unknown = re.search(rb"^ *\d+[: ]", text.stdout, re.MULTILINE)
        if b"nan" in text.stdout:
            continue  # its text forgets which of the NaNs it was
        n += 1
        if text.returncode or again.stdout != data or unknown:
            n_bad += 1
            print(f"{name}: a {message} of {len(data)} bytes is another one for protoc: {text.stderr.decode()}")
    print(f"{n} messages, {n_bad} of them wrong")
    return 1 if n_bad or n < 40 else 0


sys.exit(main())
