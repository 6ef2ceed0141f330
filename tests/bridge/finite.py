"""Small models on which a training update is exact: tables as linear networks, full batches, finite sums for means.

A critic on the features below is a table: the actions of a box are the corners and middles {-1, 0, 1} of each
coordinate, and between them the features interpolate quadratically.  A Gaussian policy's expectation of a quadratic
takes two noises, -1 and 1.  Discrete policies have probabilities that are multiples of 1/M: M noises, the middles of M
cells, draw each action as often as it is likely.  Every next state stands in as many rows as its probability says.
Shapes: S states, A actions (3^d of a box of d coordinates), C critics, J noises a row.
"""

import itertools

import numpy as np
import torch

from deeprl.networks import Network
from exactrl import FiniteMDP

SLOTS = 4
LOG_TWO_PI = np.log(2 * np.pi)


def quadratic_basis(x):
    """Three numbers for each x, that are 1 at -1, 0 or 1 and 0 at the two others."""
    return (x * x - x) / 2, 1 - x * x, (x * x + x) / 2


def quadratic_slope(x):
    return (2 * x - 1) / 2, -2 * x, (2 * x + 1) / 2


class World:
    """A random model, stochastic, some transitions impossible, some into the end: four equally likely slots a pair."""

    def __init__(self, seed, *, coordinates=1, discrete=False, states=3):
        rng = np.random.default_rng(seed)
        self.coordinates, self.discrete, self.states = coordinates, discrete, states
        self.actions = 3**coordinates
        self.following = rng.integers(0, states + 1, size=(states, self.actions, SLOTS))  # `states` is the end
        self.following[0, 0] = states
        self.following[-1, -1] = 0
        self.earned = rng.integers(-8, 9, size=(states, self.actions, states + 1)) / 4
        self.transitions = np.zeros((states, self.actions, states + 1))
        for s, a, slot in np.ndindex(self.following.shape):
            self.transitions[s, a, self.following[s, a, slot]] += 1 / SLOTS
        self.rewards = (self.transitions * self.earned).sum(axis=-1)
        points = np.eye(self.actions) if discrete else np.array(list(itertools.product((-1, 0, 1), repeat=coordinates)))
        self.points = points.astype(float)

    @property
    def action_size(self):
        return self.actions if self.discrete else self.coordinates

    def mdp(self, gamma, *, rewards=None, alpha=0.0):
        """The same model in exactrl: the end is a state that stays and pays nothing.  rewards: (S, A), for others.

        With a temperature the end takes back the entropy of uniform actions there: it is worth 0 all the same.
        """
        end = np.zeros((1, self.actions, self.states + 1))
        end[..., -1] = 1
        paid = np.concatenate(
            [self.rewards if rewards is None else rewards, np.full((1, self.actions), -alpha * np.log(self.actions))]
        )
        return FiniteMDP(np.concatenate([self.transitions, end]), paid, discount=gamma)

    def backup(self, values, gamma):
        """r(s, a) + gamma E V(s'), (S, A), where nothing follows the end."""
        return self.rewards + gamma * self.transitions[..., :-1] @ values

    def rows(self, copies, seed=0):
        """State, action, slot and noise index of every row of a full batch, in a random order: (4, B)."""
        grid = np.indices((self.states, self.actions, SLOTS, copies)).reshape(4, -1)
        return grid[:, np.random.default_rng(seed).permutation(grid.shape[1])]

    def batch(self, rows, dtype):
        """The full batch of these rows; an ended row has a next observation that must not matter."""
        s, a, slot, _ = rows
        following = self.following[s, a, slot]
        ended = following == self.states
        eye = np.eye(self.states)
        return {
            "observation": tensor(eye[s], dtype)[None],
            "action": tensor(self.points[a], dtype)[None],
            "next_observation": tensor(eye[np.where(ended, self.states - 1, following)], dtype)[None],
            "reward": tensor(self.earned[s, a, following], dtype)[None],
            "terminated": tensor(ended, dtype)[None],
        }

    def features(self, observation, action):
        """One-hot in state and action at the actions of the model."""
        basis = action
        if not self.discrete:
            basis = torch.stack(quadratic_basis(action[..., 0]), dim=-1)
            for k in range(1, self.coordinates):
                further = torch.stack(quadratic_basis(action[..., k]), dim=-1)
                basis = (basis[..., :, None] * further[..., None, :]).flatten(-2)
        return (observation[..., :, None] * basis[..., None, :]).flatten(-2)

    def networks(self, outputs, *, copies=2, actor_scale=1.0, value_scale=1.0):
        """Tables as linear networks: critic (C, S, A), actor (S, outputs), value (S), these two times their scale."""
        size = self.states * self.actions

        def scaled(scale):
            return lambda observation: observation * scale

        return {
            "actor": Network((self.states, outputs), bias=False, features=scaled(actor_scale)),
            "critic": Network((size, 1), copies=copies, bias=False, features=self.features),
            "value": Network((self.states, 1), bias=False, features=scaled(value_scale)),
        }


def tensor(x, dtype):
    return torch.tensor(np.asarray(x, dtype=float), dtype=dtype)


def outer(weights):
    """Products of one weight a coordinate: a list of (S, 3) -> (S, 3^d)."""
    product = weights[0]
    for further in weights[1:]:
        product = (product[:, :, None] * further[:, None, :]).reshape(len(product), -1)
    return product


class Descent:
    """Plain gradient descent on tables."""

    def __init__(self, rate):
        self.rate = rate

    def step(self, name, table, gradient):
        return table - self.rate * gradient


class HandAdam:
    """Adam by its definition (Kingma and Ba, Algorithm 1), a table at a time."""

    def __init__(self, rate, betas=(0.9, 0.999), epsilon=1e-8):
        self.rate, self.betas, self.epsilon, self.kept = rate, betas, epsilon, {}

    def step(self, name, table, gradient):
        first, second, count = self.kept.get(name, (0.0, 0.0, 0))
        one, two = self.betas
        first, second, count = one * first + (1 - one) * gradient, two * second + (1 - two) * gradient**2, count + 1
        self.kept[name] = first, second, count
        mean, square = first / (1 - one**count), second / (1 - two**count)
        return table - self.rate * mean / (np.sqrt(square) + self.epsilon)


class Oracle:
    """An exact update on tables.  A subclass says what is trained, what follows, and gives the gradients."""

    def __init__(self, world, config, tables, *, actor_scale=1.0, value_scale=1.0):
        self.world, self.config, self.updates = world, config, 0
        self.tables = {name: np.array(table, dtype=float) for name, table in tables.items()}
        self.actor_scale, self.value_scale = actor_scale, value_scale
        optimiser = HandAdam if config.optimizer == "adam" else Descent
        self.optimiser = optimiser(config.learning_rate)

    def prepare(self):
        pass

    def gradients(self, **data):
        raise NotImplementedError

    def follow(self):
        self.towards("target_critic", "critic")

    def towards(self, target, source):
        tau = self.config.tau
        self.tables[target] = (1 - tau) * self.tables[target] + tau * self.tables[source]

    def update(self, **data):
        self.prepare()
        gradients = self.gradients(**data)
        for name, gradient in gradients.items():
            self.tables[name] = self.optimiser.step(name, self.tables[name], gradient)
        self.follow()
        self.updates += 1
        return gradients

    def least(self, critics, weights):
        """The smaller critic of each state, (S, A).

        For a minimum to be quadratic, which one it is must not depend on the action: it is asked for at the weights
        given (that may stand for any action), and holds for all when the critics are far apart.
        """
        found = np.einsum("csa,sa->cs", critics, weights).argmin(axis=0)
        return critics[found, np.arange(self.world.states)]


def begin(algorithm, tables):
    """A state of one seed whose networks are the given tables."""
    state = algorithm.initial_state(torch.Generator().manual_seed(0))
    for name, table in tables.items():
        state.parameters[name].flat.copy_(torch.tensor(np.asarray(table, dtype=float).reshape(-1)))
    return state


def distance(state, tables):
    """How far parameters and tables are apart, entry by entry, against the larger of 1 and the largest entry."""
    worst = 0.0
    for name, table in tables.items():
        found = state.parameters[name].flat.double().numpy()
        assert np.isfinite(found).all(), name
        worst = max(worst, np.abs(found - table.reshape(-1)).max() / max(1.0, np.abs(table).max()))
    return worst


MEASURED = {}


def assert_follows(algorithm, oracle, batch, noise, *, steps, where="", **data):
    """Train and compare after every update, to 1e-10 in double and 1e-5 in single precision."""
    state = begin(algorithm, oracle.tables)
    start = {name: table.copy() for name, table in oracle.tables.items()}
    for step in range(steps):
        algorithm.update(state, batch, noise)
        oracle.update(**data)
        apart = distance(state, oracle.tables)
        limit = 1e-10 if algorithm.dtype == torch.float64 else 1e-5
        MEASURED[algorithm.dtype] = max(MEASURED.get(algorithm.dtype, 0.0), apart)
        assert apart <= limit, f"{where} update {step + 1}: {apart:.1e} apart"
    moved = {name: np.abs(table - start[name]).max() for name, table in oracle.tables.items()}
    return state, moved


PRECISIONS = [torch.float64, torch.float32]
