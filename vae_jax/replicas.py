"""Runs that are trained in one program: what differs between them, and the folder that holds theirs.

Each replica has a run folder of its own, WORKDIR/NAME, in which every command works as in any other.
"""

import dataclasses
from pathlib import Path

from ml_collections import ConfigDict

from vae_jax.config import resolve
from vae_jax.errors import UserError
from vae_jax.run import Run, open_run

# The fields of train.replicas, and the field of the config that each stands for.
FIELDS = {
    "seed": "seed",
    "kl": "objective.kl",
    "capacity": "objective.capacity",
    "perceptual": "objective.perceptual",
}


@dataclasses.dataclass(frozen=True)
class Group:
    """The runs that one program trains; an ordinary run is a group without replicas."""

    whole: Run
    replicas: tuple[Run, ...]  # each in a folder within that of the whole

    @property
    def runs(self) -> tuple[Run, ...]:
        """What is trained."""
        return self.replicas or (self.whole,)

    @property
    def folders(self) -> tuple[Run, ...]:
        """All that have a config.json."""
        return (self.whole, *self.replicas)


def open_group(workdir: Path, name: str, config: ConfigDict) -> Group:
    """Opens the run or the replicas of a config, which share data, devices and compiled functions; see `open_run`."""
    resolve(config)  # first, so that only what is wrong with a replica is told as such
    replicas = replica_values(config)
    for replica, values in replicas.items():
        try:
            resolve(as_replica(config, values))
        except UserError as error:
            raise UserError(f"train.replicas, {replica}: {error}") from error
    whole = open_run(workdir, name, config)
    return Group(whole, tuple(_replica(whole, *entry) for entry in replicas.items()))


def replica_values(config: ConfigDict) -> dict[str, dict[str, float]]:
    """What each replica has in the place of the config's one value, by the replica's name; empty without replicas.

    UserError where the tuples of train.replicas don't have one value for each replica, or two replicas are the same.
    """
    given = {field: config.train.replicas[field] for field in FIELDS if config.train.replicas[field]}
    for field, values in given.items():
        kind = int if field == "seed" else (int, float)
        wrong = [value for value in values if not isinstance(value, kind) or isinstance(value, bool)]
        if wrong:
            needed = "integers" if field == "seed" else "numbers"
            raise UserError(f"train.replicas.{field} is {tuple(values)}; it must be a tuple of {needed}.")
    if len({len(values) for values in given.values()}) > 1:
        lengths = ", ".join(f"train.replicas.{field} has {len(values)}" for field, values in given.items())
        raise UserError(f"{lengths} values; they must have one for each replica.")
    replicas = {}
    for values in zip(*given.values(), strict=True):
        own = {field: value if field == "seed" else float(value) for field, value in zip(given, values, strict=True)}
        name = ",".join(f"{field}={value}" for field, value in own.items())
        if name in replicas:
            raise UserError(f"train.replicas names {name} twice; replicas must differ.")
        replicas[name] = own
    return replicas


def _replica(whole: Run, name: str, values: dict[str, float]) -> Run:
    config = as_replica(whole.config, values)
    return dataclasses.replace(
        whole,
        workdir=whole.workdir / name,
        name=f"{whole.name}, {name}",
        config=config,
        given=as_replica(whole.given, values),
        order=dataclasses.replace(whole.order, seed=config.seed),
        steps=whole.steps.for_replica(config),
    )


def as_replica(config: ConfigDict, values: dict[str, float]) -> ConfigDict:
    """The config of the ordinary run that a replica is."""
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict({FIELDS[field]: value for field, value in values.items()})
    config.train.replicas.update({field: () for field in config.train.replicas})
    return config
