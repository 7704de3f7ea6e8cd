"""Reads a PyTorch checkpoint as data. Nothing that is in the file is executed, and PyTorch is not needed.

A checkpoint is a zip archive of a pickle and of the tensors' bytes (`torch.save` since PyTorch 1.6). A pickle names classes and
functions and says what to call them with; here every name stands for an inert object that remembers what it was given, apart
from the few that make tensors and containers.
"""

import collections
import io
import math
import pickle
import zipfile
from pathlib import Path

import numpy as np

# torch.<name>Storage
STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
    # The upper half of a 32-bit float.
    "BFloat16Storage": np.dtype("<u2"),
}


class CheckpointError(Exception):
    """What is wrong with a checkpoint, in one line that says what helps."""


class Inert:
    """An object of a class that is not here: what it was made of, and its attributes."""

    kind = "object"

    def __init__(self, *arguments, **_):
        self.arguments = arguments

    def __setstate__(self, state):
        # Objects with slots come as a pair.
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update({str(key): value for key, value in part.items()})

    # What a pickle may do with a subclass of a list or a dict.
    def append(self, _):
        pass

    def extend(self, _):
        pass

    def __setitem__(self, _key, _value):
        pass

    @property
    def name(self) -> str:
        return self.kind.rpartition(".")[2]


class Storage:
    """The class of a storage: only its name matters."""

    def __init__(self, name: str):
        self.name = name


def inert_class(module: str, name: str) -> type:
    return type(name, (Inert,), {"kind": f"{module}.{name}"})


def encode(text, _encoding="latin1"):
    """`_codecs.encode`, which Python 2 pickles use for bytes."""
    return text.encode("latin1", "replace") if isinstance(text, str) else b""


def tensor(storage, offset, size, stride, *_):
    """`torch._utils._rebuild_tensor_v2`: a view of a storage."""
    if not isinstance(storage, np.ndarray):
        raise CheckpointError("a tensor has no storage")
    size, stride = [int(n) for n in size], [int(n) for n in stride]
    last = int(offset) + sum((n - 1) * step for n, step in zip(size, stride, strict=True) if n > 0)
    outside = int(offset) < 0 or min([*size, *stride], default=0) < 0 or (all(size) and last >= storage.size)
    # A step of zero makes any size out of one number (YOLOv5's `anchor_grid` after a validation):
    # it is kept once.
    size = [1 if step == 0 and n > 1 else n for n, step in zip(size, stride, strict=True)]
    if outside or math.prod(size) > storage.size:
        raise CheckpointError("a tensor does not lie within its storage")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[int(offset) :], size, strides, writeable=False)


def parameter(data, *_):
    """`torch._utils._rebuild_parameter`."""
    return data


CALLABLE = {
    ("torch._utils", "_rebuild_tensor_v2"): tensor,
    ("torch._utils", "_rebuild_parameter"): parameter,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("_codecs", "encode"): encode,
}


# The implementation in Python: the one in C takes memory for as many remembered objects as the file
# says.
class Reader(pickle._Unpickler):
    def __init__(self, archive: zipfile.ZipFile, file, folder: str):
        super().__init__(file, encoding="latin1")
        self.archive, self.folder, self.storages = archive, folder, {}

    def find_class(self, module: str, name: str):
        if (known := CALLABLE.get((module, name))) is not None:
            return known
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return Storage(name)
        return inert_class(module, name)

    def persistent_load(self, identifier):
        kind, storage, key, *_ = identifier
        name = getattr(storage, "name", None)
        if kind != "storage" or name not in STORAGES:
            raise CheckpointError(f"it holds tensors of the type {name}")
        if key not in self.storages:
            data = np.frombuffer(stored(self.archive, f"{self.folder}/data/{key}"), STORAGES[name])
            if name == "BFloat16Storage":
                data = (data.astype(np.uint32) << 16).view(np.float32)
            self.storages[key] = data
        return self.storages[key]


def stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a part. `torch.save` does not compress, so that no part is larger than the file."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise CheckpointError("its parts are compressed, which torch.save does not do")
    return archive.read(name)


def read(path: Path):
    """What the checkpoint holds: dicts, lists, numbers, text, arrays and `Inert` objects."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; give one as WEIGHTS=path/to/best.pt") from None
    head = content[:64]
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} is a Git LFS pointer; fetch the file itself with `git lfs pull`")
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(f"{path} is a web page; download the file itself, not the page that shows it")
    if head.startswith(b"\x80\x02"):
        raise CheckpointError(
            f"{path} was saved by PyTorch before 1.6, or without a zip archive; load it and save it again with a newer PyTorch"
        )
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise CheckpointError(f"{path} is not a PyTorch checkpoint, or is cut off; copy it again")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if any("/code/" in name for name in archive.namelist()):
                raise CheckpointError(f"{path} is a TorchScript export; give the checkpoint that it was made from")
            if len(pickles) != 1:
                raise CheckpointError(f"{path} is a zip archive, but not one that torch.save wrote")
            folder = pickles[0].rpartition("/")[0]
            order = f"{folder}/byteorder"
            if order in archive.namelist() and stored(archive, order) != b"little":
                raise CheckpointError(f"{path} was saved on a big-endian machine, which is not supported")
            with archive.open(pickles[0]) as file:
                return Reader(archive, file, folder).load()
    except CheckpointError:
        raise
    except Exception as error:  # a broken pickle can raise any error
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise CheckpointError(f"{path} is broken ({reason}); copy it again") from None
