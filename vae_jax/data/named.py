"""Attributes and classes asked for by name: the columns of a batch that a model is given, or has to tell."""

import dataclasses
import difflib
import math
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from vae_jax.data.source import Source, rows
from vae_jax.errors import UserError

LABEL, ATTRIBUTES = "label", "attributes"  # names of the data's columns, which stand for all that they hold
CLASS = "label="  # begins the name of one class, as label=7
FIELDS = {"cond": "model.cond", "target": "model.target"}  # columns of a batch, and what names their entries


class WithNamed:
    """The examples of `source` with more `columns`, {name: [N, n]}."""

    def __init__(self, source: Source, columns: dict[str, np.ndarray]):
        self.features, self.provenance = source.features, source.provenance
        self._source, self._added = source, columns

    @property
    def columns(self) -> dict[str, np.ndarray]:
        return self._source.columns | self._added

    def __len__(self) -> int:
        return len(self._source)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return self._source.read(indices) | rows(self._added, indices)

    def names(self, indices: np.ndarray) -> list[str]:
        return self._source.names(indices)


@dataclasses.dataclass(frozen=True)
class Conditions:
    """The different conditions [M, n] of the training examples, 0 or 1, and how many examples have each [M]."""

    values: np.ndarray
    counts: np.ndarray

    def as_lists(self) -> dict[str, list]:
        """The same for a file of JSON."""
        return {"values": np.asarray(self.values).tolist(), "counts": np.asarray(self.counts).tolist()}

    def at(self, uniform: np.ndarray) -> np.ndarray:
        """The conditions [N, n] that numbers in [0, 1) pick, each as often as in the training split."""
        ends = np.cumsum(self.counts) / np.sum(self.counts)
        return np.asarray(self.values, np.float32)[np.searchsorted(ends, uniform, side="right")]

    @property
    def most_frequent(self) -> np.ndarray:
        """The condition [n] that most training examples have."""
        return np.asarray(self.values, np.float32)[np.argmax(self.counts)]


def conditions_of(source: Source) -> Conditions | None:
    """What `source` has in its column "cond"; None where it has none."""
    if "cond" not in source.columns:
        return None
    return Conditions(*np.unique(source.columns["cond"], axis=0, return_counts=True))


def with_named(splits: dict[str, Source], model: ConfigDict) -> dict[str, Source]:
    """The splits with the columns "cond" and "target", uint8 [N, n] of 0 and 1, where `model` names entries of them.

    In `model`, names that stand for several are replaced by these: "attributes" by all, "label" by its classes as
    "label=0". UserError for a name that the data don't have.
    """
    for column, field in FIELDS.items():
        names = _expanded(splits["train"], model[column], field)
        if not names:
            continue
        model[column] = names
        splits = {split: WithNamed(source, {column: named_columns(source, names)}) for split, source in splits.items()}
    return splits


def check_condition(field: str, value: Sequence[float], names: Sequence[str]) -> None:
    """Raises UserError unless `value` is () or has one number for each of the condition's `names`.

    Of classes it is from 0 to 1; of attributes it may go further than any example has it.
    """
    classes = exclusive(names)
    numbers = all(
        isinstance(entry, int | float) and (0 <= entry <= 1 if classes else math.isfinite(entry)) for entry in value
    )
    if value and not (names and numbers and len(value) == len(names)):
        each = f"one number{' from 0 to 1' if classes else ''} for each of {', '.join(names)}"
        told = each if names else "(), as the model is told no conditions"
        raise UserError(f"{field} is {tuple(value)}; it must be {told}.")


def in_words(cond: Sequence[float], names: Sequence[str]) -> str:
    """A condition [n] for people: "Smiling = 1, Male = 0"; of classes, the one that it is."""
    held = [name for name, value in zip(names, cond, strict=True) if value]
    if exclusive(names) and list(cond).count(1) == len(held) == 1:
        return held[0]
    return ", ".join(f"{name} = {value:g}" for name, value in zip(names, cond, strict=True))


def exclusive(names: Sequence[str]) -> bool:
    """Whether exactly one of `names` holds of an example: they are classes and not attributes."""
    return all(name.startswith(CLASS) for name in names)


def unknown(field: str, value: object, source: Source) -> UserError:
    """What is said of a name `value` that is neither an attribute of the data nor "label"."""
    allowed = "'label' or an attribute" if LABEL in source.columns else "an attribute"
    known = [*([LABEL] if LABEL in source.columns else []), *source.features.attributes]
    near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"these data have {', '.join(known) or 'none'}."
    return UserError(f"{field} is {value!r}; it must be {allowed}: {hint}")


def _expanded(source: Source, names: Sequence[str], field: str) -> tuple[str, ...]:
    features, found = source.features, []
    classes = _classes(source)
    for name in names:
        if name == LABEL and classes:
            found += classes
        elif name == ATTRIBUTES and features.attributes:
            found += features.attributes
        elif name in (*classes, *features.attributes):
            found.append(name)
        else:
            raise unknown(field, name, source)
    if len(set(found)) < len(found):
        raise UserError(f"{field} is {tuple(names)}, which names something twice; each may stand there once.")
    if set(classes) & set(found) and not set(classes) <= set(found):
        raise UserError(f"{field} is {tuple(names)}, which names some classes; 'label' stands for all of them.")
    return tuple(found)


def named_columns(source: Source, names: Sequence[str]) -> np.ndarray:
    """What `source` says of each of `names`, classes as "label=7" and attributes: uint8 [N, n] of 0 and 1."""
    return np.stack([_column(source, name) for name in names], axis=1)


def known_names(source: Source) -> tuple[str, ...]:
    """The names that `named_columns` knows of."""
    attributes = source.features.attributes if ATTRIBUTES in source.columns else ()
    return (*_classes(source), *attributes)


def _classes(source: Source) -> list[str]:
    return [CLASS + name for name in source.features.classes] if LABEL in source.columns else []


def _column(source: Source, name: str) -> np.ndarray:
    """1 where the example is of that class or has that attribute, else 0: uint8 [N]."""
    if name.startswith(CLASS):
        number = source.features.classes.index(name.removeprefix(CLASS))
        return (source.columns[LABEL] == number).astype(np.uint8)
    return source.columns[ATTRIBUTES][:, source.features.attributes.index(name)].astype(np.uint8)
