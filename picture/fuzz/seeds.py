"""Writes the format matrix's files as seeds for the fuzz targets: python3 picture/fuzz/seeds.py"""

import json
from pathlib import Path

HERE = Path(__file__).parent
FORMATS = HERE.parent / "tests/formats"

blob = (FORMATS / "formats.bin").read_bytes()
for entry in json.loads((FORMATS / "formats.json").read_text()):
    content = blob[entry["at"] : entry["at"] + entry["length"]]
    name = entry["name"].replace("/", "-").replace(" ", "")
    for target in ("decode", "jpeg_differential"):
        if target == "decode" or name.startswith("jpeg-"):
            folder = HERE / "corpus" / target
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
