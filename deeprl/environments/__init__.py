"""Gymnasium environments as the algorithms see them: made by name, described by sizes, stepped, saved and restored.

NumPy and gymnasium only: nothing here imports a deep-learning library.
"""

from deeprl.environments.making import make
from deeprl.environments.spaces import Spaces, describe, require
from deeprl.environments.stepping import Environments, Step

__all__ = ["Environments", "Spaces", "Step", "describe", "make", "require"]
