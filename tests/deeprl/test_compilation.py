"""The compiled update: what its name in the cache depends on, that it is kept, and what goes wrong."""

import contextlib
import dataclasses
import io
import time

import pytest
import torch

from deeprl import compilation, progress
from deeprl.algorithms import ALGORITHMS
from deeprl.compilation import AHEAD, BESIDE, CompiledGradients, _Order, cache_folder
from deeprl.config import CONFIGS
from deeprl.training import Trainer
from exactrl import ExactRLError
from tests.deeprl.small_runs import Terminal
from tests.deeprl.test_algorithms import KINDS, algorithm_of, data

SMALL = {"hidden_sizes": (8,), "batch_size": 4, "env_id": "Pendulum-v1", "evaluation_interval": 0}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(compilation.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


class Guarded:
    """A configuration that lets nobody read what gradients are said not to depend on."""

    def __init__(self, config):
        self._config = config

    def __getattr__(self, name):
        assert name not in BESIDE, f"gradients depend on {name}"
        return getattr(self._config, name)


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_depends_on_what_the_name_leaves_out(kind):
    algorithm = algorithm_of(kind)
    state = algorithm.initial_state(torch.Generator().manual_seed(0))
    batch, noise = data(algorithm)
    algorithm.config = Guarded(algorithm.config)
    for trained in {algorithm.trained(update) for update in range(4)}:
        algorithm.gradients(state, batch, noise, trained)


def test_what_the_name_leaves_out_are_options():
    assert set(BESIDE) <= {name for kind in CONFIGS.values() for name in kind().as_dict()}


def order(**changes):
    settings = {"observation_size": 3, "actions": 2, "discrete": False, "dtype": "float32", "seeds": 1, "batch_size": 8}
    config = CONFIGS["td3"](**{name: changes.pop(name) for name in list(changes) if name not in settings})
    return _Order(config=config.as_dict(), trained=("critic",), **(settings | changes))


def test_a_name_is_for_everything_that_the_code_depends_on():
    name = order().name()
    assert name.startswith("td3-")
    for same in ({"seed": 7}, {"total_timesteps": 3}, {"learning_rate": 0.1}, {"env_id": "Hopper-v5"}):
        assert order(**same).name() == name, same
    others = [
        {"gamma": 0.5}, {"noise_clip": 0.1}, {"hidden_sizes": (3,)}, {"threads": 2},
        {"observation_size": 4}, {"actions": 1}, {"discrete": True}, {"dtype": "float64"}, {"seeds": 2},
        {"batch_size": 9},
    ]  # fmt: skip
    assert len({name, *(order(**other).name() for other in others)}) == len(others) + 1


def test_another_processor_source_or_torch_has_another_name(monkeypatch):
    names = {order().name()}
    for name in ("_processor", "_sources"):
        with monkeypatch.context() as patched:
            patched.setattr(compilation, name, lambda: "another")
            names.add(order().name())
    monkeypatch.setattr(torch, "__version__", "another")
    assert len({*names, order().name()}) == 4


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.delenv(compilation.CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "exactrl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "h"))
    assert cache_folder() == tmp_path / "h" / ".cache" / "exactrl"
    monkeypatch.setenv(compilation.CACHE_VARIABLE, str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def trained(config):
    trainer = Trainer(config)
    try:
        trainer.open()
        while not trainer.finished:
            trainer.advance()
    finally:
        trainer.close()
    return trainer.state.tensors()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_is_compiled_once_and_trains_to_the_same_numbers(cache, monkeypatch, capfd):
    steps = {"total_timesteps": 30, "learning_starts": 10, "checkpoint_interval": 0}
    # Not Adam, which makes a whole step of a rounding error where a gradient is 0.
    config = CONFIGS["ddpg"](compile=True, optimizer="sgd", learning_rate=0.01, **steps, **SMALL)
    found = trained(config)
    assert "compiling the update of ddpg (critic, actor) for this machine, once ..." in capfd.readouterr().err
    assert len(list(cache.glob("ddpg-*.pt2"))) == 1
    plain = trained(config.replace(compile=False))
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, plain[name], rtol=1e-4, atol=1e-6, msg=name)

    def forbidden(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr(compilation, "_compile_elsewhere", forbidden)
    again = trained(config.replace(total_timesteps=30, q_limit=1e5))
    assert all(torch.equal(found[name], again[name]) for name in found)
    assert capfd.readouterr().err == ""
    (file,) = cache.glob("ddpg-*.pt2")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(
        ExactRLError, match=r"ddpg-\w+\.pt2 cannot be loaded \(.*\): delete it, and it is compiled again"
    ):
        Trainer(config)


def test_all_sets_of_networks_are_compiled_before_the_first_step(cache, monkeypatch):
    asked = []
    monkeypatch.setattr(compilation, "_compile_elsewhere", lambda order, path: asked.append(order))
    monkeypatch.setattr(compilation, "_Library", lambda path: path)
    Trainer(CONFIGS["td3"](compile=True, seeds=2, policy_frequency=AHEAD, **SMALL)).close()
    assert [one.trained for one in asked] == [("critic",), ("critic", "actor")]
    assert {one.seeds for one in asked} == {2}
    assert {one.batch_size for one in asked} == {4}
    assert asked[0].algorithm().config.algorithm == "td3"
    assert type(asked[0].algorithm()) is ALGORITHMS["td3"]


def test_without_a_compiler_it_is_said_what_to_do(cache, monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache / "torch"))
    with pytest.raises(ExactRLError, match=r"cannot be compiled: .*\n.*g\+\+ or clang\+\+.*without --compile"):
        Trainer(CONFIGS["ddpg"](compile=True, **SMALL))
    assert list(cache.glob("*.pt2")) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(compilation.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(ExactRLError, match=r"cannot write in .*file: .*; set EXACTRL_CACHE to another folder"):
        Trainer(CONFIGS["ddpg"](compile=True, **SMALL))


def test_networks_of_ones_own_have_no_name_in_the_cache():
    algorithm = algorithm_of("ddpg")
    assert CompiledGradients(algorithm)._named
    algorithm.networks["actor"] = dataclasses.replace(algorithm.networks["actor"], bias=False)
    assert not CompiledGradients(algorithm)._named


def test_waiting_counts_the_seconds_on_a_terminal(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(progress, "REFRESH", 0.01)
    with contextlib.redirect_stderr(screen.file), progress.waiting("compiling"):
        time.sleep(0.2)
    shown = screen.text()
    assert shown.count("compiling: 0 s") > 2
    assert shown.endswith("compiling: 0 s\r\n")


def test_waiting_says_it_once_elsewhere():
    said = io.StringIO()
    with contextlib.redirect_stderr(said), progress.waiting("compiling"):
        pass
    assert said.getvalue() == "compiling ...\n"
