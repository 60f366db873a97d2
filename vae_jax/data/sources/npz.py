"""Arrays of images or vectors in NumPy's own files, .npz or .npy."""

import zipfile
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from vae_jax.data.files import SPLITS
from vae_jax.data.source import ArraySource
from vae_jax.errors import UserError

IMAGES = ("images", "image", "x", "arr_0")  # what an .npz may call them, perhaps with a split: x_test, train_images
LABELS = ("labels", "label", "y")
SUFFIXES = (".npz", ".npy")


class NpySource(ArraySource):
    """The array in an .npy file, mapped into memory; a pickled one is mapped again. float64 is copied as float32."""

    def __init__(self, path: Path):
        super().__init__(_images(path, np.lib.format.open_memmap(path, mode="r")))
        self._path = path

    def __reduce__(self):
        return NpySource, (self._path,)


def open_splits(config: ConfigDict) -> dict[str, ArraySource]:
    """The splits in the file `config.dir`, or in the one file of that folder, or in its train and test files.

    Images are [N, H, W] or [N, H, W, C], uint8 or floats in [0, 1]; vectors [N, D] are floats. An .npz may hold labels,
    and splits by the names of its arrays (as Keras's mnist.npz does); what names no split is "train".
    """
    splits = {}
    for split, path in _files(config.dir).items():
        try:
            found = {split: NpySource(path)} if path.suffix == ".npy" else _read_npz(path, split)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:  # ValueError: of objects, by pickle
            raise UserError(f"data.dir: {path} can't be read as arrays of numbers ({error}).") from error
        except UserError as error:
            raise UserError(f"data.dir: in {path}, {error}") from error
        splits |= found
    if "train" not in splits:
        raise UserError(f"data.dir is {config.dir!r}, which has arrays for {', '.join(splits)} but none for training.")
    return splits


def _files(name: str) -> dict[str, Path]:
    """The file of each split; a single one counts as "train"."""
    path = Path(name).expanduser()
    if name and path.is_file() and path.suffix in SUFFIXES:
        return {"train": path}
    found = sorted(file for file in path.glob("*") if file.suffix in SUFFIXES) if name and path.is_dir() else []
    if len(found) == 1:
        return {"train": found[0]}
    if not found or not all(file.stem in SPLITS for file in found):
        listed = f" ({', '.join(file.name for file in found[:5])})" if found else ""
        raise UserError(
            f"data.dir is {name!r}; it must be an .npz or .npy file, or a folder with one of them or with train and "
            f"test ones, not with {len(found)}{listed}."
        )
    return {SPLITS[file.stem]: file for file in found}


def _read_npz(path: Path, split: str) -> dict[str, ArraySource]:
    if not zipfile.is_zipfile(path):
        raise UserError("there is no whole .npz, which is a zip of arrays.")
    images, labels = {}, {}
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        for name in arrays.files:
            parts = name.lower().split("_")
            where = next((SPLITS[part] for part in parts if part in SPLITS), split)
            what = "_".join(part for part in parts if part not in SPLITS)
            if what in IMAGES:
                images[where] = _images(name, arrays[name])
            elif what in LABELS:
                labels[where] = _labels(name, arrays[name])
        if not images:
            raise UserError(
                f"the arrays are {', '.join(arrays.files)}; images must be called {', '.join(IMAGES[:-1])} or "
                f"{IMAGES[-1]}, where there are splits with their names, as x_train and x_test."
            )
    count = max((values.max(initial=-1) + 1 for values in labels.values()), default=0)
    classes = tuple(map(str, range(count)))
    return {where: ArraySource(images[where], labels.get(where), classes) for where in images}


def _images(name: str | Path, array: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C], or vectors [N, D], of whatever the file has."""
    if array.ndim not in (2, 3, 4):
        raise UserError(f"{name} has the shape {array.shape}; it must be [N, H, W], [N, H, W, C] or [N, D].")
    if 0 in array.shape[1:]:
        raise UserError(f"{name} has the shape {array.shape}, whose images have no pixels.")
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise UserError(
            f"{name} is {array.dtype}; it must be uint8, or floats in [0, 1] (save 0 and 1 as array.astype('float32'))."
        )
    if array.ndim == 4 and array.shape[3] > 4 and array.shape[1] in (1, 3):
        raise UserError(f"{name} has the shape {array.shape}, as [N, C, H, W]; save it with the channels last.")
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32, copy=False)
    return np.asarray(array)[..., None] if array.ndim == 3 else np.asarray(array)


def _labels(name: str, array: np.ndarray) -> np.ndarray:
    if (
        not np.issubdtype(array.dtype, np.integer)
        or array.size != max(array.shape, default=0)
        or array.min(initial=0) < 0
    ):
        raise UserError(f"{name} is {array.dtype} {array.shape}; it must hold one integer, 0 or more, for each image.")
    return array.reshape(-1).astype(np.int32)
