"""The compiled gradients are the ones that the other bridge tests follow: the same tables, the same limits."""

import os

import pytest
import torch

from deeprl.compilation import CompiledGradients
from deeprl.config import DDPGConfig, TD3Config
from tests.bridge import test_ecac as ecac
from tests.bridge import test_sac as sac
from tests.bridge import test_sac_score as score
from tests.bridge import test_td3_ddpg as deterministic
from tests.bridge.finite import PRECISIONS, World, assert_follows


def of_sac(dtype):
    world = World(0)
    return sac.exact_problem(world, sac.settings(world, autotune=True), dtype), {}


def of_sac_score(dtype):
    world = World(0, discrete=True)
    config = score.settings(world)
    return (*score.problem(world, config, dtype), *score.full(world, config, dtype)), {}


def of_td3(dtype):
    world = World(0)
    return deterministic.problem(world, deterministic.settings(TD3Config, world), dtype), {}


def of_ddpg(dtype):
    world = World(0)
    return deterministic.problem(world, deterministic.settings(DDPGConfig, world), dtype), {}


def of_ecac(dtype):
    world = World(0, discrete=True)
    return (*ecac.problem(world, ecac.settings(world), dtype), *ecac.full(world, dtype)), {"own": ecac.OWN}


# A table that moves off its grid after one update is followed for one.
PROBLEMS = {
    "sac": (of_sac, 4),
    "sac-score": (of_sac_score, 1),
    "td3": (of_td3, 4),
    "ddpg": (of_ddpg, 2),
    "ecac": (of_ecac, 4),
}
ALWAYS = ("ecac", torch.float64)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_compiled_update_is_the_exact_one(name, dtype):
    if (name, dtype) != ALWAYS and "EXACTRL_COMPILE" not in os.environ:
        pytest.skip("half a minute of compiling each: set EXACTRL_COMPILE")
    make, steps = PROBLEMS[name]
    (algorithm, oracle, batch, noise), data = make(dtype)
    algorithm.differentiate = CompiledGradients(algorithm)
    assert_follows(algorithm, oracle, batch, noise, steps=steps, where=name, **data)
