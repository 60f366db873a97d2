"""MNIST and its kin (Fashion-MNIST, KMNIST) in the idx format of yann.lecun.com, packed by gzip or not."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from vae_jax.data.source import ArraySource
from vae_jax.errors import UserError

FILES = {"train": "train", "test": "t10k"}  # how the names of the files of a split begin
WHERE_TO_GET_IT = "https://storage.googleapis.com/cvdf-datasets/mnist"  # of the Common Visual Data Foundation
UNSIGNED_BYTE = 8  # the idx format's code of the type


def open_splits(config: ConfigDict) -> dict[str, ArraySource]:
    """The splits "train" and "test" in the folder `config.dir`, uint8 [N, H, W, 1] with labels, held in memory."""
    return {split: _read_split(Path(config.dir).expanduser(), prefix) for split, prefix in FILES.items()}


def _read_split(folder, prefix):
    image_file = _find(folder, f"{prefix}-images", "idx3-ubyte")
    label_file = _find(folder, f"{prefix}-labels", "idx1-ubyte")
    images = _read(image_file, dimensions=3)[..., None]  # [N, H, W, 1]
    labels = _read(label_file, dimensions=1)  # [N]
    if len(images) != len(labels):
        raise UserError(
            f"data.dir holds {len(images)} images in {image_file} but {len(labels)} labels in {label_file}; take both "
            "files from the same data set."
        )
    return ArraySource(images, labels, tuple(str(label) for label in range(max(labels.tolist(), default=-1) + 1)))


def _find(folder, stem, kind):
    names = [f"{stem}{mark}{kind}{packed}" for mark in "-." for packed in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"data.dir is {str(folder)!r}, which lacks {names[0]} (or {', '.join(names[1:])}); MNIST's four files are at "
        f"{WHERE_TO_GET_IT}."
    )


def _read(path, *, dimensions):
    """The array in an idx file: two zero bytes, type, number of dimensions, each as a big-endian int32, then data."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"data.dir: {path} can't be read ({error}); fetch the file again.") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, UNSIGNED_BYTE, dimensions]):
        raise UserError(
            f"data.dir: {path} begins with the bytes {content[:4].hex()!r}, not the '000008{dimensions:02x}' of an idx "
            f"file of {dimensions} dimension(s); fetch the file again."
        )
    shape = tuple(np.frombuffer(content, ">i4", dimensions, offset=4).tolist())
    if len(content) - header != math.prod(shape):
        raise UserError(
            f"data.dir: {path} has {len(content) - header} bytes of data where its header says {shape}; fetch the file "
            "again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
