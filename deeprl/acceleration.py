"""The update as a captured CUDA graph: one launch for all the kernels of all the stacked seeds."""

from __future__ import annotations

import torch
from torch import Tensor

from deeprl.algorithms.base import Algorithm, Batch, Metrics, Noise, State

# Updates done kernel by kernel before capture, so that libraries have made their choices and memory is warm.
WARM_UP = 3


class CapturedUpdate:
    """`algorithm.update` for one state on a CUDA device, from the fourth update with a set of networks on as a graph.

    Called like `algorithm.update`, with a state that must be the one it was made for: the graph holds its addresses.
    """

    def __init__(self, algorithm: Algorithm, state: State) -> None:
        self._algorithm, self._state = algorithm, state
        self._graphs: dict[tuple[str, ...], tuple[torch.cuda.CUDAGraph, Metrics]] = {}
        self._seen: dict[tuple[str, ...], int] = {}
        self._batch: dict[str, Tensor] = {}
        self._noise: dict[str, Tensor] = {}
        self._stream = torch.cuda.Stream()

    def __call__(self, state: State, batch: Batch, noise: Noise) -> Metrics:
        if state is not self._state:
            raise ValueError("a captured update works on the state that it was made for")
        trained = self._algorithm.trained(state.updates)
        if self._seen.setdefault(trained, 0) < WARM_UP:
            self._seen[trained] += 1
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                metrics = self._algorithm.update(state, batch, noise)
            torch.cuda.current_stream().wait_stream(self._stream)
            return metrics
        self._algorithm.before_update(state)
        _fill(self._batch, batch)
        _fill(self._noise, noise)
        if trained not in self._graphs:
            self._graphs[trained] = self._capture(trained)
        graph, metrics = self._graphs[trained]
        graph.replay()
        state.updates += 1
        return {name: value.clone() for name, value in metrics.items()}

    def _capture(self, trained: tuple[str, ...]) -> tuple[torch.cuda.CUDAGraph, Metrics]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            metrics = self._algorithm.step(self._state, self._batch, self._noise, trained)
        return graph, metrics


def _fill(buffers: dict[str, Tensor], values: Batch) -> None:
    """Copy into the addresses that the graphs read."""
    for name, value in values.items():
        if name in buffers:
            buffers[name].copy_(value, non_blocking=True)
        else:
            buffers[name] = value.clone()
