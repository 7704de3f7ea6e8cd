"""Pictures without eyes as a YOLO folder, split by name into those to train on and those to test with.

    python negatives.py path/to/dataset --things path/to/101_ObjectCategories --out negatives

`negatives.tar` is split by the hash of each name, so the split is the same everywhere and stays when pictures are added.
`--things` adds folders of pictures, one folder a category: nine of ten to train on, the tenth (`dev`) to choose among trained
models with. things-left-out.txt names the categories and pictures in which a person or an animal has eyes. Pictures that
resemble one of the test are left out, too.
"""

import argparse
import hashlib
import pathlib
import tarfile

import cv2
import numpy as np

from dataset import folders, names_in

TRAIN_SHARE = 0.6
# Of the further things. Who chooses by the test's has no figure left that is of new pictures.
DEV_SHARE = 0.1
LONGEST_SIDE = 512  # as in negatives.tar
# Of 64 bits of the difference hash; unrelated pictures differ in about 32.
SAME_PICTURE_BITS = 8
SUFFIXES = {".jpg", ".jpeg", ".png"}


def place_of(name):
    """From 0 to 1, by the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def split_of(name):
    """`train` or `test`, by the name alone."""
    return "train" if place_of(name) < TRAIN_SHARE else "test"


def fingerprint(image):
    """Difference hash [64] of bool: the same for a picture scaled, compressed again or made gray."""
    small = cv2.resize(image, (9, 8), interpolation=cv2.INTER_AREA).astype(int)
    return (small[:, 1:] > small[:, :-1]).ravel()


def unpack(archive, out):
    """Every picture of the archive into images/<split>, with an empty label file."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            file = pathlib.PurePath(member.name)
            if file.suffix.lower() in SUFFIXES and member.isfile():
                add(out, split_of(file.stem), file.stem, tar.extractfile(member).read())


def add(out, split, stem, jpeg):
    for kind in ("images", "labels"):
        (out / kind / split).mkdir(parents=True, exist_ok=True)
    (out / "images" / split / f"{stem}.jpg").write_bytes(jpeg)
    (out / "labels" / split / f"{stem}.txt").write_text("")


def add_things(root, out, left_out):
    """One folder a category -> gray pictures in images/train and dev; returns how many came and how many resembled one of the test."""
    tested = np.array([fingerprint(cv2.imread(str(f), cv2.IMREAD_GRAYSCALE)) for f in folders(out, "test")[0].iterdir()])
    added = resembling = 0
    for file in sorted(f for f in pathlib.Path(root).rglob("*") if f.suffix.lower() in SUFFIXES):
        name = f"{file.parent.name}/{file.stem}"
        image = None if file.parent.name in left_out or name in left_out else cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if image is None:
            continue
        if len(tested) and (tested != fingerprint(image)).sum(1).min() <= SAME_PICTURE_BITS:
            resembling += 1
            continue
        scale = min(1, LONGEST_SIDE / max(image.shape))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        stem = f"thing_{file.parent.name}-{file.stem}"
        add(out, "dev" if place_of(stem) < DEV_SHARE else "train", stem, cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
        added += 1
    return added, resembling


def main(opt):
    out, archive = pathlib.Path(opt.out), pathlib.Path(opt.dataset) / "negatives.tar"
    if not archive.is_file():
        raise SystemExit(f"{archive} is missing: give the folder with negatives.tar")
    unpack(archive, out)
    for root in opt.things:
        if not pathlib.Path(root).is_dir():
            raise SystemExit(f"{root} is no folder: give one with a folder of pictures for each category")
        added, resembling = add_things(root, out, names_in(opt.leave_out))
        print(f"{root}: {added} pictures, {resembling} left out because they resemble one of the test")
    for split in ("train", "dev", "test") if opt.things else ("train", "test"):
        print(f"{split}: {len(list(folders(out, split)[0].iterdir()))} pictures")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder with negatives.tar")
    parser.add_argument("--things", nargs="*", default=[], help="folders of pictures, one folder a category, to train on and to choose with as well")
    parser.add_argument("--leave-out", default=pathlib.Path(__file__).with_name("things-left-out.txt"), help="categories and pictures with eyes")
    parser.add_argument("--out", required=True)
    main(parser.parse_args())
