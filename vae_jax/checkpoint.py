"""Checkpoints by Orbax: the newest, the one before it and the best are kept; a broken one is passed over aloud."""

import dataclasses
import json
import logging
import math
import shutil
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp
from jax.experimental import multihost_utils

from vae_jax import cluster
from vae_jax.errors import UserError, first_line

KEPT = 2
BROKEN, LATER = ".broken", ".later"  # ends the names of checkpoints that are set aside
NONE_YET = "The run has no checkpoint yet; train it first with --config=FILE --workdir=FOLDER."

_policies = ocp.training.preservation_policies


@dataclasses.dataclass(frozen=True)
class Restored:
    """What was read: the tree, and the step of its checkpoint."""

    tree: Any
    step: int


class Checkpoints:
    """The checkpoints under `folder`. Saving goes on in the background; `close` (or `with`) waits for it.

    A checkpoint is written aside and renamed, so a kill at any moment leaves the ones before it whole. It holds the
    leaves of a pytree under their paths, so that reading it needs the same names and shapes, not the same classes,
    and the CRC-32 of each leaf, because the array format notices a file cut short but not a flipped bit.

    Several processes open, save, restore and close together. Each writes and reads what its devices hold; the first
    alone renames.

    `clean` removes what a kill in the middle of a save left. It is for the one who saves: in another process, which
    reads the run while it trains, it would remove the save under way.
    """

    def __init__(self, folder: Path, *, say: Callable[[str], None] = print, clean: bool = False):
        # Orbax tells of every file, and asyncio of each of its tasks that met a broken one; what matters is said here.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._say, self._folder = say, folder
        if not clean and not folder.is_dir():
            raise UserError(NONE_YET)
        if cluster.is_first():
            _set_aside_unreadable(folder, say)
        cluster.wait_for_all("unreadable checkpoints set aside")
        self._checkpointer = ocp.training.Checkpointer(
            folder.resolve(),
            preservation_policy=_policies.AnyPreservationPolicy(
                [
                    _policies.LatestN(KEPT),
                    _policies.BestN(
                        get_metric_fn=_held_out_loss, reverse=True, n=1, keep_checkpoints_without_metrics=False
                    ),
                ]
            ),
            save_decision_policy=_always(),
            cleanup_tmp_directories=clean,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in rising order."""
        return sorted(checkpoint.step for checkpoint in self._checkpointer.checkpoints)

    def check_none_lost(self) -> None:
        """Raises UserError where there were checkpoints and none can be read: their run is not begun anew."""
        broken = sorted(path.name for path in self._folder.glob(f"*{BROKEN}"))
        if broken and not self.steps():
            raise UserError(
                f"{self._folder} has no checkpoint that can be read, only {', '.join(broken)}; put one back, or train "
                f"again in another --workdir or after removing {self._folder.parent}."
            )

    def best(self) -> tuple[int, float] | None:
        """The step with the lowest held-out loss, and that loss; None where no checkpoint was evaluated."""
        losses = [
            (_held_out_loss(checkpoint.metrics), checkpoint.step)
            for checkpoint in self._checkpointer.checkpoints
            if checkpoint.metrics
        ]
        return min(losses)[::-1] if losses else None

    def save(self, step: int, tree: Any, *, held_out_loss: float | None = None) -> None:
        """Saves the tree as the checkpoint of `step`, unless there is one; returns before the writing is done."""
        self._checkpointer.wait()
        if step in self.steps():
            return
        evaluated = held_out_loss is not None and math.isfinite(held_out_loss)
        named = named_leaves(tree)
        sums = _checksums(named)
        self._checkpointer.save_async(
            step,
            named,
            metrics=_signed(held_out_loss) if evaluated else None,
            custom_metadata={"crc32": sums},
            force=True,
        )

    def restore(self, abstract: Any, which: str) -> Restored:
        """The tree of the checkpoint `which` ("newest", "best" or a step), with the shardings of `abstract`.

        One that can't be read, or holds another model, is named aloud and the next older one is taken. UserError where
        none is left.
        """
        candidates = self._candidates(which)
        for step in candidates:
            named = {}
            try:
                named = self._load(step, named_leaves(abstract))
            except Exception as error:  # whatever a broken file raises; what it was is said
                self._say(f"checkpoint {step} can't be used: {first_line(error)}")
            if cluster.all_say(bool(named)):
                return Restored(with_leaves(named, abstract), step)
        raise UserError(
            f"None of the checkpoints {', '.join(map(str, candidates))} can be read as this run's model; name another "
            f"with --checkpoint=STEP, or train again in another --workdir."
        )

    def set_aside_after(self, step: int) -> None:
        """Renames the checkpoints of later steps STEP.later, so that training can write those steps again."""
        later = [saved for saved in self.steps() if saved > step]
        if cluster.is_first():
            for saved in later:
                _set_aside(self._folder / str(saved), LATER)
        cluster.wait_for_all("later checkpoints set aside")
        if later:
            self._checkpointer.reload()

    def _load(self, step: int, abstract: dict[str, Any]) -> dict[str, Any]:
        metadata = self._checkpointer.metadata(step)
        sums = (metadata.custom_metadata or {}).get("crc32")
        if sums is None or metadata.metadata is None:
            raise ValueError("its metadata are broken")
        saved = {name: tuple(leaf.shape) for name, leaf in metadata.metadata.items()}
        expected = {name: tuple(leaf.shape) for name, leaf in abstract.items()}
        for name in sorted({*saved, *expected}):
            if saved.get(name) != expected.get(name):
                raise ValueError(
                    f"it is of another model ({name}: {saved.get(name, 'absent')} there, "
                    f"{expected.get(name, 'absent')} here)"
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # coroutines that Orbax leaves behind when a file is broken
            named = self._checkpointer.load(step, abstract)
        for name, found in _checksums(named).items():
            if found != sums[name]:
                raise ValueError(f"{name} is not what was written (checksum)")
        return named

    def close(self) -> None:
        """Waits for the checkpoint being written."""
        self._checkpointer.wait()
        self._checkpointer.close()

    def _candidates(self, which: str) -> list[int]:
        steps = self.steps()
        if not steps:
            self.check_none_lost()
            raise UserError(NONE_YET)
        if which == "newest":
            start = steps[-1]
        elif which == "best":
            best = self.best()
            if best is None:
                raise UserError("--checkpoint=best, but no checkpoint of this run was evaluated; take newest.")
            start = best[0]
        elif which.isdecimal() and int(which) in steps:
            start = int(which)
        else:
            raise UserError(
                f"--checkpoint is {which!r}; it must be newest, best or one of the steps {', '.join(map(str, steps))}."
            )
        return [step for step in reversed(steps) if step <= start]


def _held_out_loss(metrics: dict) -> float:
    return metrics["held_out_loss"]


def _always():
    return ocp.training.save_decision_policies.FixedIntervalPolicy(1)


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves under their paths, as in "variables.params.encoder.convs.0.kernel"."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def with_leaves(named: dict[str, Any], abstract: Any) -> Any:
    """The tree shaped as `abstract` whose leaves have these names."""
    return jax.tree.unflatten(jax.tree.structure(abstract), [named[name] for name in named_leaves(abstract)])


def _checksums(named: dict[str, Any]) -> dict[str, int]:
    """The CRC-32 of each whole leaf, however it is split over devices and processes; of a split one, all fetch it."""
    return {name: zlib.crc32(np.ascontiguousarray(_fetched(leaf)).tobytes()) for name, leaf in named.items()}


def _fetched(leaf: jax.Array) -> np.ndarray:
    if leaf.is_fully_addressable or leaf.is_fully_replicated:
        return jax.device_get(leaf)
    return multihost_utils.process_allgather(leaf, tiled=True)


def _signed(held_out_loss: float) -> dict[str, Any]:
    """The metrics of a checkpoint: the loss, and a checksum of it."""
    return {"held_out_loss": held_out_loss, "crc32": zlib.crc32(repr(held_out_loss).encode())}


def _set_aside_unreadable(folder: Path, say: Callable[[str], None]) -> None:
    """Renames checkpoints whose metadata or metrics are broken, over which Orbax could not even list the others."""
    for step in sorted(folder.glob("*")):
        if not step.name.isdecimal():
            continue
        try:
            ocp.metadata(step)
            metrics = step / "metrics" / "metrics"
            if metrics.exists():
                saved = json.loads(metrics.read_text())
                if saved != _signed(saved["held_out_loss"]):
                    raise ValueError("not what was written")
        except Exception:  # whatever a broken file raises
            if step.exists():  # a run that trains may have removed it meanwhile
                aside = _set_aside(step, BROKEN)
                say(f"checkpoint {step.name} can't be used: its metadata or metrics are broken; it is now {aside.name}")


def _set_aside(step: Path, suffix: str) -> Path:
    aside = step.with_name(step.name + suffix)
    shutil.rmtree(aside, ignore_errors=True)
    return step.rename(aside)
