"""Several sources laid end to end, which training draws from in stated proportions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ml_collections import ConfigDict

from vae_jax.data.source import IDENTITIES, Features, Joined, Source
from vae_jax.errors import UserError

PART = "part"  # the column that numbers the part an example is from


@dataclass(frozen=True)
class Part:
    """One entry of `data.mix`."""

    entry: str
    source: str
    folder: str
    proportion: float


class Mixed(Joined):
    """The examples of all `sources`, one source after the other, with the columns that all of them have.

    Labels are kept where they mean the same classes in all, attributes are those that all have, and nobody is in two
    sources: identities are numbered apart.
    """

    def __init__(self, sources: Sequence[Source]):
        features = [source.features for source in sources]
        classes = features[0].classes if len({each.classes for each in features}) == 1 else ()
        attributes = tuple(name for name in features[0].attributes if all(name in each.attributes for each in features))
        shared = Features(features[0].shape, features[0].dtype, classes, attributes)
        columns = _shared([dict(source.columns) for source in sources], features, shared)
        columns[PART] = np.repeat(np.arange(len(sources), dtype=np.int32), [len(source) for source in sources])
        super().__init__(sources, shared, columns)


def open_mix(config: ConfigDict, open_splits: Callable[[ConfigDict], dict[str, Source]]) -> dict[str, Mixed]:
    """The splits of every part of `config.mix`, opened by `open_splits` and laid end to end."""
    parts = read_parts(config.mix)
    opened = []
    for part in parts:
        own = ConfigDict({**config, "source": part.source, "dir": part.folder, "mix": ()})
        try:
            opened.append(open_splits(own))
        except UserError as error:
            raise UserError(f"data.mix has {part.entry!r}, for which {error}") from error
        first, last = (splits["train"].features for splits in (opened[0], opened[-1]))
        if (first.shape, first.dtype) != (last.shape, last.dtype):
            raise UserError(
                f"data.mix has {parts[0].entry!r} with examples {first.dtype} {first.shape} and {part.entry!r} with "
                f"{last.dtype} {last.shape}; all parts must give the same (data.channels=3 makes grey pictures colour)."
            )
    return {split: Mixed([splits[split] for splits in opened]) for split in opened[0]}


def read_parts(mix: Sequence[str]) -> list[Part]:
    """The entries SOURCE[:DIR]=PROPORTION of `data.mix`."""
    if len(mix) < 2:
        raise UserError(
            f"data.mix is {tuple(mix)!r}; data.source='mix' needs two or more, as ('celeba=0.7', 'folder:~/faces=0.3')."
        )
    parts = [_read_part(entry) for entry in mix]
    named = [(part.source, part.folder) for part in parts]
    for part in parts:
        if named.count((part.source, part.folder)) > 1:
            raise UserError(
                f"data.mix is {tuple(mix)!r}, which names {part.entry.rpartition('=')[0]!r} twice; name it once, with "
                "the sum of its proportions."
            )
    return parts


def _read_part(entry: str) -> Part:
    where, _, proportion = str(entry).rpartition("=")
    source, _, folder = where.partition(":")
    try:
        value = float(proportion)
    except ValueError:
        value = 0.0
    if not (source and 0 < value < float("inf")) or source == "mix":
        raise UserError(
            f"data.mix has the entry {entry!r}; it must be SOURCE=PROPORTION or SOURCE:DIR=PROPORTION, as "
            "'folder:~/faces=0.3', with a source other than 'mix' and a proportion above 0."
        )
    return Part(entry, source, folder, value)


def _shared(columns: list[dict], features: list[Features], shared: Features) -> dict[str, np.ndarray]:
    """The columns that all sources have [N, ...]."""
    names = set.intersection(*map(set, columns))
    if not shared.classes:
        names.discard("label")
    if not shared.attributes:
        names.discard("attributes")
    for number, (own, each) in enumerate(zip(columns, features, strict=True)):
        if "attributes" in names:
            own["attributes"] = own["attributes"][:, [each.attributes.index(name) for name in shared.attributes]]
        if "identity" in names:
            own["identity"] = own["identity"] + number * IDENTITIES
    return {name: np.concatenate([own[name] for own in columns]) for name in sorted(names)}
