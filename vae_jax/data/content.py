"""What a batch takes from a source: images, labels, and ids that come from the content of the images."""

import zlib

import numpy as np

from vae_jax.data.source import Source

CHUNK = 4096  # examples read at once by `read_all`


def example_ids(images: np.ndarray) -> np.ndarray:
    """The CRC-32 of the bytes of each image [n, ...] as uint32 [n]: the same wherever the image stands in a list."""
    return np.array([zlib.crc32(np.ascontiguousarray(image)) for image in images], np.uint32)


def read_examples(source: Source, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The examples at `indices` [n]: image [n, ...], example_id [n] uint32, and label [n] int32 if there are."""
    read = source.read(indices)
    examples = {"image": read["image"], "example_id": example_ids(read["image"])}
    if "label" in read:
        examples["label"] = read["label"].astype(np.int32)
    return examples


def read_all(source: Source) -> dict[str, np.ndarray]:
    """Every example of `source`, in order, as arrays [N, ...]."""
    arrays = {}
    for start in range(0, len(source), CHUNK):
        part = read_examples(source, np.arange(start, min(start + CHUNK, len(source))))
        for name, values in part.items():
            whole = arrays.setdefault(name, np.empty((len(source), *values.shape[1:]), values.dtype))
            whole[start : start + len(values)] = values
    return arrays
