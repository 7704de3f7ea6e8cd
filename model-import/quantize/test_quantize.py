"""How integers are chosen: make test-quantize"""

import pathlib
import tempfile
import unittest

import cv2
import numpy as np
import onnx

import correction
import quantize
import rounding

import halve  # training's; quantize finds it

TINY = pathlib.Path(__file__).resolve().parent.parent / "forms" / "accepted" / "master-torch2-simplify.onnx"


def correlated(random, count, width):
    """Inputs that vary together, as the channels of a map do."""
    return random.normal(size=(count, 4)) @ random.normal(size=(4, width)) + 0.3 * random.normal(size=(count, width))


class Rounding(unittest.TestCase):
    def setUp(self):
        self.random = np.random.default_rng(0)
        self.inputs = correlated(self.random, 2000, 64).astype(np.float32)
        self.weights = self.random.normal(size=(16, 64)).astype(np.float32)

    def test_weights_are_rounded_so_that_outputs_move_less_than_by_the_nearest_levels(self):
        levels, scale = rounding.weight_levels(self.weights, self.inputs.T @ self.inputs)
        nearest = np.clip(np.round(self.weights / scale[:, None]), -127, 127)
        fresh = correlated(np.random.default_rng(0), 2000, 64)

        def moved(levels):
            return float((((levels * scale[:, None] - self.weights) @ fresh.T) ** 2).mean())

        self.assertLess(moved(levels), 0.5 * moved(nearest))
        self.assertEqual(levels.dtype, np.int8)
        self.assertLessEqual(int(np.abs(levels).max()), 127)

    def test_a_channel_without_inputs_keeps_its_nearest_levels(self):
        self.inputs[:, 5] = 0
        levels, scale = rounding.weight_levels(self.weights, self.inputs.T @ self.inputs)
        off = np.abs(levels[:, 5] * scale - np.clip(self.weights[:, 5], -127 * scale, 127 * scale))
        self.assertTrue((off <= 1.5 * scale).all())

    def test_a_large_value_that_no_output_depends_on_takes_no_levels(self):
        self.inputs[:, 0] = 50 * np.abs(self.inputs[:, 0])
        high = self.inputs.max()
        used = rounding.map_scale(self.inputs.min(), high, rounding.Layer(self.weights, self.inputs).error)
        self.weights[:, 0] = 0
        unused = rounding.map_scale(self.inputs.min(), high, rounding.Layer(self.weights, self.inputs).error)
        self.assertLess(unused[0], 0.5 * used[0])

    def test_zero_is_always_a_level(self):
        scale, zero = rounding.map_scale(-0.3, 6.0, rounding.Layer(self.weights, np.abs(self.inputs)).error)
        self.assertTrue(0 <= zero <= 255)
        self.assertAlmostEqual(float(scale) * zero, 0.3, delta=float(scale))

    def test_a_shift_of_the_logits_is_taken_out_and_chance_is_not(self):
        shifts = self.random.normal(size=(300, 2)) * 0.4 + [0.15, 0.0]
        found = correction.beyond_chance(shifts)
        self.assertAlmostEqual(found[0], 0.15, delta=0.05)
        self.assertLess(abs(found[1]), 0.4 / np.sqrt(300))
        self.assertTrue((correction.beyond_chance(shifts[:1]) == 0).all(), "one picture says nothing")

    def test_only_cells_that_see_something_count(self):
        output = np.full((1, 2 * 7, 4, 5), -9.0, np.float32)
        output[0, 7 + 4 : 7 + 7, 3, 2] = 2.0  # of the second anchor: objectness and classes
        exact = correction.logits(output, 7)
        rounded = exact + self.random.normal(size=exact.shape)
        cell = (1 * 4 + 3) * 5 + 2
        np.testing.assert_allclose(correction.mean_shift(exact, rounded, 0.5), rounded[cell] - exact[cell])
        self.assertIsNone(correction.mean_shift(exact, rounded, 0.9))

    def test_what_rounding_shifts_on_average_is_gone_from_the_file(self):
        with tempfile.TemporaryDirectory() as folder:
            for i in range(24):
                noise = self.random.integers(0, 256, (8, 16), np.uint8)
                cv2.imwrite(f"{folder}/{i}.png", cv2.resize(noise, (128, 64), interpolation=cv2.INTER_CUBIC))
            files = quantize.pictures(folder, 24)
            graph = quantize.Graph(onnx.load(TINY))
            groups = graph.maps()
            observed = quantize.Observed(graph, files)
            rewritten = quantize.rewritten(graph, observed, groups, quantize.scales(graph, observed, groups))
            for node in rewritten.graph.node:  # as if rounding moved objectness
                if node.output[0] in graph.heads:
                    tensor = next(t for t in rewritten.graph.initializer if t.name == node.input[2])
                    bias = onnx.numpy_helper.to_array(tensor).copy()
                    bias[4 :: graph.values] += 0.2
                    tensor.CopyFrom(onnx.numpy_helper.from_array(bias, tensor.name))
            before = quantize.shifts(graph, rewritten, files)
            after = quantize.shifts(graph, quantize.corrected(graph, rewritten, files), files)
        self.assertEqual(before.keys(), graph.heads)
        for head in before:
            self.assertAlmostEqual(np.mean(before[head], 0)[4], 0.2, delta=0.05)
            # Of every value no more is left than chance explains.
            chance = np.std(after[head], 0) / np.sqrt(len(after[head]))
            self.assertTrue((np.abs(np.mean(after[head], 0)) < 1.1 * chance).all())

    def test_weights_in_half_precision_are_quantized_as_those_that_they_are_cast_to(self):
        model, halved = onnx.load(TINY), onnx.load(TINY)
        kernels = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
        for stored in model.graph.initializer:
            if stored.name in kernels:
                values = onnx.numpy_helper.to_array(stored).astype(np.float16).astype(np.float32)
                stored.CopyFrom(onnx.numpy_helper.from_array(values, stored.name))
        halve.halve(halved)
        with tempfile.TemporaryDirectory() as folder:
            cv2.imwrite(f"{folder}/a.png", self.random.integers(0, 256, (64, 128), np.uint8))
            a, b = (quantize.quantized(form, quantize.pictures(folder, 1)) for form in (model, halved))
        integers = [{t.name: onnx.numpy_helper.to_array(t) for t in form.graph.initializer} for form in (a, b)]
        self.assertEqual(integers[0].keys(), integers[1].keys())
        for name, values in integers[0].items():
            np.testing.assert_array_equal(values, integers[1][name], name)


if __name__ == "__main__":
    unittest.main()
