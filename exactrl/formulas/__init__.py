"""The update rules, each written once and generic over number systems.  Every function cites its paper and equation."""

from exactrl.formulas.divergences import cross_entropy, entropy, expectation, kl, total_variation
from exactrl.formulas.lift import (
    lift_objective,
    lift_objective_with_dynamics,
    lift_weights,
    log_lift,
    shaped_returns,
    surrogate,
    surrogate_gradient,
    total_temperature,
)
from exactrl.formulas.projection import mixture, nearest_forward, nearest_on_segment, nearest_reverse, segment_slope
from exactrl.formulas.schedules import theorem1_regret_bound, theorem1_temperatures
from exactrl.formulas.soft import log_boltzmann, soft_value
from exactrl.formulas.tangents import (
    centred,
    expectation_slope,
    forward_kl_slope,
    reverse_kl_slope,
)
from exactrl.formulas.trajectory import backward_log_partition, log_expected_exp

__all__ = [
    "backward_log_partition",
    "centred",
    "cross_entropy",
    "entropy",
    "expectation",
    "expectation_slope",
    "forward_kl_slope",
    "kl",
    "lift_objective",
    "lift_objective_with_dynamics",
    "lift_weights",
    "log_boltzmann",
    "log_expected_exp",
    "log_lift",
    "mixture",
    "nearest_forward",
    "nearest_on_segment",
    "nearest_reverse",
    "reverse_kl_slope",
    "segment_slope",
    "shaped_returns",
    "soft_value",
    "surrogate",
    "surrogate_gradient",
    "theorem1_regret_bound",
    "theorem1_temperatures",
    "total_temperature",
    "total_variation",
]
