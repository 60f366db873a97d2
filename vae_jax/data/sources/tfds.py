"""Data sets prepared by TensorFlow Datasets as array_record files, read without TensorFlow."""

import functools
import logging
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from vae_jax.errors import UserError

SPLITS = ("train", "validation", "test")
READ = 4096  # records read at once


def _speaks(record):
    return record.levelno >= logging.ERROR or "tensorflow_datasets" not in record.pathname


# At import, for the worker processes too: it warns of a missing OpenCV, and of folders that we report ourselves.
logging.getLogger("absl").addFilter(_speaks)


class TfdsPictures:
    """One split of a prepared data set: the files of its pictures, its "label" and its dict of "attributes"."""

    unique = False  # what is in a published data set stays in it
    dtype = np.dtype(np.uint8)

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str):
        features, info = dict(builder.info.features), builder.info.splits[split]
        label, attributes = features.get("label"), features.get("attributes")
        self.classes = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else ()
        flags = dict(attributes) if isinstance(attributes, tfds.features.FeaturesDict) else {}
        self.attributes = tuple(sorted(name for name, flag in flags.items() if flag.np_dtype == np.bool_))
        self.channels = 1 if features["image"].shape[-1] == 1 else 3
        self.fingerprint = f"{builder.info.full_name} {builder.data_path} {split} {info.num_bytes} {info.shard_lengths}"
        self.place = str(builder.data_path)
        self._split = split
        self._records = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})

    @functools.cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """ "label" [N] and "attributes" [N, A], where there are any; reads the whole split."""
        columns = {}
        if self.classes:
            columns["label"] = np.zeros(len(self), np.int32)
        if self.attributes:
            columns["attributes"] = np.zeros((len(self), len(self.attributes)), np.uint8)
        for start in range(0, len(self) if columns else 0, READ):
            places = range(start, min(start + READ, len(self)))
            for place, record in zip(places, self._records.__getitems__(list(places)), strict=True):
                if self.classes:
                    columns["label"][place] = record["label"]
                if self.attributes:
                    columns["attributes"][place] = [record["attributes"][name] for name in self.attributes]
        return columns

    def __len__(self) -> int:
        return len(self._records)

    def name(self, index: int) -> str:
        return f"{self._split} {index}"

    def load(self, index: int) -> bytes:
        return self._records[index]["image"]


def open_splits(config: ConfigDict) -> dict[str, TfdsPictures]:
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
        return {split: TfdsPictures(builder, split) for split in SPLITS if split in builder.info.splits}
    except NotImplementedError as error:  # prepared in a file format without random access
        raise _unprepared(config) from error


def _unprepared(config):
    return UserError(
        f"data.dir is {config.dir!r}, which holds no data set {config.name!r} prepared as array_record; run `python -c "
        f"\"import tensorflow_datasets as tfds; tfds.builder('{config.name}', file_format='array_record')"
        '.download_and_prepare()"` in an environment that has tensorflow and point data.dir at the folder it fills '
        "(~/tensorflow_datasets), or read MNIST's own files by data.source='idx'."
    )
