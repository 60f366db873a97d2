"""Data sets prepared by TensorFlow Datasets as array_record files, read without TensorFlow."""

import logging
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from vae_jax.data.source import Features
from vae_jax.errors import UserError

SPLITS = ("train", "validation", "test")


def _speaks(record):
    return record.levelno >= logging.ERROR or "tensorflow_datasets" not in record.pathname


# At import, for the worker processes too: it warns of a missing OpenCV, and of folders that we report ourselves.
logging.getLogger("absl").addFilter(_speaks)


class TfdsSource:
    """One split of a prepared data set; images are read and decoded when asked for."""

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str):
        features = dict(builder.info.features)
        image, label = features["image"], features.get("label")
        self._labelled = isinstance(label, tfds.features.ClassLabel)
        self.features = Features(image.shape, np.dtype(image.np_dtype), tuple(label.names) if self._labelled else ())
        self._records = builder.as_data_source(split=split)

    def __len__(self) -> int:
        return len(self._records)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        records = self._records.__getitems__(indices.tolist())
        examples = {"image": np.stack([record["image"] for record in records])}
        if self._labelled:
            examples["label"] = np.array([record["label"] for record in records])
        return examples


def open_splits(config: ConfigDict) -> dict[str, TfdsSource]:
    """The splits that the data set `config.name` has of train, validation and test, below the folder `config.dir`."""
    folder = str(Path(config.dir).expanduser()) if config.dir else None
    try:
        builder = tfds.builder(config.name, data_dir=folder, try_gcs=False)
    except (ValueError, AssertionError) as error:  # an unknown name, config or version
        raise UserError(
            f"data.name is {config.name!r}, which is no data set of tensorflow_datasets; the names stand at "
            "https://www.tensorflow.org/datasets/catalog."
        ) from error
    if not builder.is_prepared():
        raise _unprepared(config)
    image = dict(builder.info.features).get("image")
    if image is None or image.np_dtype != np.uint8:
        raise UserError(f"data.name is {config.name!r}, whose examples have no uint8 'image'; take one that has.")
    if "train" not in builder.info.splits:
        raise UserError(f"data.name is {config.name!r}, which has no split 'train' but {list(builder.info.splits)}.")
    try:
        return {split: TfdsSource(builder, split) for split in SPLITS if split in builder.info.splits}
    except NotImplementedError as error:  # prepared in a file format without random access
        raise _unprepared(config) from error


def _unprepared(config):
    return UserError(
        f"data.dir is {config.dir!r}, which holds no data set {config.name!r} prepared as array_record; run `python -c "
        f"\"import tensorflow_datasets as tfds; tfds.builder('{config.name}', file_format='array_record')"
        '.download_and_prepare()"` in an environment that has tensorflow and point data.dir at the folder it fills '
        "(~/tensorflow_datasets), or read MNIST's own files by data.source='idx'."
    )
