"""What a study looks at: picture files, a folder of them, or examples of the run's splits, fitted as its data were."""

import collections
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from vae_jax.data.content import example_ids, read_examples
from vae_jax.data.files import list_folder
from vae_jax.data.fit import Fit
from vae_jax.data.pictures import BrokenPicture, decode
from vae_jax.data.source import Source
from vae_jax.data.transforms import held_out
from vae_jax.errors import UserError
from vae_jax.studies.align import align_face, check_alignable

MOST = 100  # inputs of a study
EXAMPLES = re.compile(r"(train|validation|test):(.*)")
NUMBERS = re.compile(r"(\d+)(?:-(\d+))?")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Examples as they were fitted, before binarisation and the like (or after it, those of an earlier study)."""

    pixels: np.ndarray  # [B, H, W, C] uint8 or float32 in [0, 1], or vectors [B, D]
    example_id: np.ndarray | None  # [B] uint32; None: the pixels are as the net takes them
    names: tuple[str, ...]  # [B]
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # label [B], ... where known
    notes: tuple[str, ...] = ()  # what was done to them, for people
    warnings: tuple[str, ...] = ()  # what people must know of them
    foreign: bool = False  # whether they are from picture files and not of the run's data
    aligned: bool = False  # whether faces were looked for in them

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def cond(self) -> np.ndarray | None:
        """What a conditional model is told of them, [B, n] float32; None for any other."""
        return self.columns["cond"].astype(np.float32) if "cond" in self.columns else None

    def told(self, cond: Sequence[float]) -> "Inputs":
        """The same inputs, of all of which a conditional model is told `cond` [n]."""
        everyone = np.tile(np.float32(cond), (len(self), 1))
        return dataclasses.replace(self, columns={**self.columns, "cond": everyone})


def read_inputs(
    spec: str, data: ConfigDict, shape: tuple[int, ...], splits: Callable[[], Mapping[str, Source]], *, align: bool
) -> Inputs:
    """The inputs that `--input` names, as examples of `shape`; `data` is the `data` part of the run's config.

    `spec` is "test:17,42" (also "train:", "validation:" and ranges, "test:0-7"), a folder, a picture file or several
    with commas between. `splits` opens the run's data, which only the first form needs. With `align` the largest face
    of each picture is framed as CelebA's are; see `align.align_face`.
    """
    if not spec:
        raise UserError("--input is '', which names nothing; name pictures, a folder or examples, as test:17,42.")
    examples = EXAMPLES.fullmatch(spec)
    if examples:
        if align:
            raise UserError(f"--align=face is for pictures; --input={spec} are the run's own, framed already.")
        split, numbers = examples.groups()
        source = splits()[split]
        return read_split(source, split, _numbers(spec, numbers, len(source), split))
    if len(shape) != 3:
        raise UserError(f"--input is {spec!r}, but this run is on vectors; name examples of it, as test:17,42.")
    if align:
        check_alignable(data)
    fit = _Fitted(data.crop, shape, align)
    path = Path(spec).expanduser()
    if path.is_dir():
        return fit.folder(path)
    files = [path] if path.exists() else [Path(part.strip()).expanduser() for part in spec.split(",")]
    return fit.files(files)


def read_split(source: Source, split: str, indices: np.ndarray) -> Inputs:
    """The examples of a split at `indices` [B]."""
    columns = read_examples(source, indices)
    pixels, ids = columns.pop("image"), columns.pop("example_id")
    return Inputs(pixels, ids, _distinct([f"{split} {i}" for i in indices]), columns)


def as_the_net_takes_them(inputs: Inputs, data: Mapping) -> np.ndarray:
    """The inputs [B, ...] float32: scaled to [0, 1], and where the run's data are binarised, so too, by the same draw.

    Nothing is corrupted, whatever the run was trained on.
    """
    if inputs.example_id is None:
        return inputs.pixels
    batch = {"image": inputs.pixels, "example_id": inputs.example_id, "epoch": np.zeros(len(inputs), np.int32)}
    return np.asarray(jax.jit(lambda batch: held_out(batch, data).clean)(batch), np.float32)


def _distinct(names):
    """The names, numbered where they come again."""
    seen, distinct = collections.Counter(), []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(distinct)


def _numbers(spec, numbers, size, split):
    found = []
    for part in numbers.split(","):
        match = NUMBERS.fullmatch(part.strip())
        if not match:
            raise UserError(f"--input is {spec!r}; write the numbers of examples as {split}:17,42 or {split}:0-7.")
        first, last = int(match[1]), int(match[2] or match[1])
        if max(first, last) >= size:
            raise UserError(f"--input is {spec!r}, but the {split} split has the examples 0 to {size - 1}.")
        found += range(first, last + 1)
    _check_count(spec, len(found))
    return np.array(found)


def _check_count(spec, count):
    if count > MOST:
        raise UserError(f"--input is {spec!r}, which names {count:,} inputs; a study takes up to {MOST}.")
    if not count:
        raise UserError(f"--input is {spec!r}, which names no picture.")


class _Fitted:
    """Picture files as examples of `shape`, and what was done to them in words."""

    def __init__(self, crop: str, shape: tuple[int, ...], align: bool):
        self._crop, self._shape, self._align = crop, shape, align

    def folder(self, path: Path) -> Inputs:
        names = list(list_folder(path).stamps)
        if not names:
            raise UserError(f"--input is {str(path)!r}, a folder without pictures.")
        _check_count(str(path), len(names))
        good, left_out = [], []
        for name in names:
            try:
                good.append((name, self._read(path / name)))
            except UserError as error:
                left_out.append(f"Left out: {error}")
        if not good:
            raise UserError(f"--input is {str(path)!r}, a folder of {len(names)} files of which none is a picture.")
        return self._inputs(good, notes=left_out)

    def files(self, paths: list[Path]) -> Inputs:
        _check_count(", ".join(map(str, paths)), len(paths))
        return self._inputs([(path.name, self._read(path)) for path in paths])

    def _read(self, path):
        try:
            return decode(path.read_bytes())
        except OSError as error:
            raise UserError(f"--input names {str(path)!r}, which can't be read ({error.strerror}).") from error
        except BrokenPicture as error:
            raise UserError(f"--input names {str(path)!r}, which is no picture to be used: {error}.") from error

    def _inputs(self, pictures, notes=()):
        fitted, said = zip(*(self._fit(name, picture) for name, picture in pictures), strict=True)
        pixels = np.stack(fitted)
        names = _distinct([name for name, _ in pictures])
        return Inputs(pixels, example_ids(pixels), names, notes=(*said, *notes), foreign=True, aligned=self._align)

    def _fit(self, name, picture):
        """The picture as an example, and what was done to it."""
        height, width, channels = self._shape
        size = f"{picture.shape[1]}×{picture.shape[0]}"
        how = f"cropped by {self._crop}" if self._crop != "whole" else "taken whole"
        aligned = align_face(picture) if self._align else None
        if self._align:
            how = f"no face found, {how}" if aligned is None else f"the largest face framed as CelebA's, {how}"
            picture = picture if aligned is None else aligned
        try:
            fitted = Fit(self._crop, (height, width), channels)(picture)
        except BrokenPicture:  # the crop is a box of pictures of another size
            fitted = Fit("center", (height, width), channels)(picture)
            how = f"too small for the run's crop {self._crop}, so that its middle was taken"
        return fitted, f"{name}: {size} pixels, {how}, resized to {width}×{height}."
