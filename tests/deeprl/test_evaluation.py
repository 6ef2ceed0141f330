"""Evaluation beside a plain gymnasium loop, its fixed seeds, and films that are whole or absent."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium import spaces as gym_spaces  # noqa: E402

from deeprl import evaluation  # noqa: E402
from deeprl.environments import Spaces, make  # noqa: E402
from deeprl.evaluation import Episode, evaluate, random_policy, record_video  # noqa: E402
from exactrl.errors import ExactRLError  # noqa: E402


class Counting(gymnasium.Env[Any, Any]):
    """Observes how many steps there were, ends after five, and draws that number as a shade of grey."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gym_spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gym_spaces.Box(-2.0, 2.0, (1,), np.float32)
    closed = 0

    def __init__(self, render_mode: str | None = None, *, end: int = 5, reward: float = 1.0, frame: Any = None) -> None:
        self.render_mode, self.end, self.reward, self.frame = render_mode, end, reward, frame

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        observation = np.array([np.nan if self.end == 0 else self.steps])
        return observation, self.reward * float(action[0]), self.steps == self.end, False, {}

    def render(self) -> Any:
        if self.frame is not None:
            return self.frame()
        return np.full((64, 80, 3), 40 * self.steps, np.uint8)

    def close(self) -> None:
        Counting.closed += 1


@pytest.fixture
def counting():
    """Register a Counting environment with the given keywords."""
    Counting.closed = 0

    def add(**keywords: Any) -> str:
        gymnasium.registry.pop("Counting-v0", None)

        def entry_point(render_mode: str | None = None) -> Any:
            return Counting(render_mode, **keywords)

        gymnasium.register("Counting-v0", entry_point=entry_point, disable_env_checker=True)
        return "Counting-v0"

    yield add
    gymnasium.registry.pop("Counting-v0", None)


def ahead(observations: np.ndarray) -> np.ndarray:
    """The greatest action in every entry."""
    return np.ones((1, 1), np.float32)


def failing(observations: np.ndarray) -> np.ndarray:
    if observations[0, 0] == 3:
        raise KeyboardInterrupt
    return ahead(observations)


# --- evaluation -------------------------------------------------------------------------------------------------------


def test_a_plain_loop_from_the_same_seeds_gives_the_same_episodes() -> None:
    weights = np.linspace(-1, 1, 33).reshape(11, 3)
    expected = []
    env = make("Hopper-v5")
    for seed in (5, 6, 7):
        observation, _ = env.reset(seed=seed)
        total, length, ended = 0.0, 0, False
        while not ended:
            action = np.tanh(observation.astype(np.float32) @ weights).astype(np.float32)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, length, ended = total + reward, length + 1, terminated or truncated
        expected.append(Episode(seed, float(total), length))

    def act(observations: np.ndarray) -> np.ndarray:
        assert observations.shape == (1, 11)
        assert observations.dtype == np.float32
        return np.tanh(observations @ weights).astype(np.float32)

    assert evaluate(act, "Hopper-v5", episodes=3, seed=5) == expected
    again = make("Hopper-v5")
    for _ in range(2):
        assert evaluate(act, "Hopper-v5", episodes=3, seed=5, environment=again) == expected


def test_discrete_actions_are_integers() -> None:
    (episode,) = evaluate(lambda observations: np.array([0]), "CartPole-v1", episodes=1, seed=0)
    assert episode.total == episode.length
    assert 5 < episode.length < 15  # pushing to one side only


def test_actions_are_mapped_and_rewards_summed(counting: Any) -> None:
    assert evaluate(ahead, counting(), episodes=2, seed=3) == [Episode(3, 10.0, 5), Episode(4, 10.0, 5)]


def test_the_own_environment_is_closed_and_a_given_one_is_left_open(counting: Any) -> None:
    env = make(counting())
    evaluate(ahead, "Counting-v0", episodes=1, seed=0, environment=env)
    assert Counting.closed == 0
    evaluate(ahead, "Counting-v0", episodes=1, seed=0)
    with pytest.raises(KeyboardInterrupt):
        evaluate(failing, "Counting-v0", episodes=1, seed=0)
    assert Counting.closed == 2


def test_random_policies_are_uniform() -> None:
    rng = np.random.default_rng(0)
    continuous = random_policy(Spaces(3, 2, False, -np.ones(2), np.ones(2)), rng)
    actions = np.concatenate([continuous(np.zeros((1, 3), np.float32)) for _ in range(4000)])
    assert actions.shape == (4000, 2)
    # Mean 0 and mean square 1/3, each within five standard errors.
    assert np.all(np.abs(actions.mean(axis=0)) < 5 * np.sqrt(1 / 3 / 4000))
    assert np.all(np.abs((actions**2).mean(axis=0) - 1 / 3) < 5 * np.sqrt((1 / 5 - 1 / 9) / 4000))
    assert np.abs(actions).max() <= 1
    discrete = random_policy(Spaces(3, 3, True), rng)
    counts = Counter(int(discrete(np.zeros((1, 3), np.float32))[0]) for _ in range(3000))
    assert sorted(counts) == [0, 1, 2]
    assert all(abs(count - 1000) < 5 * np.sqrt(3000 * 2 / 9) for count in counts.values())


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (
            {"end": 0},
            "Counting-v0, evaluated from seed 2, after 1 steps: observation[0] is nan, expected a finite float32",
        ),
        (
            {"reward": np.inf},
            "Counting-v0, evaluated from seed 2, after 1 steps: the reward is inf, expected a finite float",
        ),
        ({"end": -1}, "after 9 steps: the episode has not ended; register it with a limit, max_episode_steps"),
    ],
)
def test_episodes_that_cannot_be_judged(keywords: Any, message: str, counting: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(evaluation, "LONGEST_EPISODE", 9)
    with pytest.raises(ExactRLError) as error:
        evaluate(ahead, counting(**keywords), episodes=1, seed=2)
    assert message in str(error.value)


def test_bad_arguments(counting: Any) -> None:
    with pytest.raises(ExactRLError, match=r"^episodes is 0, expected an integer of at least 1$"):
        evaluate(ahead, counting(), episodes=0, seed=0)
    with pytest.raises(ExactRLError, match=r"^seed is -1, expected an integer of at least 0$"):
        evaluate(ahead, "Counting-v0", episodes=1, seed=-1)
    with pytest.raises(ExactRLError, match=r"^Counting-v0: actions\[0, 0\] is nan, expected a finite float"):
        evaluate(lambda observations: [[np.nan]], "Counting-v0", episodes=1, seed=0)


# --- films ------------------------------------------------------------------------------------------------------------


def shades(path: Path) -> list[int]:
    """The mean grey of every frame, in steps."""
    imageio = pytest.importorskip("imageio.v2")
    with imageio.get_reader(path, format="FFMPEG") as film:
        return [round(float(np.mean(frame)) / 40) for frame in film]


def test_a_film_shows_every_state_of_the_episode(counting: Any, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "film.mp4"
    path.write_text("an older one")
    assert record_video(ahead, counting(), path, seed=4) == Episode(4, 10.0, 5)
    assert shades(path) == [0, 1, 2, 3, 4, 5]
    assert os.listdir(tmp_path) == ["film.mp4"]
    assert Counting.closed == 1


def test_an_interrupted_film_leaves_the_old_one_and_nothing_else(counting: Any, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "film.mp4"
    path.write_text("an older one")
    with pytest.raises(KeyboardInterrupt):
        record_video(failing, counting(), path, seed=4)
    assert path.read_text() == "an older one"
    assert os.listdir(tmp_path) == ["film.mp4"]


def test_where_a_film_cannot_go(counting: Any, tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    for name, message in [
        ("film.gif", "expected a name that ends in .mp4"),
        ("missing/film.mp4", f"the folder {tmp_path / 'missing'} does not exist; create it first"),
        ("folder.mp4", "it is a folder, expected the name of a file"),
    ]:
        with pytest.raises(ExactRLError) as error:
            record_video(ahead, "Counting-v0", tmp_path / name, seed=0)
        assert str(error.value) == f"cannot write {tmp_path / name}: {message}"


def test_without_what_writes_films_the_error_says_what_to_install(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ExactRLError, match=r"^videos need imageio and .*; run `pip install imageio imageio-ffmpeg`$"):
        record_video(ahead, "Counting-v0", tmp_path / "film.mp4", seed=0)


def no_screen() -> Any:
    raise OSError("no screen")


def test_what_cannot_be_drawn(counting: Any, tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("imageio_ffmpeg")
    film = tmp_path / "film.mp4"
    with pytest.raises(ExactRLError) as error:
        record_video(ahead, counting(frame=no_screen), film, seed=0)
    assert str(error.value) == "Counting-v0 cannot be drawn (OSError: no screen); install what drawing it needs"
    with pytest.raises(
        ExactRLError, match=r"^Counting-v0 drew array\(7\), expected a frame \(height, width, 3\) of uint8$"
    ):
        record_video(ahead, counting(frame=lambda: 7), film, seed=0)
    monkeypatch.setattr(Counting, "metadata", {"render_modes": ["human"]})
    with pytest.raises(ExactRLError, match=r"^Counting-v0 draws no frames: 'rgb_array' is not among its render modes"):
        record_video(ahead, counting(), film, seed=0)
    assert os.listdir(tmp_path) == []


def test_mujoco_without_a_screen_is_told_of_its_backends(tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("imageio_ffmpeg")
    rendering = pytest.importorskip("gymnasium.envs.mujoco.mujoco_rendering")
    monkeypatch.setattr(rendering.MujocoRenderer, "render", lambda *_: no_screen())
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    with pytest.raises(ExactRLError) as error:
        record_video(lambda observations: np.zeros((1, 1)), "InvertedPendulum-v5", tmp_path / "film.mp4", seed=0)
    assert str(error.value) == (
        "InvertedPendulum-v5 cannot be drawn (OSError: no screen); MUJOCO_GL is osmesa; without a display MuJoCo needs "
        "MUJOCO_GL=egl (libEGL, with a graphics driver or Mesa) or MUJOCO_GL=osmesa (libOSMesa)"
    )


@pytest.mark.parametrize(
    ("platform", "variables", "inside"),
    [
        ("linux", {}, "egl"),
        ("linux", {"MUJOCO_GL": "osmesa"}, "osmesa"),
        ("linux", {"DISPLAY": ":0"}, None),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, None),
        ("darwin", {}, None),
    ],
)
def test_egl_is_assumed_only_where_nothing_else_is_said(
    platform: str, variables: dict[str, str], inside: str | None, monkeypatch: Any
) -> None:
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    with evaluation._off_screen():
        assert os.environ.get("MUJOCO_GL") == inside
    assert os.environ.get("MUJOCO_GL") == variables.get("MUJOCO_GL")
