r"""Exact expectations of ECPO's K-sample gradient estimators, as finite sums.

The self-normalised estimator of Lemma 1 depends on its K samples only through how often each trajectory was drawn.  Its
expectation over the $N^K$ tuples is therefore a sum over the $\binom{N+K-1}K$ multisets with multinomial weights:

$$\mathbb E\sum_k\frac{e^{\omega_k}}{\sum_je^{\omega_j}}g(\rho_k)
  =\sum_{|c|=K}\frac{K!}{\prod_ic_i!}\prod_i\bar\pi_i^{c_i}\;\frac{\sum_ic_ie^{\omega_i}g_i}{\sum_ic_ie^{\omega_i}}$$

Shapes: N trajectories, K samples, d parameters, any batch (...) before them.  Generic over number systems.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exactrl.errors import ExactRLError
from exactrl.formulas import expectation, log_boltzmann
from exactrl.formulas.multisets import log_orders
from exactrl.number_systems import A, Namespace, namespace

__all__ = ["MOST_MULTISETS", "expected_weights", "normalised_expectation", "self_normalised_expectation"]

MOST_MULTISETS = 2_000_000
CHUNK = 4096


def self_normalised_expectation(log_reference: A, weights_exponent: A, scores: A, samples: int) -> A:
    r"""$\mathbb E\sum_{k=1}^K\frac{\exp\omega_k}{\sum_j\exp\omega_j}\,g(\rho_k)$ over K i.i.d. samples.

    The samples come from the reference.  With $\omega$ of `lift_weights` and $g=-\nabla_\theta\log\pi_\theta$ it is the
    expectation of Eq. 6.

    Shapes: log_reference, weights_exponent (..., N); scores (..., N, d) -> (..., d).
    Trajectories of probability 0 are never drawn, whatever their exponent and score.
    Raises ExactRLError for shapes that do not fit, K < 1, or more than 2 million multisets.
    Source: ECPO, Lemma 1, Eq. 6.
    """
    xp = namespace(log_reference, weights_exponent, scores)
    scores = xp.asarray(scores)
    if scores.ndim < 2 or scores.shape[-2] != log_reference.shape[-1]:
        raise ExactRLError(
            f"scores have shape {tuple(scores.shape)} and log_reference {tuple(log_reference.shape)}: "
            "expected (..., N, d) and (..., N)"
        )
    weights = expected_weights(log_reference, weights_exponent, samples)
    result: A = xp.sum(xp.weighted(weights[..., None], scores), axis=-2)
    return result


def expected_weights(log_reference: A, weights_exponent: A, samples: int) -> A:
    r"""The expected self-normalised weight of each trajectory: the distribution the estimator really averages over.

    Shapes: log_reference, weights_exponent (..., N) -> (..., N), summing to 1.
    At K = 1 it is the reference, as K grows it tends to the lift.
    Raises ExactRLError for shapes that do not fit, K < 1, or more than 2 million multisets.
    Source: ECPO, Lemma 1, Eq. 6.
    """
    xp = namespace(log_reference, weights_exponent)
    log_reference, exponent, never = _outcomes(xp, log_reference, weights_exponent)
    drawn = np.flatnonzero(~np.asarray(never).reshape(-1, never.shape[-1]).all(axis=0))
    _refuse_too_many(len(drawn), samples)
    log_counts = xp.log(xp.asarray(np.arange(samples + 1)))
    total: A = xp.asarray(np.zeros(never.shape))
    for counts in _multisets(drawn, never.shape[-1], samples):
        powers = xp.sum(xp.scaled_log(xp.asarray(counts), log_reference[..., None, :]))
        shares = log_boltzmann(log_counts[counts] + exponent[..., None, :], 1)
        probability = xp.exp(log_orders(xp, counts) + powers)
        total = total + xp.sum(xp.weighted(probability[..., None], xp.exp(shares)), axis=-2)
    return total


def normalised_expectation(log_reference: A, weights_exponent: A, scores: A) -> A:
    r"""$\mathbb E\frac1K\sum_k\frac{\exp\omega_k}Z\,g(\rho_k)$ with the normaliser $Z=\mathbb E_{\bar\pi}\exp\omega$.

    It is the same for every K.  Where the reference is positive everywhere it is $\mathbb E_{\bar\pi^*}g$: importance
    sampling is unbiased, self-normalisation is what biases.

    Shapes: log_reference, weights_exponent (..., N); scores (..., N, d) -> (..., d).
    Source: ECPO, App. B, proof of Lemma 1, first line.
    """
    xp = namespace(log_reference, weights_exponent, scores)
    log_reference, exponent, _ = _outcomes(xp, log_reference, weights_exponent)
    log_lifted = log_boltzmann(log_reference + exponent, 1)
    result: A = expectation(log_lifted[..., None, :], xp.moveaxis(xp.asarray(scores), -1, -2))
    return result


def _outcomes(xp: Namespace[Any], log_reference: Any, weights_exponent: Any) -> tuple[Any, Any, Any]:
    """Return both arrays and where the reference is 0; there the exponent, which may be infinite, becomes 0."""
    log_reference, exponent = xp.asarray(log_reference), xp.asarray(weights_exponent)
    if log_reference.ndim == 0 or tuple(log_reference.shape) != tuple(exponent.shape):
        raise ExactRLError(
            f"log_reference has shape {tuple(log_reference.shape)} and weights_exponent {tuple(exponent.shape)}: "
            "expected (..., N) for both"
        )
    never = log_reference == -math.inf
    return log_reference, xp.where(never, 0.0, exponent), never


def _refuse_too_many(outcomes: int, samples: int) -> None:
    if isinstance(samples, bool) or not isinstance(samples, (int, np.integer)) or samples < 1:
        raise ExactRLError(f"samples is {samples!r}: expected at least 1 sample")
    if outcomes == 0:
        raise ExactRLError("log_reference is -inf everywhere: expected a distribution")
    count = math.comb(outcomes + int(samples) - 1, int(samples))
    if count > MOST_MULTISETS:
        raise ExactRLError(
            f"{samples} samples of {outcomes} trajectories make {count} multisets: expected at most {MOST_MULTISETS}; "
            "take fewer samples or a smaller problem"
        )


def _multisets(drawn: NDArray[np.intp], n: int, samples: int) -> Iterator[NDArray[np.int64]]:
    """Yield chunks (C, N) of counts: every way to draw `samples` times from the given trajectories, order forgotten."""
    ways = itertools.combinations_with_replacement(drawn.tolist(), samples)
    while chunk := list(itertools.islice(ways, CHUNK)):
        counts = np.zeros((len(chunk), n), dtype=np.int64)
        np.add.at(counts, (np.arange(len(chunk))[:, None], np.array(chunk)), 1)
        yield counts
