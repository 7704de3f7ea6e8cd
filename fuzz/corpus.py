#!/usr/bin/env python3
"""Keeps corpora as one file each: corpus.py pack FOLDER [MOST_BYTES], corpus.py unpack FOLDER.

FOLDER has a folder of inputs for each target. `pack` writes corpus/TARGET.bin beside this script, smallest inputs
first until MOST_BYTES are reached; `unpack` writes the inputs back. Each input is preceded by its length, four bytes,
the lowest first.
"""

import hashlib
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"

# What the repository keeps of each target.
MOST_BYTES = 64 * 1024


def pack(folder: Path, most: int) -> None:
    CORPUS.mkdir(exist_ok=True)
    for target in sorted(path for path in folder.iterdir() if path.is_dir()):
        inputs = sorted((path.read_bytes() for path in target.iterdir()), key=lambda content: (len(content), content))
        packed = b""
        for content in inputs:
            if len(packed) + 4 + len(content) > most:
                break
            packed += len(content).to_bytes(4, "little") + content
        (CORPUS / f"{target.name}.bin").write_bytes(packed)


def unpack(folder: Path) -> None:
    for path in sorted(CORPUS.glob("*.bin")):
        target, packed, at = folder / path.stem, path.read_bytes(), 0
        target.mkdir(parents=True, exist_ok=True)
        while at < len(packed):
            length = int.from_bytes(packed[at : at + 4], "little")
            content = packed[at + 4 : at + 4 + length]
            (target / hashlib.sha1(content).hexdigest()).write_bytes(content)
            at += 4 + length


if __name__ == "__main__":
    if sys.argv[1] == "pack":
        pack(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else MOST_BYTES)
    else:
        unpack(Path(sys.argv[2]))
