"""The captured update against the plain one, with graphs that record a call where a device would record kernels."""

import contextlib

import pytest
import torch

from deeprl.acceleration import WARM_UP, CapturedUpdate
from deeprl.algorithms import ALGORITHMS
from deeprl.config import CONFIGS

BATCH, OBSERVATION, ACTIONS = 8, 3, 2


class RecordedGraph:
    """What a CUDA graph is to its user: nothing happens while it is captured, everything when it is replayed."""

    def __init__(self):
        self.call = None
        self.outputs = None

    def replay(self):
        for name, value in self.call().items():
            self.outputs[name].copy_(value)


class Stream:
    def wait_stream(self, other):
        pass


@pytest.fixture
def device(monkeypatch):
    """Stand-ins for the parts of torch.cuda that are used; `algorithm.step` is recorded while a graph is captured."""
    capturing = []

    @contextlib.contextmanager
    def graph(recorded, stream):
        capturing.append(recorded)
        yield
        capturing.pop()

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", RecordedGraph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    return capturing


def made(name, capturing=None):
    config = CONFIGS[name](hidden_sizes=(8, 8), batch_size=BATCH, gradient_steps=4).resolved()
    algorithm = ALGORITHMS[name](config, OBSERVATION, ACTIONS)
    state = algorithm.initial_state(torch.Generator().manual_seed(0))
    if capturing is not None:
        plain = algorithm.step

        def step(*arguments):
            if not capturing:
                return plain(*arguments)
            capturing[-1].call = lambda: plain(*arguments)
            capturing[-1].outputs = {key: torch.zeros(1) for key in plain(arguments[0].clone(), *arguments[1:])}
            return capturing[-1].outputs

        algorithm.step = step
    return algorithm, state


def inputs(algorithm, turn):
    generator = torch.Generator().manual_seed(turn)
    widths = {"observation": (OBSERVATION,), "next_observation": (OBSERVATION,), "action": (ACTIONS,)}
    batch = {key: torch.randn(1, BATCH, *width, generator=generator) for key, width in widths.items()}
    batch |= {"reward": torch.randn(1, BATCH, generator=generator), "terminated": torch.zeros(1, BATCH)}
    return batch, {key: x[None] for key, x in algorithm.draw_noise(generator, BATCH).items()}


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_a_captured_update_reads_its_inputs_anew_and_counts(name, device):
    algorithm, state = made(name)
    captured_algorithm, captured_state = made(name, device)
    captured = CapturedUpdate(captured_algorithm, captured_state)
    for turn in range(3 * WARM_UP + 4):
        batch, noise = inputs(algorithm, turn)
        expected = algorithm.update(state, batch, noise)
        found = captured(captured_state, batch, noise)
        assert {key: x.tolist() for key, x in found.items()} == {key: x.tolist() for key, x in expected.items()}
    assert captured_state.updates == state.updates
    for key, tensor in state.tensors().items():
        assert torch.equal(captured_state.tensors()[key], tensor), key
    assert len(captured._graphs) == len({algorithm.trained(k) for k in range(4)})


def test_another_state_is_refused(device):
    algorithm, state = made("sac", device)
    captured = CapturedUpdate(algorithm, state)
    batch, noise = inputs(algorithm, 0)
    with pytest.raises(ValueError, match="the state that it was made for"):
        captured(state.clone(), batch, noise)
