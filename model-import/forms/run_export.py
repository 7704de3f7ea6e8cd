"""Runs the export.py of a YOLOv5 checkout as its users do: `run_export.py CHECKOUT default|torchscript|dynamo ARGUMENTS...`.

What newer PyTorch does otherwise by default (loading whole modules, the exporter behind `torch.onnx.export`) is chosen here.
"""

import functools
import os
import runpy
import sys

import torch

checkout, exporter, *arguments = sys.argv[1:]

if torch.__version__.startswith("2."):
    torch.load = functools.partial(torch.load, weights_only=False)
if exporter != "default":
    export = torch.onnx.export

    def forced(*given, **options):
        options["dynamo"] = exporter == "dynamo"
        return export(*given, **options)

    torch.onnx.export = forced

sys.path.insert(0, checkout)
os.chdir(checkout)
sys.argv = ["export.py", *arguments]
runpy.run_path("export.py", run_name="__main__")
