"""The gradients of an update as machine code: compiled once for a machine, by a process of its own, kept and loaded.

PyTorch's ahead-of-time compiler takes half a minute or more, and more memory than training does.  So a process of its
own compiles, into a file that is named by everything the code depends on; who trains loads that file in milliseconds,
and no compiler with it.  Runs that are taken up and seeds that run side by side find the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from deeprl.algorithms import ALGORITHMS
from deeprl.algorithms.base import Algorithm, Batch, Metrics, Noise, State
from deeprl.config import from_dict
from exactrl.errors import ExactRLError

# Where the files are kept; by default the user's cache.
CACHE_VARIABLE = "EXACTRL_CACHE"
# Of the configuration, what no gradient depends on: how the run goes, and what is done with the gradients.
BESIDE = (
    *("env_id", "seed", "seeds", "jobs", "total_timesteps", "num_envs", "learning_starts", "buffer_size"),
    *("train_frequency", "gradient_steps", "evaluation_interval", "evaluation_episodes", "log_interval"),
    *("checkpoint_interval", "q_limit", "device", "compile", "tensorboard", "capture_video", "track"),
    *("learning_rate", "optimizer", "tau"),
)
# The sets of networks that are trained in the first so many updates are compiled before the first step.
AHEAD = 100
METRICS = "metrics"
MODEL = "model"

Gradients = Callable[[State, Batch, Noise, tuple[str, ...]], tuple[tuple[Tensor, ...], Metrics]]


def cache_folder() -> Path:
    """The folder of compiled updates: $EXACTRL_CACHE, or `exactrl` in the user's cache."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exactrl"


@dataclass(frozen=True)
class _Views:
    """The views of `Parameters`, without the flat tensor."""

    leaves: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]


def compiled(algorithm: Algorithm, seeds: int, device: torch.device) -> Gradients:
    """Return `algorithm.gradients` compiled for a stack of so many seeds.

    On a CUDA device by PyTorch's other compiler, as the captured graph wants it: kernels, and no library.
    Raises ExactRLError as CompiledGradients does.
    """
    if device.type == "cuda":
        torch._dynamo.config.trace_autograd_ops = True
        return cast(Gradients, torch.compile(algorithm.gradients, fullgraph=True, dynamic=False))
    gradients = CompiledGradients(algorithm)
    gradients.prepare(seeds)
    return gradients


class CompiledGradients:
    """Called like `algorithm.gradients`; a library for each set of trained networks and each shape of the data.

    Networks that were handed in have no name in the cache: they are compiled in this process, each time.
    Raises ExactRLError where there is no C++ compiler, and for a file in the cache that cannot be loaded.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm
        standard = type(algorithm)(algorithm.config, algorithm.observation_size, algorithm.actions, algorithm.discrete)
        self._named = standard.networks == algorithm.networks
        self._libraries: dict[tuple[Any, ...], _Library] = {}

    def __call__(
        self, state: State, batch: Batch, noise: Noise, trained: tuple[str, ...]
    ) -> tuple[tuple[Tensor, ...], Metrics]:
        rows = tuple(batch["reward"].shape)
        if (trained, rows) not in self._libraries:
            if self._named:
                library = self._from_cache(*rows, trained)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "own.pt2"
                    build(self._algorithm, state, batch, noise, trained, path)
                    library = _Library(path)
            self._libraries[trained, rows] = library
        return self._libraries[trained, rows](_inputs(state, batch, noise))

    def prepare(self, seeds: int) -> None:
        """Compile and load what the first updates of a stack of so many seeds take."""
        batch_size = self._algorithm.config.batch_size
        if self._named:
            for trained in {self._algorithm.trained(update): None for update in range(AHEAD)}:
                self._libraries[trained, (seeds, batch_size)] = self._from_cache(seeds, batch_size, trained)

    def _from_cache(self, seeds: int, batch_size: int, trained: tuple[str, ...]) -> _Library:
        algorithm = self._algorithm
        order = _Order(
            algorithm.config.as_dict(),
            algorithm.observation_size,
            algorithm.actions,
            algorithm.discrete,
            str(algorithm.dtype).removeprefix("torch."),
            seeds,
            batch_size,
            trained,
        )
        path = cache_folder() / f"{order.name()}.pt2"
        if not path.exists():
            with _only_one(path):
                if not path.exists():
                    _compile_elsewhere(order, path)
        return _Library(path)


class _Library:
    """A compiled function, loaded from its file."""

    def __init__(self, path: Path) -> None:
        try:
            # The loader alone: PyTorch's own function brings in the compiler, and a hundred megabytes with it.
            self._loader = torch._C._aoti.AOTIModelPackageLoader(str(path), MODEL, True, 1, -1)
            self._metrics: list[str] = json.loads(self._loader.get_metadata()[METRICS])
        except (RuntimeError, KeyError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ExactRLError(f"{path} cannot be loaded ({reason}): delete it, and it is compiled again") from None

    def __call__(self, inputs: list[Tensor]) -> tuple[tuple[Tensor, ...], Metrics]:
        found = self._loader.boxed_run(inputs)
        count = len(found) - len(self._metrics)
        return tuple(found[:count]), dict(zip(self._metrics, found[count:], strict=True))


@dataclass(frozen=True)
class _Order:
    """What is to be compiled, in plain values."""

    config: dict[str, Any]
    observation_size: int
    actions: int
    discrete: bool
    dtype: str
    seeds: int
    batch_size: int
    trained: tuple[str, ...]

    def algorithm(self) -> Algorithm:
        config = from_dict(self.config)
        kind = ALGORITHMS[config.algorithm]
        return kind(config, self.observation_size, self.actions, self.discrete, getattr(torch, self.dtype))

    def name(self) -> str:
        """The algorithm and a digest of everything that the machine code depends on."""
        config = {name: value for name, value in self.config.items() if name not in BESIDE}
        parts = [{**vars(self), "config": config}, torch.__version__, platform.machine(), _processor(), _sources()]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{self.config['algorithm']}-{digest[:20]}"


def _processor() -> str:
    """The instructions that the processor has: code for another one may not run, or round otherwise."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor()


def _sources() -> str:
    """A digest of the code that is traced."""
    import exactrl

    digest = hashlib.sha256()
    for root in (Path(__file__).parent, Path(exactrl.__file__).parent):
        folders = [root, root / "algorithms", root / "formulas", root / "number_systems"]
        for path in itertools.chain(*(sorted(folder.glob("*.py")) for folder in folders)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Let one process at a time compile a file; the others wait for it."""
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path.with_suffix(".lock"), "a")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise ExactRLError(
            f"cannot write in {path.parent}: {error.strerror or error}; set {CACHE_VARIABLE} to another folder"
        ) from None
    with file:
        with contextlib.suppress(OSError):  # a file system that has no locks: both compile
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile_elsewhere(order: _Order, path: Path) -> None:
    """Let a process of its own compile, with a line on the terminal that says so."""
    from deeprl.progress import waiting

    command = [sys.executable, "-m", "deeprl.compilation", str(path)]
    networks = ", ".join(order.trained)
    what = f"compiling the update of {order.config['algorithm']} ({networks}) for this machine, once"
    with tempfile.TemporaryFile("w+") as errors, waiting(what):
        child = subprocess.run(command, input=json.dumps(vars(order)), text=True, stdout=errors, stderr=errors)
        errors.seek(0)
        said = errors.read()
    if child.returncode != 0:
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
        raise ExactRLError(
            f"--compile: the update cannot be compiled: {last}\n"
            "A C++ compiler is needed (g++ or clang++); without --compile it trains as well, only slower"
        )


def build(algorithm: Algorithm, state: State, batch: Batch, noise: Noise, trained: tuple[str, ...], path: Path) -> None:
    """Compile the gradients for data of these shapes into the file `path`, in this process; whole or not at all."""
    from torch.fx.experimental.proxy_tensor import make_fx

    networks = list(state.parameters)
    counts = [len(state.parameters[name].leaves) for name in networks]
    names: list[str] = []

    def gradients(*tensors: Tensor) -> tuple[Tensor, ...]:
        left = iter(tensors)
        views = {}
        for name, count in zip(networks, counts, strict=True):
            leaves = tuple(itertools.islice(left, count))
            views[name] = _Views(leaves, tuple(leaf.detach() for leaf in leaves))
        data = [{name: next(left) for name in sorted(one)} for one in (batch, noise)]
        found, metrics = algorithm.gradients(State(state.seeds, cast(Any, views), {}), *data, trained)
        names[:] = metrics
        return (*found, *metrics.values())

    inputs = _inputs(state, batch, noise)
    graph = make_fx(gradients)(*inputs)
    settings = {"aot_inductor.metadata": {METRICS: json.dumps(names)}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), tempfile.TemporaryDirectory(dir=path.parent) as folder:
        exported = torch.export.export(graph, tuple(x.detach() for x in inputs))
        made = torch._inductor.aoti_compile_and_package(
            exported, package_path=str(Path(folder) / path.name), inductor_configs=settings
        )
        os.replace(made, path)


def _inputs(state: State, batch: Batch, noise: Noise) -> list[Tensor]:
    """All the tensors that gradients depend on, in the order of the compiled function.

    Without gaps, for the library takes the strides for granted: a batch is made of columns of the replay's rows.
    """
    leaves = [leaf for one in state.parameters.values() for leaf in one.leaves]
    return [*leaves, *(one[name].contiguous() for one in (batch, noise) for name in sorted(one))]


def _build_ordered(path: Path) -> None:
    """Read an order from the standard input and compile it, with the threads of the run."""
    values = json.loads(sys.stdin.read())
    order = _Order(**{**values, "trained": tuple(values["trained"])})
    algorithm = order.algorithm()
    torch.set_num_threads(algorithm.config.threads)
    generator = torch.Generator().manual_seed(0)
    states = [algorithm.initial_state(generator) for _ in range(order.seeds)]
    state = State.stack(states) if order.seeds > 1 else states[0]
    rows = (order.seeds, order.batch_size)
    sizes = {"observation": order.observation_size, "action": order.actions, "next_observation": order.observation_size}
    batch = {name: torch.zeros((*rows, size), dtype=algorithm.dtype) for name, size in sizes.items()}
    batch |= {name: torch.zeros(rows, dtype=algorithm.dtype) for name in ("reward", "terminated")}
    noise = {
        name: torch.full((order.seeds, *shape), 0.5, dtype=algorithm.dtype)
        for name, shape in algorithm.noise(order.batch_size).items()
    }
    build(algorithm, state, batch, noise, order.trained, path)


if __name__ == "__main__":
    _build_ordered(Path(sys.argv[1]))
