"""How a policy does on environments of its own, with the same initial states at every evaluation; and a film of it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeprl.environments.making import make
from deeprl.environments.spaces import Spaces, describe, name_of
from deeprl.environments.stepping import check_integer
from deeprl.environments.translating import check_observations, check_reward, observation_writer, translation_of_actions
from exactrl.entries import short
from exactrl.errors import ExactRLError

__all__ = ["Act", "Episode", "evaluate", "random_policy", "record_video"]

Act = Callable[[NDArray[np.float32]], ArrayLike]
"""From observations, float32 (1, O), to actions: floats (1, A) in [-1, 1], or integers (1,)."""

# An episode this long is taken for one without end.
LONGEST_EPISODE = 1_000_000


@dataclass(frozen=True, slots=True)
class Episode:
    """One evaluated episode: the seed of its reset, the undiscounted sum of its rewards, and its number of steps."""

    seed: int
    total: float
    length: int


def evaluate(act: Act, env_id: str, *, episodes: int, seed: int, environment: Any = None) -> list[Episode]:
    """Run `episodes` whole episodes of the policy `act`, one after the other.

    Episode j begins with `reset(seed=seed + j)`: whoever passes the same seed again meets the same initial states, so
    that two evaluations differ by the policy alone. Actions are clipped and mapped onto their bounds as in training.
    environment: one that `make(env_id)` returned, to be used again and left open; by default one is made and closed.
    Raises ExactRLError for an environment that is not supported, bad actions, an observation or reward that is not
    finite, and an episode of a million steps.
    """
    check_integer("episodes", episodes, least=1)
    check_integer("seed", seed, least=0)
    env = make(env_id) if environment is None else environment
    try:
        return [_run(act, env, seed + j) for j in range(episodes)]
    finally:
        if environment is None:
            env.close()


def random_policy(spaces: Spaces, generator: np.random.Generator) -> Act:
    """The policy that ignores what it sees: uniform in [-1, 1] in every entry, or uniform over the discrete actions."""

    def act(observations: NDArray[np.float32]) -> ArrayLike:
        n = len(observations)
        if spaces.discrete:
            return generator.integers(spaces.actions, size=n)
        return generator.uniform(-1.0, 1.0, size=(n, spaces.actions)).astype(np.float32)

    return act


def record_video(act: Act, env_id: str, path: str | os.PathLike[str], *, seed: int) -> Episode:
    """Film the episode of `act` that begins with `reset(seed=seed)` and write it to `path`, an .mp4 file.

    The file is written whole or not at all; one that stands there is replaced. Frames are drawn off screen: on Linux
    without a display MUJOCO_GL=egl is assumed where it is not set.
    Raises ExactRLError for a path that does not end in .mp4 or whose folder is missing, where imageio and
    imageio-ffmpeg are not installed, where the environment cannot draw, and as `evaluate` does.
    """
    target = Path(path)
    check_integer("seed", seed, least=0)
    if target.suffix != ".mp4":
        raise ExactRLError(f"cannot write {target}: expected a name that ends in .mp4")
    if target.is_dir():
        raise ExactRLError(f"cannot write {target}: it is a folder, expected the name of a file")
    if not target.parent.is_dir():
        raise ExactRLError(f"cannot write {target}: the folder {target.parent} does not exist; create it first")
    writer = _video_writer()
    temporary = target.with_name(f".{target.stem[:200]}.{os.getpid()}.mp4")
    try:
        with _off_screen():
            episode = _film(act, env_id, temporary, seed, writer)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return episode


def _run(act: Act, env: Any, seed: int, see: Callable[[], None] = lambda: None) -> Episode:
    """One episode; `see` is called after the reset and after every step."""
    to_actions, write, size = translation_of_actions(env, 1), observation_writer(env), describe(env).observation_size
    total, length, ended = 0.0, 0, False

    def place(_: int) -> str:
        return f"{name_of(env)}, evaluated from seed {seed}, after {length} steps"

    observation, _ = env.reset(seed=seed)
    while True:
        rows = np.zeros((1, size), np.float32)
        write(rows[0], observation, place, 0)
        check_observations(rows, place)
        see()
        if ended:
            return Episode(seed, total, length)
        if length == LONGEST_EPISODE:
            raise ExactRLError(f"{place(0)}: the episode has not ended; register it with a limit, max_episode_steps")
        (action,) = to_actions(act(rows))
        observation, reward, terminated, truncated, _ = env.step(action)
        length += 1
        check_reward(float(reward), place, 0)
        total += float(reward)
        ended = bool(terminated) or bool(truncated)


def _film(act: Act, env_id: str, path: Path, seed: int, imageio: Any) -> Episode:
    """One episode, every frame of it appended to the video `path`."""
    env = make(env_id, render_mode="rgb_array")
    try:
        if "rgb_array" not in env.metadata.get("render_modes", ()):
            raise ExactRLError(
                f"{env_id} draws no frames: 'rgb_array' is not among its render modes; it cannot be filmed"
            )
        video = imageio.get_writer(path, format="FFMPEG", fps=env.metadata.get("render_fps", 30), macro_block_size=2)
        # closing: as a context of its own the writer would leave ffmpeg running after an error.
        with contextlib.closing(video):
            return _run(act, env, seed, see=lambda: video.append_data(_frame(env)))
    finally:
        env.close()


def _frame(env: Any) -> NDArray[np.uint8]:
    """The frame (height, width, 3) of the present state."""
    try:
        frame = np.asarray(env.render())
    except Exception as error:  # of a graphics library: there is no telling which
        reason = f"{type(error).__name__}: {error}"
        raise ExactRLError(f"{name_of(env)} cannot be drawn ({reason}); {_remedy(env)}") from error
    if frame.ndim != 3 or frame.dtype != np.uint8:
        raise ExactRLError(f"{name_of(env)} drew {short(frame)}, expected a frame (height, width, 3) of uint8")
    return frame


def _remedy(env: Any) -> str:
    if not hasattr(env.unwrapped, "mujoco_renderer"):
        return "install what drawing it needs"
    return (
        f"MUJOCO_GL is {os.environ.get('MUJOCO_GL', 'not set')}; without a display MuJoCo needs MUJOCO_GL=egl (libEGL, "
        "with a graphics driver or Mesa) or MUJOCO_GL=osmesa (libOSMesa)"
    )


@contextlib.contextmanager
def _off_screen() -> Iterator[None]:
    """On Linux without a display, have MuJoCo draw through EGL unless MUJOCO_GL says otherwise; undone afterwards."""
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform != "linux" or display or os.environ.get("MUJOCO_GL"):
        yield
        return
    os.environ["MUJOCO_GL"] = "egl"
    try:
        yield
    finally:
        del os.environ["MUJOCO_GL"]


def _video_writer() -> Any:
    """The module that writes videos."""
    try:
        import imageio.v2
        import imageio_ffmpeg  # type: ignore[import-untyped]  # noqa: F401  (what imageio writes .mp4 files with)
    except ImportError as error:
        raise ExactRLError(
            f"videos need imageio and imageio-ffmpeg ({error}); run `pip install imageio imageio-ffmpeg`"
        ) from error
    return imageio.v2
