"""A second road to every sum over trajectories: plain loops over all of them, in Fractions and 40-digit numbers."""

from fractions import Fraction

import mpmath
import numpy as np


def fractions(values):
    array = np.asarray(values, dtype=object)
    return np.array([Fraction(x) for x in array.ravel()] + [None], dtype=object)[:-1].reshape(array.shape)


def trajectories(mdp, policy):
    """Every trajectory as (states, actions, pi, f, r), the last three exact."""
    transitions, rewards, initial = mdp.transitions_exact, mdp.rewards_exact, mdp.initial_exact
    policy = fractions(policy)
    found = []

    def follow(t, states, actions, pi, f, r):
        if t == mdp.horizon:
            found.append((states, actions, pi, f, r))
            return
        s = states[-1]
        for a in range(mdp.n_actions):
            chosen = policy[s, a] if policy.ndim == 2 else policy[t, s, a]
            for after in range(mdp.n_states):
                p = transitions[s, a, after]
                if p > 0:
                    earned = rewards[s, a] if rewards.ndim == 2 else rewards[s, a, after]
                    gain = mdp.discount_exact**t * earned
                    follow(t + 1, (*states, after), (*actions, a), pi * chosen, f * p, r + gain)

    for s in range(mdp.n_states):
        if initial[s] > 0:
            follow(0, (s,), (), Fraction(1), initial[s], Fraction(0))
    return found


def number(x):
    x = Fraction(x)
    return mpmath.mpf(x.numerator) / x.denominator


class BruteForce:
    """The four quantities of a trajectory space by summing over the list."""

    def __init__(self, mdp, policy):
        self.all = trajectories(mdp, policy)
        with mpmath.workdps(40):
            self.terms = [
                (mpmath.log(number(pi)) if pi > 0 else -mpmath.inf, number(pi), number(f), number(r))
                for *_, pi, f, r in self.all
            ]

    def surrogate_and_lifted_return(self, tau, tau_prime):
        with mpmath.workdps(40):
            tau, eta = number(tau), number(Fraction(tau) + Fraction(tau_prime))
            weights, returns = [], []
            for log_pi, _, f, r in self.terms:
                score = 0 if tau == 0 else tau * log_pi
                weights.append(f * mpmath.exp((r + score) / eta))
                returns.append(r)
            total = mpmath.fsum(weights)
            if total == mpmath.inf:
                return mpmath.inf, None
            return eta * mpmath.log(total), mpmath.fdot(weights, returns) / total

    def expected_return(self):
        with mpmath.workdps(40):
            return mpmath.fsum(pi * f * r for _, pi, f, r in self.terms)

    def policy_entropy(self):
        with mpmath.workdps(40):
            return mpmath.fsum(-pi * f * log_pi for log_pi, pi, f, _ in self.terms if pi > 0)
