"""A user's own labels: a column of a CSV file whose first column names the pictures."""

import collections
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_jax.data.source import Source
from vae_jax.errors import UserError

MOST = 50  # values of a column that are groups and no measurements
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class LabelColumn:
    """The n examples of a split that a file has a label for, and the G groups that the labels make."""

    examples: np.ndarray  # [n]: their places in the split
    groups: tuple[str, ...]  # [G], as "age = 30-40"
    within: np.ndarray  # [n, G] uint8 of 0 and 1


def read_column(spec: str, source: Source) -> LabelColumn:
    """The column that `study.groups`, FILE.csv:COLUMN, names, for the examples of `source`.

    A row is of the example whose name (see `Source.names`) stands in it first, with or without the folders of its path.
    UserError for a file that can't be read so, or that knows none of the examples.
    """
    path, _, column = spec.rpartition(":")
    if not path:
        raise UserError(f"study.groups is {spec!r}; it must be FILE.csv:COLUMN, whose first column names the pictures.")
    labels = _read(spec, Path(path).expanduser(), column)
    names = source.names(np.arange(len(source)))
    short = collections.Counter(_last(name) for name in names)
    found = [labels.get(name, labels.get(_last(name)) if short[_last(name)] == 1 else None) for name in names]
    known = np.array([place for place, label in enumerate(found) if label], int)
    if not len(known):
        raise UserError(
            f"study.groups is {spec!r}, whose first column names none of the {len(names):,} test examples, which are "
            f"called as {names[0]!r}."
        )
    values = np.array([found[place] for place in known])
    kinds = np.unique(values)
    if not 1 < len(kinds) <= MOST:
        raise UserError(
            f"study.groups is {spec!r}, a column with {len(kinds):,} different values among the test examples; groups "
            f"are made of 2 to {MOST}."
        )
    groups = tuple(f"{column} = {kind}" for kind in kinds)
    return LabelColumn(known, groups, (values[:, None] == kinds).astype(np.uint8))


def _read(spec: str, path: Path, column: str) -> dict[str, str]:
    """The label of each name; those that are empty are left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"study.groups is {spec!r}, a file that can't be read as a CSV ({error}).") from error
    header = lines[0] if lines else ""
    rows = csv.reader(lines, delimiter=max(DELIMITERS, key=header.count))
    columns = [name.strip() for name in next(rows, [])]
    if column not in columns[1:]:
        there = ", ".join(columns[1:]) or "none"
        raise UserError(f"study.groups is {spec!r}, but the columns that the file has beside the names are {there}.")
    place, labels = columns.index(column, 1), {}
    for row in rows:
        if not row:
            continue
        if len(row) != len(columns):
            raise UserError(
                f"study.groups is {spec!r}, whose line {rows.line_num} has {len(row)} of {len(columns)} values."
            )
        name = row[0].strip()
        if name in labels:
            raise UserError(f"study.groups is {spec!r}, which names {name!r} twice; each picture has one line.")
        labels[name] = row[place].strip()
    return labels


def _last(name: str) -> str:
    return name.rpartition("/")[2]
