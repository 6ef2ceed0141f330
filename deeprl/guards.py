"""Stop a run that has gone wrong, with its state saved and the cause named, instead of training on in vain."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn

from torch import Tensor

from deeprl import checkpoints
from exactrl.errors import ExactRLError

if TYPE_CHECKING:
    from deeprl.training import Trainer

FAILURE = "failure"


def check_metrics(trainer: Trainer, metrics: dict[str, Tensor]) -> None:
    """Raise ExactRLError if a metric is not finite or a mean Q-value is beyond `q_limit`; the state is saved first."""
    limit = trainer.config.q_limit
    for name, values in metrics.items():
        for member, value in zip(trainer.members, values.tolist(), strict=True):
            if not math.isfinite(value):
                stop(trainer, f"{name} of seed {member.seed} is {value}", "a lower learning_rate, or smaller rewards")
            if name == "q" and abs(value) > limit:
                cause = f"the mean Q-value of seed {member.seed} is {value:.4g}, beyond q_limit {limit:g}"
                advice = "a lower learning_rate or gamma; where rewards are large, a higher q_limit"
                stop(trainer, cause, f"{advice} (this one may be changed in config.json before --resume)")


def stop(trainer: Trainer, cause: str, advice: str) -> NoReturn:
    """Save the state under `failure`, apart from the checkpoints, and raise ExactRLError with the cause."""
    lines = [f"stopped at step {trainer.step}, update {trainer.state.updates}: {cause}"]
    if trainer.out is not None:
        try:
            trainer.checkpoint(FAILURE)
            lines.append(f"the state is saved in {trainer.out / FAILURE}")
        except ExactRLError as error:
            lines.append(f"the state could not be saved ({error})")
        good = checkpoints.newest_first(trainer.out / "checkpoints")
        if good:
            lines.append(f"--resume goes back to {good[0].name} and meets the same again")
    raise ExactRLError("; ".join(lines) + f". What may help: {advice}")
