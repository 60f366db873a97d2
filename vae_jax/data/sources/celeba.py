"""CelebA (Liu et al., 2015) as it lies on disk: a folder of pictures or the zip itself, and the official lists."""

import os
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from vae_jax.data.celeba_lists import Table, read_table
from vae_jax.data.files import SUFFIXES, Listing, PictureFiles, list_archive, list_folder
from vae_jax.data.source import IDENTITIES, Pictures
from vae_jax.errors import UserError
from vae_jax.progress import say

WHOLE = 202_599  # pictures in all of CelebA
SPLITS = ("train", "validation", "test")  # as list_eval_partition numbers them
PICTURES = "img_align_celeba"
# Below data.dir, where the pictures' folder, the zip or a list may be: torchvision and the official page make some.
FOLDERS = ("", "celeba", "Img", "Anno", "Eval", PICTURES)

HOW_TO_GET_IT = """{where} Three ways to get the faces into a folder DIR:
  1. Kaggle (1.4 GB, with an account): kaggle datasets download -d jessicali9530/celeba-dataset -p DIR --unzip
  2. The official page, https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html: put img_align_celeba.zip (as it is),
     list_attr_celeba.txt, list_eval_partition.txt and identity_CelebA.txt into DIR; or, to fetch the same from there:
     pip install torchvision gdown; python -c "import torchvision; torchvision.datasets.CelebA('DIR', download=True)"
  3. TensorFlow Datasets, in an environment that has tensorflow: python -c "import tensorflow_datasets as tfds; \
tfds.builder('celeb_a', data_dir='DIR', file_format='array_record').download_and_prepare()"
Then add --config.data.dir=DIR, or name the folder DIR/celeba and export VAE_JAX_DATA=DIR.
2 and 3 fetch from Google Drive, which often answers "Too many users have viewed or downloaded this file recently" and
leaves a web page of a few KB under the name of the zip or a list: delete it and try a day later, or take 1."""


def open_splits(config: ConfigDict) -> dict[str, Pictures]:
    """The official splits, with 40 attributes and identities where their lists are there.

    They lie in `config.dir`; without it, in $VAE_JAX_DATA/celeba, else in a `celeb_a` that tensorflow_datasets has
    prepared. A part of the pictures will do; standard error is told which part.
    """
    root = _root(config.dir)
    listing = _find_pictures(root) if root else None
    if listing:
        return _split(root, listing)
    prepared = Path(config.dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    if (prepared / "celeb_a").is_dir():
        from vae_jax.data.sources import tfds  # takes a second to import, and only this case needs it

        found = ConfigDict({**config, "name": "celeb_a", "dir": str(prepared)})
        return tfds.open_splits(found)
    if config.dir:
        where = f"data.dir is {config.dir!r}, which holds no CelebA, neither as files nor as tfds's celeb_a."
    else:
        where = (
            "data.source is 'celeba', but data.dir is '' and there is no CelebA in $VAE_JAX_DATA/celeba "
            f"(VAE_JAX_DATA is {os.environ.get('VAE_JAX_DATA', '')!r}) nor a prepared {prepared / 'celeb_a'}."
        )
    raise UserError(HOW_TO_GET_IT.format(where=where))


def _root(folder: str) -> Path | None:
    """The folder below which everything lies: `folder`, or what it is in if that is the pictures' own or the zip."""
    if not folder and not os.environ.get("VAE_JAX_DATA"):
        return None
    root = Path(folder or Path(os.environ["VAE_JAX_DATA"], "celeba")).expanduser().absolute()
    while root.name == PICTURES or root.is_file():
        root = root.parent
    return root if root.is_dir() else None


def _find_pictures(root: Path) -> Listing | None:
    for folder in FOLDERS:
        unpacked, archive = root / folder / PICTURES, root / folder / f"{PICTURES}.zip"
        if unpacked.is_dir() and (listing := list_folder(unpacked)).stamps:
            return listing
        if archive.is_file():
            return list_archive(archive)
    if any(path.suffix.lower() in SUFFIXES for path in root.iterdir()):
        return list_folder(root)
    return None


def _find_table(root: Path, name: str, *, allowed: range, width: int | None) -> Table | None:
    """The list `name` in its text or CSV form, if it is there."""
    for folder in FOLDERS:
        for path in (root / folder / f"{name}.txt", root / folder / f"{name}.csv"):
            if path.is_file():
                return read_table(path, allowed=allowed, width=width)
    return None


def _split(root: Path, listing: Listing) -> dict[str, PictureFiles]:
    partition = _find_table(root, "list_eval_partition", allowed=range(3), width=1)
    if partition is None:
        raise UserError(
            f"data.dir: {root} has pictures but no list_eval_partition.txt (or .csv), which says which of them are for "
            "training; it comes with them, from Kaggle or https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html."
        )
    attributes = _find_table(root, "list_attr_celeba", allowed=range(-1, 2), width=None)
    identity = _find_table(root, "identity_CelebA", allowed=range(IDENTITIES), width=1)
    tables = [table for table in (partition, attributes, identity) if table]
    named = {Path(name).stem: name for name in listing.stamps}
    stems = sorted(stem for stem in named if all(stem in table.rows for table in tables))
    if not stems:
        files = ", ".join(table.path.name for table in tables)
        raise UserError(f"data.dir: none of the {len(named):,} pictures below {root} stands in its lists ({files}).")
    columns = {}
    if attributes:
        columns["attributes"] = (attributes.of(stems) == 1).astype(np.uint8)  # from 1 and -1, or from 1 and 0
    if identity:
        columns["identity"] = identity.of(stems)[:, 0]
    split_of, names = partition.of(stems)[:, 0], [named[stem] for stem in stems]
    splits = {}
    for number, split in enumerate(SPLITS):
        rows = np.flatnonzero(split_of == number)
        if len(rows):
            splits[split] = PictureFiles(
                listing,
                [names[row] for row in rows],
                {name: values[rows] for name, values in columns.items()},
                attributes=attributes.columns if attributes else (),
            )
    _say_what_is_missing(partition, named, splits)
    return splits


def _say_what_is_missing(partition: Table, named: dict[str, str], splits: dict[str, PictureFiles]) -> None:
    count = sum(map(len, splits.values()))
    unlisted, unpictured = len(named) - count, sum(stem not in named for stem in partition.rows)
    if count < WHOLE or unlisted:
        sizes = ", ".join(f"{split} {len(pictures):,}" for split, pictures in splits.items())
        said = [f"CelebA: {count:,} of {WHOLE:,} pictures ({sizes})"]
        if unlisted:
            said.append(f"{unlisted:,} more pictures are left out, which lack an entry in a list")
        if unpictured:
            said.append(f"{unpictured:,} entries of {partition.path.name} have no picture")
        if lacking := [split for split in SPLITS if split not in splits]:
            said.append(
                f"none for {' and '.join(lacking)}, so that a part of the training pictures is set aside for it"
            )
        say("; ".join(said))
