"""An environment from its id, with errors that say which id was meant or what is to be installed."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import re
import sys
from collections.abc import Iterator
from typing import Any

from exactrl.entries import short
from exactrl.errors import ExactRLError

__all__ = ["make"]

_VERSION = re.compile(r"-v(\d+)$")
# MuJoCo says this about gymnasium's own half_cheetah.xml, which no user can change.
_HARMLESS = "settotalmass"


def make(env_id: str, *, render_mode: str | None = None) -> Any:
    """The gymnasium environment registered as `env_id`, for instance "HalfCheetah-v5" or "my_package:MyTask-v0".

    render_mode: as in `gymnasium.make`; "rgb_array" gives frames as arrays (height, width, 3).
    Raises ExactRLError for an id that is not registered, naming those near it, and for an environment whose simulator
    is missing, naming what to install or which version to take instead.
    """
    import gymnasium
    from gymnasium.error import Error

    name = _registered_name(env_id)
    # Not handed on where it is None: an entry point need not know of it.
    keywords: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
    try:
        with _harmless_warning_unsaid(gymnasium.registry[name].entry_point):
            return gymnasium.make(name, **keywords)
    except (ImportError, Error) as error:
        raise ExactRLError(f"environment {name!r} cannot be made: {_reason_and_remedy(name, error)}") from error
    except TypeError as error:
        if "render_mode" not in str(error) or render_mode is None:
            raise
        raise ExactRLError(
            f"environment {name!r} cannot be made with render_mode={render_mode!r}: its entry point does not take "
            "`render_mode`; let it"
        ) from error


def _registered_name(env_id: str) -> str:
    """The id without the module that registers it, which is imported; refused where nothing is registered under it."""
    import gymnasium

    if not isinstance(env_id, str):
        raise ExactRLError(
            f"the environment is {short(env_id)} ({type(env_id).__name__}), "
            "expected the id of one registered with gymnasium, such as 'HalfCheetah-v5'"
        )
    module, colon, name = env_id.rpartition(":")
    if colon:
        try:
            importlib.import_module(module)
        except (ImportError, ValueError) as error:  # ValueError: an empty module name
            raise ExactRLError(
                f"environment {env_id!r}: the module {module!r}, which should register it, cannot be imported "
                f"({error}); install it, or correct what stands before the colon"
            ) from error
    if name not in gymnasium.registry:
        raise ExactRLError(f"environment {env_id!r} is not registered with gymnasium: {_expected(name)}")
    return name


def _expected(name: str) -> str:
    """What to write instead of an id that is not registered."""
    families = _families()
    spellings = {family.casefold(): family for family in families}
    wanted = _VERSION.sub("", name).casefold()
    if wanted in spellings:
        versions = families[spellings[wanted]]
        others = f" (there are {', '.join(versions)})" if len(versions) > 1 else ""
        return f"expected {versions[-1]}{others}"
    near = difflib.get_close_matches(wanted, spellings, n=3, cutoff=0.6)
    if near:
        return f"registered names near it: {', '.join(families[spellings[family]][-1] for family in near)}"
    if "/" in name:
        space = name.partition("/")[0]
        return f"nothing registers {space}/ unless it is imported; write its module and a colon before, 'module:{name}'"
    return "no name is near it; `gymnasium.pprint_registry()` lists those there are"


def _families() -> dict[str, list[str]]:
    """The registered ids by what stands before their version, oldest version first."""
    import gymnasium

    families: dict[str, list[str]] = {}
    for env_id in sorted(gymnasium.registry, key=_version):
        families.setdefault(_VERSION.sub("", env_id), []).append(env_id)
    return families


def _version(env_id: str) -> int:
    match = _VERSION.search(env_id)
    return int(match[1]) if match else -1


def _reason_and_remedy(name: str, error: Exception) -> str:
    """Why gymnasium could not make a registered environment, and what to do about it."""
    newest = _families()[_VERSION.sub("", name)][-1]
    if newest != name:
        return f"{_sentence(error)}; take {newest}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the package {error.name!r} is missing; install it"
    return _sentence(error)


def _sentence(error: Exception) -> str:
    return str(error).strip().rstrip(".")


@contextlib.contextmanager
def _harmless_warning_unsaid(entry_point: Any) -> Iterator[None]:
    """Keep one warning of MuJoCo's, and the log file it writes for it, from appearing; every other is still printed."""
    if "mujoco" not in sys.modules and "mujoco" not in str(entry_point):
        yield
        return
    try:
        import mujoco  # type: ignore[import-untyped]
    except ImportError:  # making the environment says so, in better words
        yield
        return
    before = mujoco.get_mju_user_warning()

    def say(message: str) -> None:
        if _HARMLESS not in message:
            (before or _print_warning)(message)

    mujoco.set_mju_user_warning(say)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def _print_warning(message: str) -> None:
    print(f"WARNING: {message}", file=sys.stderr)
