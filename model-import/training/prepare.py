"""Unpacks the data set (train.tar, val.tar) and counts what is in it, by source.

    python prepare.py path/to/dataset --out data

Drawn faces are added by the project's own generator and given to train.py as a further folder:
    cargo run --release -p night-faces -- generate --count 600 --seed 1000 --out data/drawn
"""

import argparse
import collections
import pathlib
import tarfile

from dataset import folders, prefix, read_labels


def main(opt):
    out = pathlib.Path(opt.out)
    for split in ("train", "val"):
        archive = pathlib.Path(opt.dataset) / f"{split}.tar"
        if not archive.is_file():
            raise SystemExit(f"{archive} is missing: give the folder with train.tar and val.tar")
        if not (out / "images" / split).is_dir():
            with tarfile.open(archive) as tar:
                tar.extractall(out, filter="data")
        images, labels = folders(out, split)
        counts = collections.defaultdict(lambda: [0, 0, 0])
        for file in images.iterdir():
            rows = read_labels(labels / f"{file.stem}.txt")
            if len(rows) and not (set(rows[:, 0]) <= {0, 1} and rows[:, 1:].min() >= 0 and rows[:, 1:].max() <= 1):
                raise SystemExit(f"{labels / file.stem}.txt: classes must be 0 or 1, and boxes within the picture")
            counts[prefix(file.stem)][0] += 1
            counts[prefix(file.stem)][1] += int((rows[:, 0] == 0).sum())
            counts[prefix(file.stem)][2] += int((rows[:, 0] == 1).sum())
        print(f"{split}: {sum(c[0] for c in counts.values())} pictures (open boxes / closed boxes)")
        print("  " + ", ".join(f"{p} {c[0]} ({c[1]}/{c[2]})" for p, c in sorted(counts.items())))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--out", required=True)
    main(parser.parse_args())
