"""Keeps a model's convolution weights in half precision on disk: half the file, computed in 32 bits all the same.

    python halve.py model.onnx --out smaller.onnx

Every weight gets a Cast back to 32 bits, which runtimes and model-import fold away when they load the file. Biases stay as they are.
"""

import argparse

import numpy as np
import onnx
from onnx import numpy_helper


def halve(model):
    """Rewrites `model` in place; refuses weights that half precision cannot hold."""
    graph = model.graph
    kernels = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    casts = []
    for stored in graph.initializer:
        if stored.name not in kernels or stored.data_type != onnx.TensorProto.FLOAT:
            continue
        name, values = stored.name, numpy_helper.to_array(stored)
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise SystemExit(f"{name} has values beyond half precision's range: keep this model in 32 bits")
        stored.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    if not casts:
        raise SystemExit("no convolution with 32-bit weights in this model: nothing to halve")
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--out", required=True)
    opt = parser.parse_args()
    onnx_model = onnx.load(opt.model)
    halve(onnx_model)
    onnx.checker.check_model(onnx_model)
    onnx.save(onnx_model, opt.out)
