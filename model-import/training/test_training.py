"""make test-training: the parts of the pipeline against YOLOv5's own code and against drawn ellipses."""

import copy
import pathlib
import sys
import tempfile
import types
import unittest
import unittest.mock

import cv2
import numpy as np
import onnx
import onnxruntime
import scipy.stats
import torch
import yolov5
from yolov5.models.yolo import Model
from yolov5.utils.augmentations import letterbox as yolov5_letterbox
from yolov5.utils.general import non_max_suppression, scale_boxes
from yolov5.utils.loss import ComputeLoss

import audit
import augment
import average
import calibrate
import checkpoint
import choose
import dataset
import detector
import device_augment
import device_data
import ellipse
import evaluate
import from_onnx
import halve
import metrics
import narrow
import negatives
import quantized
import teacher
import widen

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "quantize"))
import quantize  # noqa: E402
import rounding  # noqa: E402


class Ellipse(unittest.TestCase):
    def test_box_of_a_turned_eye_is_the_box_of_its_drawn_ellipse(self):
        for degrees in range(-90, 91, 15):
            canvas = np.zeros((400, 400), np.uint8)
            d, angle = 150.0, np.radians(degrees)
            axes = (round(d * ellipse.HALF_WIDTH * 16), round(d * ellipse.HALF_HEIGHT * 16))
            cv2.ellipse(canvas, (200 * 16, 200 * 16), axes, degrees, 0, 360, 255, -1, shift=4)
            y, x = np.nonzero(canvas)
            drawn = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            np.testing.assert_allclose(ellipse.to_boxes([[200, 200, d, angle]])[0], drawn, atol=1.6)

    def test_two_eyes_tell_which_way_a_face_is_turned(self):
        for degrees in (-60, -30, 30, 60):
            angle = np.radians(degrees)
            step = 80 * np.array([np.cos(angle), np.sin(angle)])
            eyes = np.array([[200 - step[0], 200 - step[1], 40, angle], [200 + step[0], 200 + step[1], 40, angle]])
            boxes = ellipse.to_boxes(eyes)
            xywh = np.column_stack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]])
            np.testing.assert_allclose(ellipse.from_boxes(xywh), eyes, atol=1e-6)

    def test_turning_there_and_back_changes_nothing(self):
        eyes = np.array([[10.0, 20.0, 30.0, 0.4]])
        matrix = cv2.getRotationMatrix2D((50, 60), 77, 1.7)
        back = ellipse.transform(ellipse.transform(eyes, matrix), cv2.invertAffineTransform(matrix))
        np.testing.assert_allclose(back, eyes, atol=1e-9)


class AsYolov5(unittest.TestCase):
    def test_letterbox_gives_the_same_pixels(self):
        rng = np.random.default_rng(1)
        for h, w in ((480, 640), (641, 333), (100, 99), (416, 416), (37, 500)):
            image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
            np.testing.assert_array_equal(detector.letterbox(image, (416, 416))[0], yolov5_letterbox(image, (416, 416), auto=False)[0])

    def test_kept_boxes_are_the_same_in_pixels_of_the_picture(self):
        rng = np.random.default_rng(2)
        shape, size = (300, 500), (416, 416)
        for multi_label, iou in ((False, 0.45), (True, 0.6)):
            output = np.column_stack([rng.uniform(80, 330, (400, 2)), rng.uniform(10, 90, (400, 2)), rng.uniform(0, 1, (400, 3))]).astype(np.float32)
            theirs = non_max_suppression(torch.from_numpy(output)[None], 0.001, iou, multi_label=multi_label)[0]
            theirs[:, :4] = scale_boxes(size, theirs[:, :4], shape)
            _, scale, shift = detector.letterbox(np.zeros((*shape, 3), np.uint8), size)
            ours = detector.to_picture(detector.decode(output, iou, multi_label), scale, shift, shape)
            np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-3)


class Widening(unittest.TestCase):
    def test_yolov5n_widened_is_yolov5s_and_computes_the_same(self):
        folder = pathlib.Path(yolov5.__file__).parent / "models"
        narrow, small = (Model(folder / f"yolov5{scale}.yaml", ch=3, nc=2) for scale in "ns")
        generator = torch.Generator().manual_seed(3)
        for name, value in narrow.state_dict().items():
            if "running_var" in name:  # fresh normalizations would forgive a mistake in them
                value.uniform_(0.5, 2, generator=generator)
            elif "running_mean" in name:
                value.normal_(generator=generator)
        wide = widen.widen(types.SimpleNamespace(Model=Model), narrow)
        self.assertEqual({k: v.shape for k, v in wide.state_dict().items()}, {k: v.shape for k, v in small.state_dict().items()})
        image = torch.rand(1, 3, 96, 160, generator=generator)
        with torch.no_grad():
            expected, found = (model.eval()(image)[0] for model in (narrow, wide))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        first = wide.model[1].conv.weight
        self.assertFalse(torch.equal(first[:, 0::2], first[:, 1::2]))


class Narrowing(unittest.TestCase):
    def test_a_network_half_of_whose_channels_give_nothing_is_narrowed_to_one_that_computes_the_same(self):
        folder = pathlib.Path(yolov5.__file__).parent / "models"
        wide = Model(folder / "yolov5s.yaml", ch=3, nc=2)
        generator = torch.Generator().manual_seed(4)
        modules = dict(wide.named_modules())
        for name, module in modules.items():
            if not hasattr(module, "bn"):
                continue
            module.bn.running_var.uniform_(0.5, 2, generator=generator)
            module.bn.running_mean.normal_(generator=generator)
            added = name.endswith(".cv2") and ".m." in name and modules[name.rsplit(".", 1)[0]].add
            if not added:
                silent = torch.randperm(len(module.bn.weight), generator=generator)[: len(module.bn.weight) // 2]
            else:  # those of the C3's first convolution, to whose outputs these are added
                silent = (modules[name.split(".m.")[0] + ".cv1"].bn.weight == 0).nonzero()[:, 0]
            with torch.no_grad():
                module.bn.weight[silent] = 0
                module.bn.bias[silent] = 0
        targets = torch.tensor([[0, 0, 0.3, 0.4, 0.2, 0.1], [1, 1, 0.6, 0.5, 0.3, 0.3]])
        batches = [((255 * torch.rand(2, 128, 128, generator=generator)).byte(), targets)]
        yolo = types.SimpleNamespace(Model=Model, ComputeLoss=ComputeLoss)
        half = narrow.narrow(yolo, wide, narrow.importances(yolo, wide, batches))
        self.assertEqual(half.yaml["width_multiple"], wide.yaml["width_multiple"] / 2)
        nano = Model(folder / "yolov5n.yaml", ch=3, nc=2)
        self.assertEqual({k: v.shape for k, v in half.state_dict().items()}, {k: v.shape for k, v in nano.state_dict().items()})
        image = torch.rand(1, 3, 96, 160, generator=generator)
        with torch.no_grad():
            expected, found = (model.eval()(image)[0] for model in (wide, half))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


class Teaching(unittest.TestCase):
    def test_no_other_answer_is_nearer_to_the_teacher_than_its_own(self):
        generator = torch.Generator().manual_seed(5)
        taught = [torch.randn(2, 3, 4, 4, 7, generator=generator)]
        gains = dict(obj=1.0, cls=0.15, box=0.1)
        least = teacher.distance(taught, taught, gains)
        for changed in (slice(0, 4), slice(4, 5), slice(5, 7)):  # boxes, objectness, classes
            other = taught[0].clone()
            other[..., changed] += 0.1
            self.assertGreater(teacher.distance([other], taught, gains), least)


class Labels(unittest.TestCase):
    def test_a_model_contradicts_a_label_that_lies_elsewhere_than_its_box(self):
        eye, brow, other = ([100, 100, 160, 140], [100, 70, 160, 110], [300, 100, 360, 140])
        label = lambda *boxes: np.array([[1, *box] for box in boxes], float).reshape(-1, 5)  # noqa: E731
        found = lambda confidence, *boxes: np.array([[*box, confidence, 1] for box in boxes], float).reshape(-1, 6)  # noqa: E731
        self.assertTrue(audit.contradicted(label(brow, other), found(0.9, eye, other)))
        self.assertFalse(audit.contradicted(label(eye, other), found(0.9, eye, other)))
        self.assertFalse(audit.contradicted(label(eye, other), found(0.9, eye)), "an overlooked eye is no wrong label")
        self.assertFalse(audit.contradicted(label(eye), found(0.9, eye, other)), "nor is an eye too many")
        self.assertFalse(audit.contradicted(label(brow), found(0.3, eye)), "nor is what the model is not sure of")

    def test_pictures_that_are_named_are_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "images").mkdir()
            for name in ("right", "wrong"):
                cv2.imwrite(str(root / "images" / f"{name}.png"), np.zeros((8, 8), np.uint8))
            (root / "names.txt").write_text("# why\nwrong\n\n")
            self.assertEqual(dataset.Pictures([root], "train", dataset.names_in(root / "names.txt")).names, ["right"])


class WithoutEyes(unittest.TestCase):
    def test_a_part_without_eyes_shows_none_and_is_mostly_what_lies_below_them(self):
        face = np.zeros((400, 300), np.uint8)
        face[130:] = 100  # below the eyes
        eyes = np.array([[90.0, 110.0, 40.0, 0.0], [210.0, 110.0, 40.0, 0.0]])
        for x1, y1, x2, y2 in ellipse.to_boxes(eyes).astype(int):
            face[y1:y2, x1:x2] = 255
        rng = np.random.default_rng(4)
        parts = [augment.without_eyes(rng, face, eyes) for _ in range(200)]
        self.assertTrue(all(part.max() < 255 for part in parts))
        below = sum(part.min() > 0 for part in parts)
        self.assertGreater(below, 100)
        self.assertLess(below, 200)


class Negatives(unittest.TestCase):
    def test_a_name_alone_decides_the_split_and_three_fifths_are_trained_on(self):
        names = [f"negobj_{number}" for number in range(2000)]
        splits = [negatives.split_of(name) for name in names]
        self.assertEqual(splits, [negatives.split_of(name) for name in names])
        self.assertAlmostEqual(splits.count("train") / len(splits), 0.6, delta=0.03)

    def test_things_that_resemble_a_tested_picture_or_have_eyes_are_not_trained_on(self):
        rng = np.random.default_rng(5)
        # Smooth, as pictures are: noise would not survive being made smaller.
        tested, other = (cv2.resize(rng.integers(0, 256, (6, 8), dtype=np.uint8), (400, 300), interpolation=cv2.INTER_CUBIC) for _ in range(2))
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            negatives.add(root / "out", "test", "negobj_lamp", cv2.imencode(".jpg", tested)[1].tobytes())
            for category, name, image in (("lamp", "again", tested[::2, ::2]), ("lamp", "new", other), ("face", "any", other), ("cup", "portrait", other)):
                (root / "in" / category).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / "in" / category / f"{name}.jpg"), image)
            self.assertEqual(negatives.add_things(root / "in", root / "out", {"face", "cup/portrait"}), (1, 1))
            self.assertEqual([file.name for file in (root / "out" / "images" / "train").iterdir()], ["thing_lamp-new.jpg"])

    def test_a_tenth_of_the_things_is_kept_to_choose_with_and_trained_on_by_none(self):
        picture = cv2.imencode(".jpg", np.zeros((40, 60), np.uint8))[1].tobytes()
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "in" / "cup").mkdir(parents=True)
            stripes = np.tile(np.repeat(np.array([0, 255], np.uint8), 40), (90, 5))  # nothing like what is added
            negatives.add(root / "out", "test", "negobj_lamp", cv2.imencode(".jpg", stripes)[1].tobytes())
            for number in range(300):
                (root / "in" / "cup" / f"{number}.jpg").write_bytes(picture)
            self.assertEqual(negatives.add_things(root / "in", root / "out", set()), (300, 0))
            trained, kept = ({file.stem for file in (root / "out" / "images" / split).iterdir()} for split in ("train", "dev"))
            self.assertEqual((len(trained | kept), trained & kept), (300, set()))
            self.assertAlmostEqual(len(kept) / 300, 0.1, delta=0.05)

    def test_what_a_model_fired_on_is_drawn_more_often_and_never_with_eyes(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, value in (("thing_dull", 50), ("thing_hard", 200)):
                negatives.add(root, "train", name, cv2.imencode(".png", np.full((40, 60), value, np.uint8))[1].tobytes())
            (root / "mined.txt").write_text("# a model\n0.950 thing_hard\n0.000 thing_dull\n")
            things = dataset.Things(dataset.Pictures([root], "train"), dataset.mined(root / "mined.txt"))
            training = dataset.TrainingSet(types.SimpleNamespace(eyes=[], weights=lambda: np.zeros(0)), things, share=1.0)
            rng = np.random.default_rng(6)
            drawn = [training.draw(rng) for _ in range(600)]
            self.assertTrue(all(len(eyes) == len(classes) == 0 for _, eyes, classes in drawn))
            hard = sum(min(abs(image.mean() - 200), abs(image.mean() - 55)) < 3 for image, *_ in drawn)
            self.assertAlmostEqual(hard / 600, 1.10 / 1.25, delta=0.05)

    def test_a_picture_of_a_thing_counts_as_false_alarm_when_an_eye_is_found(self):
        eye = lambda confidence, kind: np.array([[10, 10, 50, 40, confidence, kind]], float)  # noqa: E731
        found = {"lamp": eye(0.9, 0), "knot": eye(0.5, 1), "cup": eye(0.3, 0), "bed": eye(0.1, 0)[:0]}
        detector = types.SimpleNamespace(file=lambda file: (found[file.stem], None))
        result = evaluate.false_alarms([pathlib.Path(f"{name}.jpg") for name in found], detector, 0.35)
        self.assertEqual((result["called_open"], result["called_closed"], result["share"][0]), (1, 1, 0.5))
        self.assertEqual(result["thresholds"][0.25], 0.75)
        self.assertEqual(result["names"], ["lamp", "knot"])


class Intervals(unittest.TestCase):
    def test_the_interval_of_a_share_is_the_one_that_the_handbook_has(self):
        # scipy.stats.binomtest(k, n).proportion_ci(method="wilson") is independent of ours.
        for part, whole in ((2, 183), (0, 39), (480, 484), (24, 24), (1, 2)):
            wanted = scipy.stats.binomtest(part, whole).proportion_ci(method="wilson")
            np.testing.assert_allclose(metrics.wilson(part, whole), (wanted.low, wanted.high), atol=1e-6)
        self.assertTrue(np.isnan(metrics.wilson(0, 0)).all())


class Calibration(unittest.TestCase):
    def test_logits_that_say_too_much_are_scaled_to_probabilities(self):
        rng = np.random.default_rng(8)
        truth = rng.normal(1, 2, 4000)  # of the class; objectness is sure
        seen = np.column_stack([np.arange(4000), np.full(4000, 9.0), 2 * truth + 1, rng.random(4000) < calibrate.sigmoid(truth)])
        _, _, scale, shift = calibrate.fit(seen)
        self.assertAlmostEqual(scale, 0.5, delta=0.08)
        self.assertAlmostEqual(shift, -0.5, delta=0.15)

    def test_what_is_found_in_things_is_wrong_and_lowers_what_looks_like_it(self):
        rng = np.random.default_rng(9)
        eyes = np.column_stack([np.arange(300), rng.normal(3, 1, 300), rng.normal(4, 1, 300), np.ones(300)])
        things = np.column_stack([np.arange(300, 340), rng.normal(1, 1, 40), rng.normal(2, 1, 40), np.zeros(40)])
        without, with_things = calibrate.fit(eyes), calibrate.fit(np.concatenate([eyes, things]))
        self.assertLess(calibrate.confidence(with_things, things).mean(), 0.5 * calibrate.confidence(without, things).mean())
        self.assertGreater(calibrate.confidence(with_things, eyes).mean(), 0.9)


class TurnedLabels(unittest.TestCase):
    def test_boxes_turn_with_the_picture(self):
        canvas = np.full((200, 300), 20, np.uint8)
        eyes = np.array([[90.0, 80.0, 40.0, 0.0], [190.0, 80.0, 40.0, 0.0]])
        for x, y, d, angle in eyes:
            axes = (round(d * ellipse.HALF_WIDTH), round(d * ellipse.HALF_HEIGHT))
            cv2.ellipse(canvas, (int(x), int(y)), axes, np.degrees(angle), 0, 360, 255, -1)
        truth = np.column_stack([[0, 1], ellipse.to_boxes(eyes)])
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "eyes.png"
            cv2.imwrite(str(file), canvas)
            for degrees in (60, 90, 150):
                ((image, rows),) = calibrate.turned_by(degrees, [(file, "eyes", canvas.shape, truth, eyes)])
                _, _, stats, _ = cv2.connectedComponentsWithStats((image > 190).astype(np.uint8))
                drawn = [[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:]]
                np.testing.assert_array_equal(rows[:, 0], [0, 1])
                np.testing.assert_allclose(sorted(rows[:, 1:].tolist(), key=sum), sorted(drawn, key=sum), atol=3)


def drawn_eyes(root, name, eyes):
    """A picture with two light ellipses on dark in a YOLO folder; without eyes it is only dark."""
    canvas = np.full((200, 300), 20, np.uint8)
    for x, y, d, angle in eyes:
        cv2.ellipse(canvas, (int(x), int(y)), (round(d * ellipse.HALF_WIDTH), round(d * ellipse.HALF_HEIGHT)), np.degrees(angle), 0, 360, 255, -1)
    boxes = ellipse.to_boxes(eyes).reshape(-1, 4) / [300, 200, 300, 200]
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / "images" / f"{name}.png"), canvas)
    rows = [f"{i % 2} {(a + c) / 2} {(b + d) / 2} {c - a} {d - b}" for i, (a, b, c, d) in enumerate(boxes)]
    (root / "labels" / f"{name}.txt").write_text("\n".join(rows))


class OnTheDevice(unittest.TestCase):
    EYES = np.array([[100.0, 90.0, 50.0, 0.2], [200.0, 110.0, 50.0, 0.2]])

    def setUp(self):
        torch.manual_seed(3)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        faces, things = pathlib.Path(self.folder.name) / "faces", pathlib.Path(self.folder.name) / "things"
        drawn_eyes(faces, "eyes", self.EYES)
        drawn_eyes(things, "thing", self.EYES[:0])
        self.pool = device_data.pool([faces], [things], "cpu", side=256)

    def test_boxes_lie_on_the_drawn_ellipses_wherever_a_picture_is_put(self):
        count, size = 12, 320
        drawn = torch.zeros(count, dtype=torch.long)
        rect = torch.tensor([[0.0, 0.0, *self.pool.extents[0]]]).expand(count, 4)
        into = torch.tensor([[0.0, 0.0, size, size]]).expand(count, 4)
        matrix = device_augment.placements(rect, into, self.pool.eyes[drawn], self.pool.classes[drawn], torch.zeros(count, dtype=torch.bool))
        image, inside = device_augment.warped(self.pool, drawn, matrix, size, rect, *device_augment.grid(size, "cpu"))
        boxes = device_augment.boxes_of(device_augment.moved(self.pool.eyes[drawn], matrix))
        compared = 0
        for i in range(count):
            whole = boxes[i][((boxes[i] > 2) & (boxes[i] < size - 2)).all(1)]
            light = torch.where(inside[i, 0], image[i, 0], torch.tensor(20.0))
            _, _, stats, _ = cv2.connectedComponentsWithStats((light.numpy() > 137).astype(np.uint8))
            found = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:]], float)
            for box in whole.numpy():
                self.assertLess(np.abs(found - box).max(1).min(), 3)
                compared += 1
        self.assertGreater(compared, count)

    def test_a_batch_has_labels_of_faces_only_and_the_size_that_was_asked_for(self):
        images, targets, (where, which) = device_augment.batch(self.pool, 16, 160, 0.25, 0.5, 0.5, 0.15)
        self.assertEqual(images.shape, (16, 1, 160, 160))
        self.assertTrue(bool((images >= 0).all() and (images <= 255).all()))
        self.assertTrue(bool((targets[:, 2:] >= 0).all() and (targets[:, 2:] <= 1).all()))
        self.assertTrue(set(targets[:, 1].tolist()) <= {0.0, 1.0} and len(targets))
        self.assertTrue(bool(self.pool.things[which].all()))
        self.assertFalse(set(where.tolist()) & set(targets[:, 0].long().tolist()), "a lone thing has no labels")

    def test_a_thing_that_a_model_is_sure_of_is_drawn_more_often(self):
        pool = device_augment.Pool(
            np.zeros((3, 8, 8), np.uint8), [[8, 8]] * 3, np.ones((3, 1, 4)), np.full((3, 1), -1), [1.0, 1.0, 1.0], [False, True, True], "cpu"
        )
        pool.confidence[2] = 0.85
        drawn = torch.bincount(pool.draw(20_000, 0.4, 0.15), minlength=3).float() / 20_000
        torch.testing.assert_close(drawn, torch.tensor([0.6, 0.4 * 0.15 / 1.15, 0.4 * 1.0 / 1.15]), atol=0.02, rtol=0)

    def test_the_verdict_of_raw_outputs_is_the_verdict_of_the_kept_boxes(self):
        random = np.random.default_rng(5)
        raw = random.uniform(0, 1, (40, 30, 7)).astype(np.float32)
        raw[..., 4] **= 20
        confidences = choose.surest(torch.from_numpy(raw)).numpy()
        said = metrics.verdicts([detector.decode(one, detector.DETECT_IOU, False) for one in raw], 0.35)
        np.testing.assert_array_equal(choose.states(confidences, 0.35), said)
        self.assertGreater(len(set(said)), 1)


class FromOnnx(unittest.TestCase):
    def test_normalizations_come_back_and_the_network_computes_the_same(self):
        folder = pathlib.Path(yolov5.__file__).parent / "models"
        generator = torch.Generator().manual_seed(7)
        model, other = (Model(folder / "yolov5n.yaml", ch=3, nc=2) for _ in range(2))
        for name, value in model.state_dict().items():
            if "running_var" in name:
                value.uniform_(0.5, 2, generator=generator)
            elif "running_mean" in name:
                value.normal_(std=0.1, generator=generator)
        image = torch.rand(2, 3, 96, 160, generator=generator)
        with torch.no_grad():
            expected = model.eval()(image)[0]
        folded = model.fuse().state_dict()
        lengths = {name: value.clone() for name, value in other.state_dict().items()}
        from_onnx.unfold(other, folded)
        from_onnx.restore_statistics(other, [image], lengths)
        with torch.no_grad():
            torch.testing.assert_close(other(image)[0], expected, rtol=1e-3, atol=1e-3)
            first = other.model[0].conv(image)
            other.train()(image)  # in training, too, its inputs are what its statistics say
        torch.testing.assert_close(other.model[0].bn.running_var, first.var((0, 2, 3)), rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(other.model[0].conv.weight.norm(), lengths["model.0.conv.weight"].norm(), rtol=1e-4, atol=1e-4)

    def test_the_built_in_model_can_be_trained_on_from(self):
        (built_in,) = (pathlib.Path(__file__).parents[2] / "model-import" / "weights").glob("*.onnx")
        model = Model(pathlib.Path(yolov5.__file__).parent / "models" / "yolov5n.yaml", ch=3, nc=2)
        from_onnx.unfold(model, from_onnx.weights_of(built_in))
        found = detector.Onnx(built_in)
        image = cv2.imread(str(pathlib.Path(__file__).parents[2] / "function/samples/open.jpg"), cv2.IMREAD_GRAYSCALE)
        canvas = choose.canvases([image], found.size[0])
        with torch.no_grad():
            raw = next(choose.outputs(model.eval(), canvas, "cpu"))[0].numpy()
        np.testing.assert_allclose(raw, found.run(image)[0], rtol=1e-3, atol=0.05)


class Quantized(unittest.TestCase):
    """Against ONNX Runtime on the built-in 8-bit file, layer by layer."""

    @classmethod
    def setUpClass(cls):
        root = pathlib.Path(__file__).parents[2]
        (cls.file,) = (root / "model-import" / "weights" / "int8").glob("*.onnx")
        cls.model = Model(pathlib.Path(yolov5.__file__).parent / "models" / "yolov5n.yaml", ch=3, nc=2)
        graph = onnx.load(cls.file)
        stored = quantized.constants(cls.file)
        cls.scales = quantized.map_scales(stored)
        cls.convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
        folded = {}
        for node in cls.convolutions:
            name = node.input[1].removesuffix(".weight.quantized")
            levels, scale = stored[f"{name}.weight.levels"], stored[f"{name}.weight.scale"]
            path = name.replace("/", ".")
            for kind, value in (("weight", levels * scale[:, None, None, None]), ("bias", stored[node.input[2]])):
                folded[f"{path}.{kind}"] = folded[f"{path}.conv.{kind}"] = torch.from_numpy(value.astype(np.float32))
        from_onnx.unfold(cls.model, folded)
        cls.model.eval()
        cls.names = sorted({name for node in graph.graph.node for name in node.output if name.endswith(".quantized") and "weight" not in name} | {n.input[0] for n in cls.convolutions})
        del graph.graph.output[:]
        graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in cls.names)
        image = cv2.imread(str(root / "function/samples/open.jpg"), cv2.IMREAD_GRAYSCALE)
        canvas = detector.letterbox(image, (416, 416))[0]
        picture = np.broadcast_to(canvas[None, None].astype(np.float32) / 255, (1, 3, 416, 416))
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        cls.values = {n: torch.from_numpy(v) for n, v in zip(cls.names, session.run(cls.names, {"images": picture}))}

    def rounding(self):
        model = copy.deepcopy(self.model)
        quantized.attach(model, self.file)
        return model

    def assert_same_levels(self, value, expected, scale, name):
        off = ((value - expected) / scale).abs()
        self.assertLess(off.max().item(), 1.01, name)
        self.assertLess((off > 0.01).float().mean().item(), 1e-3, name)

    @torch.no_grad()
    def test_each_layer_stores_the_levels_that_onnx_runtime_stores(self):
        model, scales = self.rounding(), self.scales
        modules, compared = dict(model.named_modules()), 0
        with unittest.mock.patch.object(quantized, "stored_weights", lambda weights: weights):  # they are in levels already
            for node in self.convolutions:
                name = node.output[0].removesuffix("/Conv")
                stored = f"{name}/Mul.quantized"
                if stored in self.values:
                    value = modules[name.replace("/", ".")](self.values[node.input[0]])
                    self.assert_same_levels(value, self.values[stored], scales[f"{name}/Mul"][0], name)
                    compared += 1
            for name in (name for name in scales if name.endswith("/Add")):
                owner = name.removesuffix("/Add")
                reads = next(node.input[0] for node in self.convolutions if node.output[0] == f"{owner}/cv1/Conv")
                value = modules[owner.replace("/", ".")](self.values[reads])
                self.assert_same_levels(value, self.values[f"{name}.quantized"], scales[name][0], name)
                compared += 1
        self.assertEqual(compared, sum(not n.endswith(quantized.FOR_HEAD) for n in scales) - 1)  # all but the picture

    @torch.no_grad()
    def test_a_normalization_is_folded_into_weights_and_bias(self):
        layer = copy.deepcopy(self.model.model[1])
        generator = torch.Generator().manual_seed(3)
        for value, low, high in ((layer.bn.weight, -2, 2), (layer.bn.bias, -1, 1), (layer.bn.running_mean, -1, 1), (layer.bn.running_var, 0.1, 3)):
            value.data.uniform_(low, high, generator=generator)
        image = torch.rand(1, 16, 20, 24, generator=generator)
        with unittest.mock.patch.object(quantized, "stored_weights", lambda weights: weights):
            torch.testing.assert_close(quantized.folded(layer, image), layer.bn(layer.conv(image)), rtol=1e-4, atol=1e-4)

    def test_weights_are_rounded_to_255_levels_of_each_channel_and_learn(self):
        weights = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(4)) * torch.logspace(-3, 1, 5)[:, None, None, None]
        weights.requires_grad_(True)
        rounded = quantized.stored_weights(weights)
        scale = weights.detach().flatten(1).abs().amax(1)[:, None] / 127
        levels = rounded.detach().flatten(1) / scale
        torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
        self.assertLessEqual(((rounded - weights).detach().flatten(1) / scale).abs().max().item(), 0.501)
        self.assertEqual(levels.abs().amax(1).round().tolist(), [127] * 5)
        rounded.sum().backward()
        self.assertEqual(weights.grad.unique().tolist(), [1])

    def test_the_levels_are_those_that_the_quantizer_writes(self):
        self.assertEqual((quantized.MOST, quantized.LEVELS, quantized.FOR_HEAD), (rounding.MOST, rounding.LEVELS, quantize.ALIAS))

    @torch.no_grad()
    def test_heads_read_maps_with_scales_of_their_own(self):
        model, scales = self.rounding(), self.scales
        read = []
        model.model[-1].register_forward_pre_hook(lambda module, inputs: read.extend(inputs[0]))
        model(torch.rand(1, 3, 96, 160))
        own = [f"model.{layer}/cv3/Mul" for layer in model.model[-1].f]
        for value, name in zip(read, own, strict=True):
            scale, zero = scales.get(name + quantized.FOR_HEAD, scales[name])
            levels = value / scale + zero
            torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
        self.assertEqual(sum(name + quantized.FOR_HEAD in scales for name in own), 2)

    @torch.no_grad()
    def test_a_head_reads_what_onnx_runtime_rounds_for_it_and_not_what_was_rounded_for_others(self):
        model, scales = self.rounding(), self.scales
        detect, read = model.model[-1], []
        detect.register_forward_pre_hook(lambda module, inputs: read.extend(inputs[0]))
        own = [f"model.{layer}/cv3/Mul" for layer in detect.f]
        given = []
        with unittest.mock.patch.object(quantized, "stored_weights", lambda weights: weights):
            for name in own:  # runs each layer before the heads on what ONNX Runtime gives it
                owner = name.removesuffix("/Mul")
                reads = next(node.input[0] for node in self.convolutions if node.output[0] == f"{owner}/Conv")
                given.append(dict(model.named_modules())[owner.replace("/", ".")](self.values[reads]))
            detect(given)
        for value, name in zip(read, own, strict=True):
            stored = name + quantized.FOR_HEAD if name + quantized.FOR_HEAD in scales else name
            self.assert_same_levels(value, self.values[f"{stored}.quantized"], scales[stored][0], stored)

    def test_gradients_pass_what_is_rounded_and_stop_at_what_is_clipped(self):
        value = torch.tensor([-1.0, 0.2, 0.31, 100.0], requires_grad=True)
        scale, zero = torch.tensor(0.1), torch.tensor(3.0)
        stored = quantized.stored_map(value, scale, zero)
        torch.testing.assert_close(stored.detach(), torch.fake_quantize_per_tensor_affine(value.detach(), 0.1, 3, 0, 255))
        stored.sum().backward()
        self.assertEqual(value.grad.tolist(), [0, 1, 1, 0])

    def test_a_checkpoint_is_the_network_without_its_rounding(self):
        image, model = torch.rand(1, 3, 96, 160), self.rounding()
        sum(m.sum() for m in model.train()(image)).backward()
        with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "last.pt"
            torch.save({"model": checkpoint.plain(model)}, file)
            again = torch.load(file, weights_only=False)["model"].eval()
            torch.testing.assert_close(again(image)[0], self.model(image)[0])
            quantized.attach(again, self.file)
            self.assertFalse(torch.equal(again(image)[0], self.model(image)[0]))

    def test_another_network_is_refused(self):
        with self.assertRaisesRegex(SystemExit, "8-bit form of this network"):
            quantized.attach(Model(pathlib.Path(yolov5.__file__).parent / "models" / "yolov5s.yaml", ch=3, nc=2), self.file)


class Averaging(unittest.TestCase):
    def test_every_number_is_the_mean_and_other_networks_are_refused(self):
        folder = pathlib.Path(yolov5.__file__).parent / "models"
        first, second, third = (Model(folder / "yolov5n.yaml", ch=3, nc=2) for _ in range(3))
        weights = [model.model[0].conv.weight.clone() for model in (first, second, third)]
        mean = average.average([first, second, third])
        torch.testing.assert_close(mean.model[0].conv.weight, sum(weights) / 3)
        with self.assertRaises(SystemExit):
            average.average([first, Model(folder / "yolov5n.yaml", ch=3, nc=3)])


class Halving(unittest.TestCase):
    def test_half_precision_on_disk_finds_the_same_eyes(self):
        root = pathlib.Path(__file__).parents[2]
        (built_in,) = (root / "model-import" / "weights").glob("*.onnx")
        model = onnx.load(built_in)
        halve.halve(model)
        onnx.checker.check_model(model)
        self.assertLess(len(model.SerializeToString()), 0.55 * built_in.stat().st_size)
        with tempfile.TemporaryDirectory() as folder:
            onnx.save(model, f"{folder}/half.onnx")
            full, half = detector.Onnx(built_in), detector.Onnx(f"{folder}/half.onnx")
            for name in ("open", "closed"):
                picture = cv2.imread(str(root / "function" / "samples" / f"{name}.jpg"))
                (expected, *_), (found, *_) = full.run(picture), half.run(picture)
                np.testing.assert_allclose(found[..., :4], expected[..., :4], rtol=0.01, atol=0.3)  # px of the input
                np.testing.assert_allclose(found[..., 4:], expected[..., 4:], atol=0.02)


class Counting(unittest.TestCase):
    def test_perfect_boxes_score_one_and_a_false_one_costs_precision(self):
        truth = np.array([[0, 10, 10, 50, 40], [1, 100, 10, 150, 40]], float)
        rows = np.array([[10, 10, 50, 40, 0.9, 0], [100, 10, 150, 40, 0.8, 1]], float)
        correct = metrics.match(rows, truth)
        self.assertTrue(correct.all())
        ap = metrics.average_precision(correct, rows[:, 4], rows[:, 5], truth[:, 0])
        np.testing.assert_allclose(ap, 0.995, atol=1e-6)  # YOLOv5's integration tops out here
        surer = np.vstack([rows, [200, 200, 240, 230, 0.95, 0]])
        ap = metrics.average_precision(metrics.match(surer, truth), surer[:, 4], surer[:, 5], truth[:, 0])
        self.assertLess(ap[0, 0], 0.6)
        self.assertAlmostEqual(ap[1, 0], 0.995)

    def test_one_open_eye_makes_the_picture_open(self):
        rows = np.array([[0, 0, 1, 1, 0.9, 1], [0, 0, 1, 1, 0.3, 0]], float)
        self.assertEqual(metrics.verdicts([rows], 0.25)[0], 0)
        self.assertEqual(metrics.verdicts([rows], 0.35)[0], 1)
        self.assertEqual(metrics.verdicts([rows[:0]], 0.35)[0], 2)

    def test_calibration_error_is_the_gap_between_said_and_true(self):
        confidence = np.full(100, 0.85)
        correct = np.arange(100) < 85
        self.assertAlmostEqual(metrics.reliability(confidence, correct)[1], 0.0)
        self.assertAlmostEqual(metrics.reliability(confidence, np.ones(100))[1], 0.15)


if __name__ == "__main__":
    unittest.main()
