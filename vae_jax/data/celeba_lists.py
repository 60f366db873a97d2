"""CelebA's lists: a picture's name and some integers a line, in the official text form or as CSV."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_jax.data.files import QUOTA, SUFFIXES, is_web_page
from vae_jax.errors import UserError


@dataclass(frozen=True)
class Table:
    """A list: `rows` gives the row of `values` [N, A] int32 for a picture's name without its suffix."""

    path: Path
    columns: tuple[str, ...]  # the names of the A values; () where the file has none
    rows: dict[str, int]
    values: np.ndarray

    def of(self, pictures: Sequence[str]) -> np.ndarray:
        """The values [n, A] of some pictures."""
        return self.values[[self.rows[picture] for picture in pictures]]


@dataclass(frozen=True)
class Line:
    """A line of a file, counted from 1: its first word and the rest."""

    number: int
    name: str
    rest: str


def read_table(path: Path, *, allowed: range, width: int | None) -> Table:
    """The list in `path`: `width` values a line (None: as many as its line of names), all of them in `allowed`.

    The text form may begin with the number of its entries and a line of names (list_attr_celeba.txt); the CSV form
    begins with a line of names. UserError names the file and the line that is not so.
    """
    lines, expected, columns = _read_lines(path), None, ()
    if lines[0].name.isdigit() and not lines[0].rest:
        expected, columns = int(lines[0].name), tuple(f"{lines[1].name} {lines[1].rest}".split() if lines[1:] else ())
        lines = lines[2:]
    elif not _is_picture(lines[0].name):
        columns, lines = tuple(lines[0].rest.split()), lines[1:]
    if width is None and not columns:
        raise UserError(f"data.dir: {path} doesn't begin with the names of its columns; fetch the file again.")
    if expected not in (None, len(lines)) or not lines:
        raise UserError(
            f"data.dir: {path} lists {len(lines):,} pictures where its first line promises {expected or 'some'}; fetch "
            "the file again."
        )
    values = _values(path, lines, width or len(columns), allowed)
    rows = {}
    for row, line in enumerate(lines):
        if rows.setdefault(line.name.rpartition(".")[0], row) != row:
            raise UserError(f"data.dir: line {line.number} of {path} is about {line.name!r}, which had a line before.")
    return Table(path, columns, rows, values)


def _read_lines(path: Path) -> list[Line]:
    """The lines that are not blank; UserError where there is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"data.dir: {path} can't be read ({error.strerror}).") from error
    if is_web_page(content):
        raise UserError(f"data.dir: {path} is no list but a web page: {QUOTA}.")
    text = content.decode("utf-8-sig", errors="replace").replace(",", " ").replace("\t", " ")
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        name, _, rest = line.strip().partition(" ")
        if name:
            lines.append(Line(number, name, rest.strip()))
    if not lines:
        raise UserError(f"data.dir: {path} is empty; fetch the file again.")
    return lines


def _values(path: Path, lines: list[Line], width: int, allowed: range) -> np.ndarray:
    """The integers of all lines [N, width] int32."""
    try:
        values = np.loadtxt([line.rest or "no value" for line in lines], np.int32, comments=None, ndmin=2)
    except ValueError:
        values = np.empty((0, 0), np.int32)
    good = values.shape == (len(lines), width) and values.min() >= allowed[0] and values.max() <= allowed[-1]
    if not good or not all(_is_picture(line.name) for line in lines):
        line = next(line for line in lines if not _is_entry(line, width, allowed))
        text = f"{line.name} {line.rest}".strip()
        raise UserError(
            f"data.dir: line {line.number} of {path} is {text if len(text) <= 50 else text[:50] + '…'!r}; it must be a "
            f"picture's name and, from {allowed[0]} to {allowed[-1]}, {width} integer{'s' * (width > 1)}."
        )
    return values


def _is_entry(line: Line, width: int, allowed: range) -> bool:
    values = line.rest.split()
    integers = all(re.fullmatch("[+-]?[0-9]+", value) and int(value) in allowed for value in values)
    return _is_picture(line.name) and len(values) == width and integers


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)
