"""Checkpoints become what the official exporter writes, run nothing, and end in one line where they are broken."""

import io
import pickle
import random
import tempfile
import unittest
import zipfile
from pathlib import Path

import numpy as np
import onnx
from checkpoint import CheckpointError, tensor
from export import export
from onnx.reference import ReferenceEvaluator

FORMS = Path(__file__).parent.parent / "forms"
HEIGHT, WIDTH = 64, 128
MUTATIONS = 150
# Pixels: floats of 32 bits, summed in another order. Random weights make more of it than trained
# ones do, whose boxes stay within 1e-3 pixels (docs/exports.md).
TOLERANCE = 1e-3
RELATIVE = 3e-5


def outputs(path: Path, image: np.ndarray) -> np.ndarray:
    return ReferenceEvaluator(onnx.load(path)).run(None, {"images": image})[0]


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class Export(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def checkpoint(self, content: dict[str, bytes]) -> Path:
        path, whole = self.folder / "best (1).pt", io.BytesIO()
        with zipfile.ZipFile(whole, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        path.write_bytes(whole.getvalue())
        return path

    def refusal(self, path: Path) -> str:
        with self.assertRaises(CheckpointError) as caught:
            export(path, [HEIGHT, WIDTH], self.folder / "out.onnx")
        text = str(caught.exception)
        self.assertNotIn("\n", text)
        self.assertEqual(list(self.folder.glob("*.onnx*")), [], "nothing half written is left")
        return text

    def test_the_file_computes_what_the_official_exporters_does(self):
        image = np.random.default_rng(19).random((1, 3, HEIGHT, WIDTH), dtype=np.float32)
        for checkpoint, official in (("tiny", "master-torch2"), ("tiny-p6", "p6-master-torch2")):
            out = self.folder / "out.onnx"
            self.assertEqual(export(FORMS / f"{checkpoint}.pt", [HEIGHT, WIDTH], out), (HEIGHT, WIDTH))
            ours, theirs = outputs(out, image), outputs(FORMS / "accepted" / f"{official}.onnx", image)
            self.assertEqual(ours.shape, theirs.shape)
            np.testing.assert_allclose(ours, theirs, rtol=RELATIVE, atol=TOLERANCE)
            metadata = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
            self.assertEqual(metadata["names"], "{0: 'eye_open', 1: 'eye_closed'}")

    def test_a_size_is_rounded_up_to_the_stride(self):
        self.assertEqual(export(FORMS / "tiny.pt", [60], self.folder / "out.onnx"), (64, 64))
        self.assertEqual(export(FORMS / "tiny-p6.pt", [96, 100], self.folder / "out.onnx"), (128, 128))

    def test_nothing_in_a_checkpoint_is_executed(self):
        mark = self.folder / "executed"

        class Call:
            def __reduce__(self):
                return (Path.touch, (mark,))

        class Evaluate:
            def __reduce__(self):
                return (eval, (f"open({str(mark)!r}, 'w')",))

        for attack in (Call(), Evaluate(), {"model": Evaluate()}, [Call()]):
            self.refusal(self.checkpoint({"best/data.pkl": pickle.dumps(attack)}))
            self.assertFalse(mark.exists())

    def test_other_files_are_called_what_they_are(self):
        path = self.folder / "best.pt"
        for content, what in (
            (b"", "not a PyTorch checkpoint"),
            (b"hello, world", "not a PyTorch checkpoint"),
            (b"<!DOCTYPE html><html>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
            (b"\x80\x02}q\x00.", "before 1.6"),
            ((FORMS / "tiny.pt").read_bytes()[:5000], "cut off"),
        ):
            path.write_bytes(content)
            self.assertIn(what, self.refusal(path))
        self.assertIn("No such file", self.refusal(self.folder / "nowhere.pt"))
        self.assertIn("TorchScript", self.refusal(self.checkpoint({"best/code/x.py": b"", "best/data.pkl": b""})))
        self.assertIn("state dict", self.refusal(self.checkpoint({"best/data.pkl": pickle.dumps({"model": {}})})))
        self.assertIn("no model", self.refusal(self.checkpoint({"best/data.pkl": pickle.dumps(None)})))
        yolov8 = parts(FORMS / "tiny.pt")
        name = next(name for name in yolov8 if name.endswith("data.pkl"))
        yolov8[name] = yolov8[name].replace(b"cmodels.yolo\n", b"cultralytics.nn.tasks\n")
        self.assertIn("YOLOv8", self.refusal(self.checkpoint(yolov8)))

    def test_a_tensor_that_repeats_one_number_is_kept_once(self):
        # As PyTorch's `expand` stores YOLOv5's `anchor_grid` after a validation.
        found = tensor(np.arange(2, dtype=np.float32), 0, (1, 80, 80, 2), (2, 0, 0, 1))
        np.testing.assert_array_equal(found, [[[[0, 1]]]])
        with self.assertRaises(CheckpointError):
            tensor(np.arange(2, dtype=np.float32), 0, (3, 2), (2, 1))

    def test_broken_checkpoints_end_in_one_line(self):
        content = parts(FORMS / "tiny.pt")
        name = next(name for name in content if name.endswith("data.pkl"))
        source, chance = content[name], random.Random(19)
        for _ in range(MUTATIONS):
            mutated = bytearray(source)
            for _ in range(chance.randint(1, 4)):
                mutated[chance.randrange(len(mutated))] = chance.randrange(256)
            path = self.checkpoint(content | {name: bytes(mutated)})
            try:
                export(path, [HEIGHT, WIDTH], self.folder / "out.onnx")
            except CheckpointError as error:
                self.assertNotIn("\n", str(error))


if __name__ == "__main__":
    unittest.main()
