"""What a batch takes from a source: images, their columns, and ids that come from the content of the images."""

import zlib

import numpy as np

from vae_jax.data.source import Source

CHUNK = 4096  # examples read at once by `read_all`
DTYPES = {"label": np.int32, "attributes": np.uint8, "identity": np.int32, "example_id": np.uint32}  # of a batch


def example_ids(images: np.ndarray) -> np.ndarray:
    """The CRC-32 of the bytes of each image [n, ...] as uint32 [n]: the same wherever the image stands in a list."""
    return np.array([zlib.crc32(np.ascontiguousarray(image)) for image in images], np.uint32)


def read_examples(source: Source, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The examples at `indices` [n]: image [n, ...], example_id [n] uint32, and the other columns that there are."""
    read = source.read(indices)
    examples = {name: values.astype(DTYPES.get(name, values.dtype), copy=False) for name, values in read.items()}
    if "example_id" not in read:
        examples["example_id"] = example_ids(read["image"])
    return examples


def fingerprint(source: Source) -> int:
    """A CRC-32 that differs where an image, or the order of the images, does."""
    crc = 0
    for start in range(0, len(source), CHUNK):
        places = np.arange(start, min(start + CHUNK, len(source)))
        known = source.columns.get("example_id")
        ids = example_ids(source.read(places)["image"]) if known is None else known[places]
        crc = zlib.crc32(np.ascontiguousarray(ids, np.uint32), crc)
    return crc


def read_all(source: Source) -> dict[str, np.ndarray]:
    """Every example of `source`, in order, as arrays [N, ...]."""
    arrays = {}
    for start in range(0, len(source), CHUNK):
        part = read_examples(source, np.arange(start, min(start + CHUNK, len(source))))
        for name, values in part.items():
            whole = arrays.setdefault(name, np.empty((len(source), *values.shape[1:]), values.dtype))
            whole[start : start + len(values)] = values
    return arrays
