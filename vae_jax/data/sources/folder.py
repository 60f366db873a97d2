"""Any tree of pictures: JPEG, PNG, WebP and BMP files below a folder, whose subfolders are the classes."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from vae_jax.data.files import SPLITS, SUFFIXES, Listing, PictureFiles, list_folder
from vae_jax.errors import UserError
from vae_jax.progress import say

TOP = "."  # what the folder itself is called among its subfolders


def open_splits(config: ConfigDict) -> dict[str, PictureFiles]:
    """The pictures below `config.dir`, split by their paths, so that adding pictures moves none from split to split.

    Where the folders at the top are called train, validation (or val) and test, in any case, they are the splits. Those
    that are not there are drawn from the paths: the share `config.test_fraction` of all pictures is for testing, and
    `config.validation_fraction` of the others for validation. The classes are the folders below that, if there are
    two or more.
    """
    root = Path(config.dir).expanduser()
    if not config.dir or not root.is_dir():
        raise UserError(f"data.dir is {config.dir!r}; for data.source='folder' it must be a folder of pictures.")
    listing = list_folder(root)
    if not listing.stamps:
        found = _counted(listing.passed_over) or "nothing at all"
        raise UserError(f"data.dir is {config.dir!r}, below which no {', '.join(SUFFIXES)} lies, but {found}.")
    given = _given_splits(config.dir, listing)
    splits, folders = {}, {}
    for name in listing.stamps:
        top, _, below = name.partition("/")
        splits[name] = _split(name, SPLITS[top.lower()] if given else "train", given, config)
        folder, slash, _ = (below if given else name).partition("/")
        folders[name] = folder if slash else TOP
    classes = tuple(sorted(set(folders.values())))
    say(_told(splits, classes, listing.passed_over))
    return {
        split: _pictures(listing, [name for name in splits if splits[name] == split], folders, classes)
        for split in dict.fromkeys(SPLITS.values())
    }


def _given_splits(root: str, listing: Listing) -> set[str]:
    """The splits that have a folder at the top; none where these are classes.

    UserError for what lies beside them: taken for classes, the folders would have test pictures trained on.
    """
    tops = Counter(name.partition("/")[0] if "/" in name else TOP for name in listing.stamps)
    found = {SPLITS[top.lower()] for top in tops if top.lower() in SPLITS}
    others = sorted(top for top in tops if top.lower() not in SPLITS)
    if "train" not in found or found == {"train"} and set(others) - {TOP}:
        return set()
    if others:
        count = sum(tops[top] for top in others)
        where = "at the top" if others == [TOP] else f"in {', '.join(top for top in others if top != TOP)}"
        raise UserError(
            f"data.dir is {root!r}, where {_number(count, 'picture')} {where} lie beside the folders "
            f"{', '.join(sorted(tops.keys() - others))}, which are the splits; move them into one of these, or away."
        )
    return found


def _split(name: str, split: str, given: set[str], config: ConfigDict) -> str:
    """The split of a picture that its folder puts into `split`; `given` are those that have folders.

    The others are drawn from the training split, by two numbers in [0, 1) that the path and `data.seed` give.
    """
    digest = hashlib.blake2b(os.fsencode(name), digest_size=16, key=b"%d" % config.seed).digest()
    test, validation = (int.from_bytes(half) / 2**64 for half in (digest[:8], digest[8:]))
    if split == "train" and "test" not in given and test < config.test_fraction:
        return "test"
    if split == "train" and "validation" not in given and validation < config.validation_fraction:
        return "validation"
    return split


def _pictures(listing, names, folders, classes):
    columns = {}
    if len(classes) > 1:
        number = {name: label for label, name in enumerate(classes)}
        columns["label"] = np.array([number[folders[name]] for name in names], np.int32)
    return PictureFiles(listing, names, columns, classes=classes if columns else (), unique=True)


def _told(splits, classes, passed_over):
    sizes = ", ".join(f"{split} {count:,}" for split, count in Counter(splits.values()).most_common())
    text = f"{_number(len(splits), 'picture')} ({sizes})"
    if len(classes) > 1:
        text += f" in {len(classes):,} classes"
        text += f", one of them ({TOP!r}) of the pictures beside their folders" if TOP in classes else ""
    return text + (f"; passed over: {_counted(passed_over)}" if passed_over else "")


def _number(count, noun):
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _counted(passed_over):
    return ", ".join(f"{count:,} {what}" for what, count in passed_over.items())
