"""exactrl: a referee for the theory of policy optimisation, exact on finite problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exactrl.errors import ExactRLError

if TYPE_CHECKING:
    from exactrl.mdp import FiniteMDP
    from exactrl.trajectories import TrajectorySpace

__version__ = "0.1.0"
__all__ = ["ExactRLError", "FiniteMDP", "TrajectorySpace", "__version__"]

_HOMES = {"FiniteMDP": "exactrl.mdp", "TrajectorySpace": "exactrl.trajectories"}


def __getattr__(name: str) -> Any:
    """Import a public class when it is first asked for, so that `import exactrl` stays light."""
    if name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
