"""Environments beside a plain gymnasium loop, restored at any moment, and every environment that is refused."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium import spaces as gym_spaces  # noqa: E402

from deeprl.environments import Environments, Spaces, describe, make, require  # noqa: E402
from exactrl.errors import ExactRLError  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
VECTOR = gym_spaces.Box(-np.inf, np.inf, (2,), np.float64)
UNIT_BOX = gym_spaces.Box(-1.0, 1.0, (2,), np.float32)


class Scripted(gymnasium.Env[Any, Any]):
    """An environment that notes the actions it is given and answers with what it was told to answer."""

    def __init__(self, observation_space: Any = VECTOR, action_space: Any = UNIT_BOX, answers: Any = ()) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.answers, self.seen, self.position = answers, [], 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.position = 0
        return self.first(), {}

    def first(self) -> Any:
        if isinstance(self.observation_space, gym_spaces.Discrete):
            return int(self.observation_space.start)
        return self.np_random.standard_normal(self.observation_space.shape)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.seen.append(action)
        answer = self.answers[self.position % len(self.answers)] if self.answers else (np.zeros(2), 0.0, False, False)
        self.position += 1
        return *answer, {}


class Forgetful(Scripted):
    """Draws its first observation from a generator that nobody can set."""

    hidden = np.random.default_rng(5)

    def first(self) -> Any:
        return self.hidden.standard_normal(2)


@pytest.fixture
def register():
    """Register an environment under an id for the length of one test."""
    registered = []

    def add(entry_point: Any, env_id: str = "Scripted-v0", **keywords: Any) -> str:
        gymnasium.register(env_id, entry_point=entry_point, disable_env_checker=True, **keywords)
        registered.append(env_id)
        return env_id

    yield add
    for env_id in registered:
        gymnasium.registry.pop(env_id, None)


def seen_by(envs: Environments) -> list[Any]:
    return envs._running[0].env.unwrapped.seen


def some_actions(spaces: Spaces, n: int, rng: np.random.Generator) -> np.ndarray:
    """Actions that sometimes lie outside [-1, 1], as those of a Gaussian policy do."""
    if spaces.discrete:
        return rng.integers(spaces.actions, size=n)
    return rng.normal(size=(n, spaces.actions)).astype(np.float32)


def documented_generator(seed: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(0x656E76, index))))


def equal(one: Any, other: Any) -> bool:
    """Whether two steps agree to the last bit."""
    arrays = zip(one[:-1], other[:-1], strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in arrays) and one.episodes == other.episodes


# --- stepping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1", "Hopper-v5", "HalfCheetah-v5", "FrozenLake-v1"])
def test_a_plain_loop_with_the_documented_generator_sees_the_same(env_id: str) -> None:
    envs, rng = Environments(env_id, num_envs=2, seed=7), np.random.default_rng(0)
    plain = [make(env_id) for _ in range(2)]
    discrete = isinstance(plain[0].action_space, gym_spaces.Discrete)
    one_hot = isinstance(plain[0].observation_space, gym_spaces.Discrete)
    size = envs.spaces.observation_size

    def row(observation: Any) -> np.ndarray:
        return np.eye(size, dtype=np.float32)[observation] if one_hot else np.asarray(observation, np.float32)

    for index, env in enumerate(plain):
        env.unwrapped.np_random = documented_generator(7, index)
    assert np.array_equal(envs.reset(), [row(env.reset()[0]) for env in plain])
    returns, lengths = [0.0, 0.0], [0, 0]
    for _ in range(250):
        actions = some_actions(envs.spaces, 2, rng)
        step = envs.step(actions)
        ended = []
        for index, env in enumerate(plain):
            action = int(actions[index]) if discrete else to_bounds(env.action_space, actions[index])
            observation, reward, terminated, truncated, _ = env.step(action)
            returns[index] += float(reward)
            lengths[index] += 1
            assert step.next_observations[index].tobytes() == row(observation).tobytes()
            assert (step.rewards[index], step.terminated[index], step.truncated[index]) == (
                reward,
                terminated,
                truncated,
            )
            if terminated or truncated:
                ended.append((index, returns[index], lengths[index]))
                returns[index], lengths[index] = 0.0, 0
                observation, _ = env.reset()
            assert step.observations[index].tobytes() == row(observation).tobytes()
        assert step.episodes == ended
    envs.close()


def to_bounds(space: Any, action: np.ndarray) -> np.ndarray:
    """The affine map from [-1, 1] onto the bounds, for bounds [-b, b] as all these environments have."""
    return np.asarray(np.clip(action, -1, 1).astype(np.float64) * space.high, np.float32)


def test_the_types_and_shapes_of_a_step() -> None:
    envs = Environments("CartPole-v1", num_envs=3, seed=0)
    assert envs.reset().dtype == np.float32
    step = envs.step([0, 1, 0])
    assert [a.dtype for a in step[:-1]] == [np.float32, np.float32, np.float64, np.bool_, np.bool_]
    assert [a.shape for a in step[:-1]] == [(3, 4), (3, 4), (3,), (3,), (3,)]
    assert step.episodes == []


def test_an_environment_does_not_depend_on_how_many_there_are_beside_it() -> None:
    one, three = Environments("Pendulum-v1", seed=3), Environments("Pendulum-v1", num_envs=3, seed=3)
    assert np.array_equal(one.reset()[0], three.reset()[0])
    assert not np.array_equal(three.reset()[0], three.reset()[1])


def test_a_second_reset_draws_other_episodes_and_another_seed_too() -> None:
    envs = Environments("Pendulum-v1", seed=3)
    first = envs.reset()
    assert not np.array_equal(first, envs.reset())
    assert not np.array_equal(first, Environments("Pendulum-v1", seed=4).reset())


def test_actions_are_clipped_and_mapped_onto_any_bounds(register: Any) -> None:
    box = gym_spaces.Box(np.array([-3.0, 0.0]), np.array([1.0, 10.0]), dtype=np.float64)
    envs = Environments(register(lambda: Scripted(action_space=box)), seed=0)
    envs.reset()
    for action in ([-1, -1], [1, 1], [0, 0], [0.5, -0.5], [-7, 7]):
        envs.step(np.array([action], np.float32))
    assert np.array_equal(seen_by(envs), [[-3, 0], [1, 10], [-1, 5], [0, 2.5], [-3, 10]])
    assert all(action.dtype == np.float64 for action in seen_by(envs))


def test_bounds_that_rounding_would_overstep_are_kept(register: Any) -> None:
    low, high = np.array([0.1, -0.3, 1.0, -1e308]), np.array([0.4, 0.7, np.nextafter(1, 2), 1e308])
    box = gym_spaces.Box(low, high, dtype=np.float64)
    envs = Environments(register(lambda: Scripted(action_space=box)), seed=0)
    envs.reset()
    inside = np.nextafter(1.0, 0.0)
    for value in [1.0, -1.0, inside, -inside, *np.random.default_rng(0).uniform(-1, 1, 200).tolist()]:
        envs.step([[value] * 4])
    assert all(box.contains(action) for action in seen_by(envs))
    assert np.array_equal(seen_by(envs)[:2], [high, low])
    assert np.allclose(seen_by(envs)[2][[0, 1, 3]], high[[0, 1, 3]], rtol=1e-15)


def test_the_action_an_environment_keeps_is_not_the_callers_array(register: Any) -> None:
    envs = Environments(register(Scripted), seed=0)
    envs.reset()
    action = np.zeros((1, 2), np.float32)
    envs.step(action)
    action += 1
    assert not seen_by(envs)[0].any()


def test_discrete_actions_and_observations_that_do_not_start_at_zero(register: Any) -> None:
    spaces = gym_spaces.Discrete(3, start=-1), gym_spaces.Discrete(2, start=5)
    envs = Environments(register(lambda: Scripted(*spaces, answers=[(1, 0.0, False, False)])), seed=0)
    assert envs.reset().tolist() == [[1, 0, 0]]
    assert envs.step(np.array([1])).observations.tolist() == [[0, 0, 1]]
    envs.step([0])
    assert seen_by(envs) == [6, 5]


def test_termination_is_not_truncation(register: Any) -> None:
    two = np.full(2, 2.0)
    answers = [(two, 1.0, False, False), (two, 0.5, True, False)]
    terminating = Environments(register(lambda: Scripted(answers=answers)), seed=0)
    truncating = Environments(register(Scripted, "Cut-v0", max_episode_steps=2), seed=0)
    both = Environments(register(lambda: Scripted(answers=answers), "Both-v0", max_episode_steps=2), seed=0)
    ends = []
    for envs in (terminating, truncating, both):
        envs.reset()
        middle, end = envs.step(np.zeros((1, 2))), envs.step(np.zeros((1, 2)))
        assert [bool(middle.terminated[0]), bool(middle.truncated[0])] == [False, False]
        ends.append((bool(end.terminated[0]), bool(end.truncated[0])))
        assert end.episodes[0][2] == 2
    assert ends == [(True, False), (False, True), (True, True)]


def test_the_successor_of_the_last_step_is_not_the_next_first_observation(register: Any) -> None:
    last = np.array([3.0, 4.0])
    envs = Environments(register(lambda: Scripted(answers=[(last, 2.0, True, False)])), num_envs=2, seed=0)
    envs.reset()
    step = envs.step(np.zeros((2, 2)))
    assert step.next_observations.tolist() == [[3, 4], [3, 4]]
    assert not np.any(step.observations == step.next_observations)
    assert step.episodes == [(0, 2.0, 1), (1, 2.0, 1)]


# --- saving and restoring ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "HalfCheetah-v5", "CartPole-v1", "Hopper-v5", "FrozenLake-v1"])
def test_a_restored_environment_goes_on_to_the_last_bit(env_id: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    envs, other = Environments(env_id, num_envs=2, seed=1), Environments(env_id, num_envs=2, seed=99)
    observations = envs.reset()
    for steps in (0, int(rng.integers(1, 40)), int(rng.integers(40, 230))):
        for _ in range(steps):
            observations = envs.step(some_actions(envs.spaces, 2, rng)).observations
        file = io.BytesIO()
        torch.save(envs.state(), file)
        file.seek(0)
        restored = other.restore(torch.load(file, weights_only=True))
        assert restored.dtype == np.float32
        assert restored.tobytes() == observations.tobytes()
    assert other.state() == envs.state()
    for _ in range(300):
        actions = some_actions(envs.spaces, 2, rng)
        assert equal(envs.step(actions), other.step(actions))


CONTINUE = """
import json, sys
import numpy as np
from deeprl.environments import Environments
envs = Environments("Hopper-v5", num_envs=2, seed=0)
envs.restore(json.loads(sys.stdin.read()))
rng = np.random.default_rng(2)
steps = [envs.step(rng.uniform(-1, 1, (2, 3))) for _ in range(100)]
print("".join(a.tobytes().hex() for step in steps for a in step[:-1]), [step.episodes for step in steps])
"""


def test_another_process_goes_on_to_the_last_bit() -> None:
    envs, rng = Environments("Hopper-v5", num_envs=2, seed=8), np.random.default_rng(4)
    envs.reset()
    for _ in range(70):
        envs.step(some_actions(envs.spaces, 2, rng))
    state = json.dumps(envs.state())
    there = subprocess.run(
        [sys.executable, "-c", CONTINUE],
        input=state,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    rng = np.random.default_rng(2)
    steps = [envs.step(rng.uniform(-1, 1, (2, 3))) for _ in range(100)]
    here = "".join(a.tobytes().hex() for step in steps for a in step[:-1])
    assert there.stdout.strip() == f"{here} {[step.episodes for step in steps]}"
    assert there.stderr == ""


def test_saving_does_not_disturb_and_holds_only_plain_values() -> None:
    one, other = Environments("Pendulum-v1", seed=1), Environments("Pendulum-v1", seed=1)
    one.reset(), other.reset()
    for _ in range(5):
        json.dumps(one.state())
        assert equal(one.step([[0.3]]), other.step([[0.3]]))
    assert plain(one.state())


def plain(value: Any) -> bool:
    if type(value) is dict:
        return all(type(key) is str and plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(plain, value))
    return type(value) in (int, float, str, bool)


def test_an_environment_with_randomness_of_its_own_is_not_restored(register: Any) -> None:
    envs = Environments(register(Forgetful), seed=0)
    envs.reset()
    with pytest.raises(ExactRLError) as error:
        envs.restore(envs.state())
    assert str(error.value) == (
        "environment 0 of Scripted-v0 cannot be replayed: the same generator and the same 0 actions did not lead to "
        "the same observation; it draws randomness or keeps state outside np_random, or its version is another than "
        "when it was saved"
    )


@pytest.mark.parametrize("change", ["observation", "total", "length", "generator", "actions", "generator_before"])
def test_a_state_that_was_changed_is_noticed(change: str) -> None:
    envs = Environments("Pendulum-v1", seed=0)
    envs.reset()
    for _ in range(3):
        envs.step([[0.5]])
    state = envs.state()
    saved = state["entries"][0]
    if change.startswith("generator"):
        saved[change] = saved[change] | {"state": saved[change]["state"] | {"state": 1}}
    elif change == "observation":
        saved[change][2] = float(np.nextafter(np.float32(saved[change][2]), np.float32(9)))
    elif change == "actions":
        saved[change].pop()
    else:
        saved[change] += 1
    with pytest.raises(ExactRLError, match="environment 0 of Pendulum-v1 cannot be replayed"):
        envs.restore(state)


def test_states_that_are_not_of_these_environments() -> None:
    envs, two = Environments("Pendulum-v1", seed=0), Environments("Pendulum-v1", num_envs=2, seed=0)
    with pytest.raises(ExactRLError, match=r"^Pendulum-v1 has no state to save yet, expected a call of `reset` first$"):
        envs.state()
    envs.reset(), two.reset()
    with pytest.raises(ExactRLError, match=r"^the saved state has 2 environments, expected 1$"):
        envs.restore(two.state())
    with pytest.raises(ExactRLError, match=r"^the saved state is of CartPole-v1, expected one of Pendulum-v1$"):
        envs.restore(envs.state() | {"env_id": "CartPole-v1"})
    with pytest.raises(ExactRLError, match=r"^the saved state is \{'entries': 3\}, expected what `state` returned$"):
        envs.restore({"entries": 3})
    cut = envs.state()
    del cut["entries"][0]["generator"]
    with pytest.raises(ExactRLError, match=r"entries\[0\] of the saved state of Pendulum-v1 cannot be read \(KeyError"):
        envs.restore(cut)


# --- what is refused on the way ---------------------------------------------------------------------------------------


def test_what_is_not_finite_is_named_by_environment_entry_and_step(register: Any) -> None:
    bad = [(np.zeros(2), 1.0, False, False), (np.array([0.0, np.nan]), 1.0, False, False)]
    envs = Environments(register(lambda: Scripted(answers=bad)), seed=0)
    envs.reset()
    envs.step(np.zeros((1, 2)))
    with pytest.raises(ExactRLError) as error:
        envs.step(np.zeros((1, 2)))
    assert str(error.value) == (
        "environment 0 of Scripted-v0, at step 2 of its episode: observation[1] is nan, expected a finite float32; "
        "the simulation has diverged"
    )
    reward = [(np.zeros(2), -np.inf, False, False)]
    envs = Environments(register(lambda: Scripted(answers=reward), "Reward-v0"), seed=0)
    envs.reset()
    with pytest.raises(
        ExactRLError, match=r"at step 1 of its episode: the reward is -inf, expected a finite float; the"
    ):
        envs.step(np.zeros((1, 2)))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_what_does_not_fit_a_float32_is_refused_and_what_does_is_not(register: Any) -> None:
    def answers(value: float) -> Any:
        return lambda: Scripted(answers=[(np.array([value, -value]), 0.0, False, False)])

    huge = Environments(register(answers(1e39), "Huge-v0"), seed=0)
    large = Environments(register(answers(1e38), "Large-v0"), seed=0)
    huge.reset(), large.reset()
    assert large.step(np.zeros((1, 2))).observations[0, 0] == np.float32(1e38)
    with pytest.raises(ExactRLError, match=r"observation\[0\] is inf"):
        huge.step(np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("env_id", "actions", "message"),
    [
        ("Pendulum-v1", [[np.nan]], "actions[0, 0] is nan, expected a finite float, to be clipped to [-1, 1]"),
        ("Pendulum-v1", [[np.inf]], "actions[0, 0] is inf, expected a finite float, to be clipped to [-1, 1]"),
        ("Pendulum-v1", [0.1], "actions have shape (1,), expected (1, 1)"),
        ("Pendulum-v1", [[True]], "actions have dtype bool, expected floats in [-1, 1]"),
        ("CartPole-v1", [2], "actions[0] is 2, expected 0 to 1"),
        ("CartPole-v1", [-1], "actions[0] is -1, expected 0 to 1"),
        ("CartPole-v1", [0.0], "actions have dtype float64, expected integers"),
        ("CartPole-v1", [[0]], "actions have shape (1, 1), expected (1,)"),
    ],
)
def test_bad_actions(env_id: str, actions: Any, message: str) -> None:
    envs = Environments(env_id, seed=0)
    envs.reset()
    with pytest.raises(ExactRLError, match=re.escape(f"{env_id}: {message}")):
        envs.step(actions)


def test_a_step_before_the_first_reset() -> None:
    with pytest.raises(ExactRLError, match=r"^no episode has begun, expected a call of `reset` before `step`$"):
        Environments("CartPole-v1", seed=0).step([0])


def test_observations_that_are_not_in_their_space(register: Any) -> None:
    wrong = Environments(register(lambda: Scripted(answers=[(np.zeros(1), 0.0, False, False)])), seed=0)
    wrong.reset()
    with pytest.raises(
        ExactRLError, match=r"the observation is a ndarray of shape \(1,\), expected an array \(2,\) as its"
    ):
        wrong.step(np.zeros((1, 2)))
    three = gym_spaces.Discrete(3)
    beyond = Environments(register(lambda: Scripted(three, three, [(3, 0.0, False, False)]), "Beyond-v0"), seed=0)
    beyond.reset()
    with pytest.raises(
        ExactRLError, match=r"at step 1 of its episode: the observation is 3, expected 0 to 2 as its space"
    ):
        beyond.step([0])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"num_envs": 0, "seed": 0}, "num_envs is 0, expected an integer of at least 1"),
        ({"num_envs": 1.0, "seed": 0}, "num_envs is 1.0, expected an integer of at least 1"),
        ({"seed": -1}, "seed is -1, expected an integer of at least 0"),
        ({"seed": True}, "seed is True, expected an integer of at least 0"),
    ],
)
def test_bad_numbers_of_environments_and_seeds(keywords: Any, message: str) -> None:
    with pytest.raises(ExactRLError, match=f"^{message}$"):
        Environments("CartPole-v1", **keywords)


# --- making -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "messages"),
    [
        (
            "HalfCheetah",
            ["environment 'HalfCheetah' is not registered with gymnasium: expected HalfCheetah-v5 (there are"],
        ),
        ("halfcheetah-v5", ["expected HalfCheetah-v5"]),
        ("HalfCheetah-v9", ["expected HalfCheetah-v5"]),
        ("LunarLander-v2", ["expected LunarLander-v3"]),
        ("HalfChetah-v5", ["registered names near it: HalfCheetah-v5"]),
        ("Cartpol", ["CartPole-v1"]),
        ("Xyzzy-v0", ["no name is near it; `gymnasium.pprint_registry()` lists those there are"]),
        ("zzz/Pong-v5", ["nothing registers zzz/ unless it is imported; write its module and a colon before"]),
        (
            "no_such_module:Task-v0",
            ["the module 'no_such_module', which should register it, cannot be imported (No m"],
        ),
        (":Task-v0", ["the module '', which should register it, cannot be imported"]),
        ("", ["environment '' is not registered"]),
        (3, ["the environment is 3 (int), expected the id of one registered with gymnasium, such as 'HalfCheetah-v5'"]),
    ],
)
def test_ids_that_are_not_registered(env_id: Any, messages: list[str]) -> None:
    with pytest.raises(ExactRLError) as error:
        make(env_id)
    assert all(message in str(error.value) for message in messages)


@pytest.mark.filterwarnings("ignore:.*out of date")
def test_environments_whose_simulator_is_missing(register: Any) -> None:
    with pytest.raises(ExactRLError, match=r"^environment 'HalfCheetah-v3' cannot be made: .*; take HalfCheetah-v5$"):
        make("HalfCheetah-v3")

    def without_a_simulator() -> Any:
        import no_such_simulator  # noqa: F401

    with pytest.raises(ExactRLError, match=r"cannot be made: the package 'no_such_simulator' is missing; install it$"):
        make(register(without_a_simulator))

    def with_advice() -> Any:
        raise gymnasium.error.DependencyNotInstalled("Box2D is not installed, run `pip install gymnasium[box2d]`")

    with pytest.raises(ExactRLError, match=r"'Advice-v0' cannot be made: Box2D is not installed, run `pip install gym"):
        make(register(with_advice, "Advice-v0"))


@pytest.mark.filterwarnings("ignore:.*not in the possible render_modes")
def test_a_render_mode_that_an_entry_point_does_not_take(register: Any) -> None:
    with pytest.raises(
        ExactRLError, match=r"cannot be made with render_mode='rgb_array': its entry point does not take"
    ):
        make(register(Scripted), render_mode="rgb_array")

    def broken() -> Any:
        raise TypeError("something else")

    with pytest.raises(TypeError, match="something else"):
        make(register(broken, "Broken-v0"))


def test_a_module_before_the_colon_registers_the_environment() -> None:
    assert make("gymnasium:CartPole-v1").spec.id == "CartPole-v1"


def test_no_harmless_warning_and_no_log_file(tmp_path: Path) -> None:
    code = "from deeprl.environments import make; make('HalfCheetah-v5'); import mujoco"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; print(mujoco.get_mju_user_warning())"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (run.stdout, run.stderr, list(tmp_path.iterdir())) == ("None\n", "", [])


def test_without_mujoco_other_environments_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    assert make("CartPole-v1").spec.id == "CartPole-v1"


def test_every_other_warning_of_mujoco_is_printed(register: Any, capfd: pytest.CaptureFixture[str]) -> None:
    mujoco = pytest.importorskip("mujoco")

    def warning() -> Any:
        mujoco.get_mju_user_warning()("the floor is lava")
        mujoco.get_mju_user_warning()("settotalmass is deprecated")
        return Scripted()

    make(register(warning))
    assert capfd.readouterr().err == "WARNING: the floor is lava\n"


# --- spaces -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "size", "actions", "high"),
    [
        ("HalfCheetah-v5", 17, 6, 1.0),
        ("Pendulum-v1", 3, 1, 2.0),
        ("CartPole-v1", 4, 2, None),
        ("FrozenLake-v1", 16, 4, None),
    ],
)
def test_the_sizes_of_known_environments(env_id: str, size: int, actions: int, high: float | None) -> None:
    found = describe(make(env_id))
    assert (found.observation_size, found.actions, found.discrete) == (size, actions, high is None)
    if high is None:
        assert found.low is None
        assert found.high is None
    else:
        assert found.low.dtype == found.high.dtype == np.float64
        assert np.array_equal(found.high, np.full(actions, high))
        assert np.array_equal(found.low, np.full(actions, -high))


def box(*shape: int, **keywords: Any) -> Any:
    return gym_spaces.Box(-1, 1, shape, **keywords)


FLATTEN = (
    "register an environment that is this one wrapped in gymnasium.wrappers.FlattenObservation, and name that instead"
)
TRANSFORM = (
    "register an environment that is this one wrapped in gymnasium.wrappers.TransformAction, and name that instead"
)


@pytest.mark.parametrize(
    ("space", "messages"),
    [
        (
            gym_spaces.Dict(a=box(2)),
            ["has observations of Dict('a': Box(", "expected a vector (a Box of rank 1)", FLATTEN],
        ),
        (gym_spaces.Tuple([box(2)]), ["has observations of Tuple(Box(", FLATTEN]),
        (gym_spaces.MultiBinary(3), ["has observations of MultiBinary(3)", FLATTEN]),
        (
            gym_spaces.Box(0, 255, (8, 8, 3), np.uint8),
            ["has pixel observations, Box(0, 255, (8, 8, 3), uint8)", "not conv"],
        ),
        (box(2, 2), ["has observations of rank 2", FLATTEN]),
        (box(0), ["has empty observations", "expected at least one entry"]),
    ],
)
def test_observation_spaces_that_are_refused(space: Any, messages: list[str], register: Any) -> None:
    with pytest.raises(ExactRLError) as error:
        Environments(register(lambda: Scripted(observation_space=space)), seed=0)
    assert all(message in str(error.value) for message in ["Scripted-v0", *messages])


@pytest.mark.parametrize(
    ("space", "messages"),
    [
        (
            gym_spaces.MultiDiscrete([2, 3]),
            ["has actions of MultiDiscrete([2 3]), expected a Box of rank 1", TRANSFORM],
        ),
        (gym_spaces.MultiBinary(2), ["has actions of MultiBinary(2)", TRANSFORM]),
        (gym_spaces.Tuple([box(1)]), ["has actions of Tuple(", TRANSFORM]),
        (gym_spaces.Dict(a=box(1)), ["has actions of Dict(", TRANSFORM]),
        (box(2, 2), ["has actions of Box(-1.0, 1.0, (2, 2), float32), expected a Box of rank 1", TRANSFORM]),
        (
            box(2, dtype=np.int32),
            ["has actions of Box(-1, 1, (2,), int32), expected a Box of rank 1 of floats", TRANSFORM],
        ),
        (box(0), ["has empty actions"]),
        (
            gym_spaces.Box(-np.inf, np.inf, (2,)),
            ["action[0] of Box(-inf, inf, (2,), float32) has the bounds [-inf, inf], expected finite ones", TRANSFORM],
        ),
        (
            gym_spaces.Box(np.float32([-1, -1]), np.float32([1, np.inf])),
            ["action[1] of", "has the bounds [-1, inf], expected finite ones", "within which actions make sense"],
        ),
        (
            gym_spaces.Box(np.float32([-1, 2]), np.float32([1, 2])),
            ["action[1] of", "has the bounds [2, 2], expected low < high", "without that entry"],
        ),
    ],
)
def test_action_spaces_that_are_refused(space: Any, messages: list[str], register: Any) -> None:
    with pytest.raises(ExactRLError) as error:
        Environments(register(lambda: Scripted(action_space=space)), seed=0)
    assert all(message in str(error.value) for message in ["Scripted-v0", *messages])


def test_a_long_space_is_cut_in_the_message_and_a_class_names_what_has_no_id() -> None:
    env = Scripted(action_space=gym_spaces.MultiDiscrete(list(range(2, 80))))
    with pytest.raises(ExactRLError, match=r"^Scripted has actions of MultiDiscrete\(.*\.\.\., expected") as error:
        describe(env)
    assert len(str(error.value)) < 350


def test_what_an_algorithm_cannot_take() -> None:
    discrete, continuous = Spaces(4, 2, True), Spaces(3, 1, False, np.array([-2.0]), np.array([2.0]))
    require(discrete, "CartPole-v1", "ecac", continuous=True, discrete=True)
    require(continuous, "Pendulum-v1", "td3", continuous=True, discrete=False)
    with pytest.raises(ExactRLError) as error:
        require(discrete, "CartPole-v1", "td3", continuous=True, discrete=False)
    assert str(error.value) == (
        "td3 takes continuous actions (a Box); CartPole-v1 has 2 discrete ones: try sac-score or ecac"
    )
    with pytest.raises(ExactRLError, match=r"has 2 discrete ones: try other$"):
        require(discrete, "CartPole-v1", "td3", continuous=True, discrete=False, instead=["other"])
    with pytest.raises(ExactRLError) as error:
        require(continuous, "Pendulum-v1", "table", continuous=False, discrete=True)
    assert str(error.value) == (
        "table takes discrete actions; Pendulum-v1 has continuous ones (a Box of dimension 1): "
        "take an algorithm for those"
    )
