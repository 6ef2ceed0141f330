"""Where models come from: bandits, trees, walks, Garnet, and the tables of gymnasium's toy-text environments.

Every function returns a validated `FiniteMDP`; every random draw has an explicit integer seed; numbers given as
rationals stay exact.
"""

from exactrl.sources.bandits_and_trees import bandit, tree
from exactrl.sources.garnet import garnet
from exactrl.sources.toy_text import toy_text
from exactrl.sources.walks import chain, grid, river_swim

__all__ = ["bandit", "chain", "garnet", "grid", "river_swim", "toy_text", "tree"]
