"""How many steps a run has, and after how many it logs, evaluates and saves."""

from ml_collections import ConfigDict

from vae_jax.errors import UserError
from vae_jax.profiling import profiled_steps

MIN_STEPS_BETWEEN_EVALUATIONS = 100
MAX_STEPS_BETWEEN_LOGS = 100
MIN_LOGS = 10  # of a run: a curve


def fill_in_step_counts(config: ConfigDict, examples: int) -> None:
    """Fills in, in place, the steps that `config` leaves to its defaults, for so many training examples.

    UserError where a count is no multiple of the steps of one call, the learning rate has no time to decay in or is 0
    before the end, no parameter is ever updated, or the profiled steps lie beyond the last.
    """
    train, optimizer = config.train, config.optimizer
    per_call, per_epoch = train.steps_per_call, examples / train.batch_size
    if train.steps is None:
        train.steps = _round_up(train.epochs * per_epoch, per_call)
    if train.eval_every is None:
        train.eval_every = _round_up(max(per_epoch, MIN_STEPS_BETWEEN_EVALUATIONS), per_call)
    if train.checkpoint_every is None:
        train.checkpoint_every = train.eval_every
    if train.log_every is None:
        train.log_every = _round_up(min(per_epoch, MAX_STEPS_BETWEEN_LOGS, train.steps / MIN_LOGS), per_call)
    for field in ("steps", "log_every", "eval_every", "checkpoint_every"):
        if train[field] % per_call:
            raise UserError(
                f"train.{field} is {train[field]}; it must be a multiple of train.steps_per_call ({per_call})."
            )
    updates = train.steps // optimizer.accumulate
    if updates == 0:
        raise UserError(
            f"optimizer.accumulate is {optimizer.accumulate}; it must be at most the {train.steps} steps of the run, "
            "or nothing is learnt."
        )
    if optimizer.schedule == "cosine":
        if optimizer.decay_steps is None:
            optimizer.decay_steps = updates
        if optimizer.decay_steps < updates:
            raise UserError(
                f"optimizer.decay_steps is {optimizer.decay_steps}, after which nothing is learnt; with "
                f"schedule='cosine' it must be at least the {updates} updates of the run."
            )
        if optimizer.decay_steps <= optimizer.warmup_steps:
            raise UserError(
                f"optimizer.decay_steps is {optimizer.decay_steps}; with schedule='cosine' it must be more than "
                f"optimizer.warmup_steps ({optimizer.warmup_steps})."
            )
    if profiled_steps(config.profile).stop > train.steps:
        raise UserError(f"profile is {config.profile!r}; it must end within the {train.steps} steps of the run.")


def _round_up(value: float, multiple: int) -> int:
    return -int(-value // multiple) * multiple
