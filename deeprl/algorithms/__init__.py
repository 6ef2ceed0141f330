"""The algorithms by their names on the command line."""

from deeprl.algorithms.base import Algorithm
from deeprl.algorithms.ddpg import DDPG
from deeprl.algorithms.ecac import ECAC
from deeprl.algorithms.sac import SAC, SACScore
from deeprl.algorithms.td3 import TD3

ALGORITHMS: dict[str, type[Algorithm]] = {"sac": SAC, "sac-score": SACScore, "td3": TD3, "ddpg": DDPG, "ecac": ECAC}

__all__ = ["ALGORITHMS", "DDPG", "ECAC", "SAC", "TD3", "Algorithm", "SACScore"]
