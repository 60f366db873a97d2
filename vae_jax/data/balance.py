"""How often each training example is drawn: the parts of a mix as stated, groups of people or things equally often."""

import numpy as np
from ml_collections import ConfigDict

from vae_jax.data.mix import PART, read_parts
from vae_jax.data.named import unknown
from vae_jax.data.order import Strata
from vae_jax.data.source import Source
from vae_jax.errors import UserError


def strata(source: Source, config: ConfigDict) -> Strata | None:
    """The groups of a training split and their shares; None where every example is drawn once an epoch.

    The parts of `config.mix` have their proportions, and within each part the groups of `config.balance`, an attribute
    or "label", have equal ones.
    """
    if not config.balance and PART not in source.columns:
        return None
    parts = read_parts(config.mix) if PART in source.columns else []
    proportions = np.array([part.proportion for part in parts] or [1.0])  # [P]
    value, names = _groups(source, config.balance)
    group = source.columns.get(PART, 0) * len(names) + value  # [N], numbered from 0 to P·G − 1
    counts = np.bincount(group, minlength=len(proportions) * len(names)).reshape(len(proportions), len(names))
    for number, name in np.argwhere(counts == 0).tolist():
        where = f" in {parts[number].entry!r} of data.mix" if parts else ""
        raise UserError(
            f"data.balance is {config.balance!r}, but no training example{where} has {names[name]}; groups can be "
            "balanced where none is empty."
        )
    return Strata(group, np.repeat(proportions / proportions.sum() / len(names), len(names)))


def _groups(source: Source, balance: str) -> tuple[np.ndarray, list[str]]:
    """The group of each example [N] by `balance`, and what to call the groups."""
    features = source.features
    if not balance:
        return np.zeros(len(source), np.int64), [""]
    if balance == "label" and "label" in source.columns:
        return source.columns["label"].astype(np.int64), [f"the label {name!r}" for name in features.classes]
    if balance in features.attributes:
        column = source.columns["attributes"][:, features.attributes.index(balance)]
        return column.astype(np.int64), [f"{balance}=0", f"{balance}=1"]
    raise unknown("data.balance", balance, source)
