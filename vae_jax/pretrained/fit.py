"""What of a file fits a model: the values for its parameters, and a table of all that does and does not."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vae_jax.pretrained.mapping import Pair, Tensors

FITS, DIFFERS, TWICE, MISSING, LEFT_OVER = "fits", "DOES NOT FIT", "THERE TWICE", "MISSING", "LEFT OVER"


@dataclasses.dataclass(frozen=True)
class Row:
    """One tensor of the file beside one of our parameters; either may be absent."""

    verdict: str
    theirs: str = ""
    their_shape: tuple[int, ...] | None = None
    ours: str = ""
    our_shape: tuple[int, ...] | None = None

    def __str__(self) -> str:
        theirs = f"{self.theirs} {_sizes(self.their_shape)}" if self.theirs else "nothing in the file"
        ours = f"{self.ours} {_sizes(self.our_shape)}" if self.ours else "no place"
        return f"{theirs} → {ours}"


@dataclasses.dataclass(frozen=True)
class Fit:
    """`values` are float32 arrays for the parameters that the file has, `rows` the table of everything."""

    values: dict[str, np.ndarray]
    rows: tuple[Row, ...]

    @property
    def wrong(self) -> list[Row]:
        return [row for row in self.rows if row.verdict != FITS]

    def table(self) -> str:
        """Every tensor and every parameter, a line each, shapes side by side."""
        lines = [("", "in the file", "shape", "in the model", "shape")]
        for row in self.rows:
            lines.append((row.verdict, row.theirs, _sizes(row.their_shape), row.ours, _sizes(row.our_shape)))
        widths = [max(len(line[i]) for line in lines) for i in range(5)]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )


def fit(pairs: Sequence[Pair], tensors: Tensors, shapes: Mapping[str, tuple[int, ...]], *, unused: set[str]) -> Fit:
    """Pairs the tensors of a file with the parameters of the given `shapes`; `unused` tensors are left out.

    Of two tensors for one parameter only the first is taken, unless the second is what is taken off it.
    """
    values: dict[str, np.ndarray] = {}
    rows, seen, taken = [], set(unused), set()
    for pair in pairs:
        if pair.theirs not in tensors:
            continue
        tensor = tensors[pair.theirs]
        seen.add(pair.theirs)
        value, shape = _arranged(pair, tensor), shapes.get(pair.ours)
        fits, share = value is not None and value.shape == shape, (pair.ours, pair.part.sign)
        verdict = DIFFERS if not fits else TWICE if share in taken else FITS
        rows.append(Row(verdict, pair.theirs, tensor.shape, pair.ours, shape))
        if verdict == FITS:
            values[pair.ours] = values.get(pair.ours, 0) + value
            taken.add(share)
    named = {row.ours for row in rows}
    rows += [Row(MISSING, ours=name, our_shape=shape) for name, shape in shapes.items() if name not in named]
    rows += [Row(LEFT_OVER, name, tensor.shape) for name, tensor in tensors.items() if name not in seen]
    return Fit(values, tuple(rows))


def _arranged(pair: Pair, tensor: np.ndarray) -> np.ndarray | None:
    """The tensor as our parameter; None where it has no such shape at all."""
    try:
        return pair.to_ours(tensor.astype(np.float32))
    except ValueError:  # of transpose and reshape
        return None


def _sizes(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "absent"
    return "×".join(map(str, shape)) or "scalar"
