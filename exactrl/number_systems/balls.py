"""Balls: arrays of `flint.arb`, each an interval that provably contains the true value.

The class is closed on purpose.  NumPy's own functions on object arrays give silently wrong enclosures for clip,
minimum, maximum, sort and where(x > 0); here every operation outside the list raises, and a comparison that the
intervals cannot decide raises `Uncertain`.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np
from flint import arb, arb_mat, ctx, fmpq

from exactrl.errors import Uncertain

ANYTHING = arb(0, float("inf"))
NEGATIVE_INFINITY = arb.neg_inf()
POSITIVE_INFINITY = arb.pos_inf()


@contextlib.contextmanager
def precision(bits: int) -> Iterator[None]:
    """Compute with the given working precision, in bits, inside the block."""
    before = ctx.prec
    ctx.prec = bits
    try:
        yield
    finally:
        ctx.prec = before


def ball(x: Any) -> arb:
    """Return x as a ball: integers, Fractions and floats by their exact value."""
    if isinstance(x, arb):
        return x
    if isinstance(x, Fraction):
        return arb(fmpq(x.numerator, x.denominator))
    if isinstance(x, (int, np.integer)):
        return arb(int(x))
    if isinstance(x, (float, np.floating)):
        return arb(float(x))
    if isinstance(x, fmpq):
        return arb(x)
    raise TypeError(f"no ball can be made of a {type(x).__name__}: give an int, a Fraction, a float or an arb")


def _objects(x: Any) -> np.ndarray[Any, np.dtype[np.object_]]:
    if isinstance(x, Balls):
        return x.data
    array = np.empty((), dtype=object)
    if isinstance(x, (arb, Fraction, fmpq, int, float, np.number)):
        array[()] = ball(x)
        return array
    if not isinstance(x, (list, tuple, np.ndarray)):
        raise TypeError(f"no ball can be made of a {type(x).__name__}: give an int, a Fraction, a float or an arb")
    array = np.asarray(x, dtype=object)
    return np.asarray(_ball_each(array), dtype=object).reshape(array.shape)


_ball_each = np.frompyfunc(ball, 1, 1)


def _divide(x: arb, y: arb) -> arb:
    if y.contains(0):
        raise Uncertain(f"division by a ball that contains 0: {y}")
    return x / y


def _log(x: arb) -> arb:
    if x > 0:
        return POSITIVE_INFINITY if x == POSITIVE_INFINITY else x.log()
    if x == 0:
        return NEGATIVE_INFINITY
    raise Uncertain(f"logarithm of a ball that is not certainly positive: {x}")


def _weighted(weight: arb, x: arb) -> arb:
    if weight == 0:
        return arb(0)
    if not x.is_finite() and not (weight > 0 or weight < 0):
        raise Uncertain(f"an infinite value weighted by a ball that contains 0: {weight}")
    return weight * x


def _certain_order(
    name: str, decide: Callable[[arb, arb], bool], deny: Callable[[arb, arb], bool]
) -> Callable[[arb, arb], bool]:
    def compare(x: arb, y: arb) -> bool:
        if decide(x, y):
            return True
        if deny(x, y):
            return False
        raise Uncertain(f"{x} {name} {y} cannot be decided at {ctx.prec} bits")

    return compare


_less = np.frompyfunc(_certain_order("<", lambda x, y: x < y, lambda x, y: x >= y), 2, 1)
_less_equal = np.frompyfunc(_certain_order("<=", lambda x, y: x <= y, lambda x, y: x > y), 2, 1)
_equal = np.frompyfunc(_certain_order("==", lambda x, y: x == y, lambda x, y: not x.overlaps(y)), 2, 1)
_divide_each = np.frompyfunc(_divide, 2, 1)


class Balls:
    """An array of balls; only the operators below and the functions of `BallNamespace` act on it."""

    __slots__ = ("_matrix", "data")
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: Any) -> None:
        self.data = _objects(data)
        self._matrix: arb_mat | None = None

    @classmethod
    def _wrap(cls, data: Any) -> Self:
        self = cls.__new__(cls)
        if isinstance(data, np.ndarray):
            self.data = data
        else:
            self.data = np.empty((), dtype=object)
            self.data[()] = data
        self._matrix = None
        return self

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("balls do not turn into a NumPy array: use the functions of their namespace")

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape)

    @property
    def ndim(self) -> int:
        return int(self.data.ndim)

    def __len__(self) -> int:
        return len(self.data)

    def __add__(self, other: Any, /) -> Self:
        return self._wrap(self.data + _objects(other))

    __radd__ = __add__

    def __sub__(self, other: Any, /) -> Self:
        return self._wrap(self.data - _objects(other))

    def __rsub__(self, other: Any, /) -> Self:
        return self._wrap(_objects(other) - self.data)

    def __mul__(self, other: Any, /) -> Self:
        return self._wrap(self.data * _objects(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any, /) -> Self:
        return self._wrap(_divide_each(self.data, _objects(other)))

    def __rtruediv__(self, other: Any, /) -> Self:
        return self._wrap(_divide_each(_objects(other), self.data))

    def __neg__(self) -> Self:
        return self._wrap(-self.data)

    def __pow__(self, exponent: int, /) -> Self:
        count = operator.index(exponent)
        if count < 1:
            raise TypeError("a power of balls needs a positive integer as its exponent")
        return self._wrap(functools.reduce(operator.mul, [self.data] * count))

    def __lt__(self, other: Any) -> Any:
        return np.asarray(_less(self.data, _objects(other)), dtype=bool)

    def __le__(self, other: Any) -> Any:
        return np.asarray(_less_equal(self.data, _objects(other)), dtype=bool)

    def __gt__(self, other: Any) -> Any:
        return np.asarray(_less(_objects(other), self.data), dtype=bool)

    def __ge__(self, other: Any) -> Any:
        return np.asarray(_less_equal(_objects(other), self.data), dtype=bool)

    def __eq__(self, other: object) -> Any:
        return np.asarray(_equal(self.data, _objects(other)), dtype=bool)

    def __ne__(self, other: object) -> Any:
        return ~self.__eq__(other)

    def __bool__(self) -> bool:
        raise TypeError("a ball has no truth value: compare it, or ask its enclosure")

    def __getitem__(self, key: Any, /) -> Self:
        return self._wrap(self.data[key])

    def __repr__(self) -> str:
        return f"Balls({self.data.tolist()!r})"

    def matrix(self) -> arb_mat:
        """Return the two-dimensional array as a flint matrix; kept, because a recursion multiplies by it many times."""
        if self._matrix is None:
            self._matrix = arb_mat(self.shape[0], self.shape[1], self.data.ravel().tolist())
        return self._matrix

    def bounds(self) -> list[tuple[Fraction, Fraction]]:
        """Return exact rational lower and upper ends of each finite ball, flattened in C order."""
        return [(_exact(x.lower()), _exact(x.upper())) for x in self.data.ravel()]


def _exact(x: arb) -> Fraction:
    mantissa, exponent = x.man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def _logsumexp(values: Sequence[arb]) -> arb:
    if any(x == POSITIVE_INFINITY for x in values):
        return POSITIVE_INFINITY
    # arb's != means certainly unequal, but a nan or an unbounded ball must stay in the sum.
    surely_zero = [x == NEGATIVE_INFINITY for x in values]
    finite = [x for x, zero in zip(values, surely_zero, strict=True) if not zero]
    if not finite:
        return NEGATIVE_INFINITY
    if not all(x.is_finite() for x in finite):
        return ANYTHING
    # An exact midpoint as the shift: any shift is correct, an exact one adds no width.
    shift = max((x.mid() for x in finite), key=float)
    total = arb(0)
    for x in finite:
        total += (x - shift).exp()
    return total.log() + shift


class BallNamespace:
    """The functions of `protocol.Namespace` for arrays of balls."""

    name = "balls"
    _each: ClassVar[dict[str, Any]] = {
        "exp": np.frompyfunc(lambda x: x.exp(), 1, 1),
        "expm1": np.frompyfunc(lambda x: x.expm1(), 1, 1),
        "log": np.frompyfunc(_log, 1, 1),
        "log1p": np.frompyfunc(lambda x: _log(1 + x) if not x > -1 else x.log1p(), 1, 1),
        "sqrt": np.frompyfunc(lambda x: x.sqrt(), 1, 1),
        "abs": np.frompyfunc(abs, 1, 1),
        "weighted": np.frompyfunc(_weighted, 2, 1),
        "maximum": np.frompyfunc(lambda x, y: x.max(y), 2, 1),
        "minimum": np.frompyfunc(lambda x, y: x.min(y), 2, 1),
        "midpoint": np.frompyfunc(lambda x: x.mid(), 1, 1),
        "enclosure": np.frompyfunc(lambda x, y: x.union(y), 2, 1),
    }

    def _apply(self, name: str, *xs: Any) -> Balls:
        return Balls._wrap(self._each[name](*(_objects(x) for x in xs)))

    @property
    def bisections(self) -> int:
        """How many halvings of [0, 1] the precision is worth."""
        return int(ctx.prec) * 3 // 4

    @property
    def log_two(self) -> Balls:
        """The constant log 2, enclosed."""
        return Balls(arb(2).log())

    @property
    def log_two_pi(self) -> Balls:
        """The constant log 2 pi, enclosed."""
        return Balls((2 * arb.pi()).log())

    def asarray(self, x: Any) -> Balls:
        return x if isinstance(x, Balls) else Balls(x)

    def identity(self, size: int) -> Balls:
        return Balls(np.eye(size, dtype=int))

    def per_row(self, x: Any) -> Balls:
        array = self.asarray(x)
        return array[..., None] if array.ndim else array

    def exp(self, x: Balls) -> Balls:
        return self._apply("exp", x)

    def expm1(self, x: Balls) -> Balls:
        return self._apply("expm1", x)

    def log(self, x: Balls) -> Balls:
        """Return the logarithm; an exact 0 gives -inf, a ball that contains 0 otherwise raises Uncertain."""
        return self._apply("log", x)

    def log1p(self, x: Balls) -> Balls:
        return self._apply("log1p", x)

    def sqrt(self, x: Balls) -> Balls:
        return self._apply("sqrt", x)

    def abs(self, x: Balls) -> Balls:
        return self._apply("abs", x)

    def softplus(self, x: Balls) -> Balls:
        return self.logsumexp(self.stack([x, Balls(np.zeros(x.shape, dtype=int))], axis=-1))

    def sum(self, x: Balls, axis: int = -1, keepdims: bool = False) -> Balls:
        add: Any = np.add
        return Balls._wrap(add.reduce(x.data, axis=axis, keepdims=keepdims, initial=arb(0)))

    def _reduce(self, name: str, x: Balls, axis: int, keepdims: bool) -> Balls:
        return Balls._wrap(self._each[name].reduce(x.data, axis=axis, keepdims=keepdims))

    def max(self, x: Balls, axis: int = -1, keepdims: bool = False) -> Balls:
        """Return an enclosure of the maximum (never a choice between balls that overlap)."""
        return self._reduce("maximum", x, axis, keepdims)

    def min(self, x: Balls, axis: int = -1, keepdims: bool = False) -> Balls:
        return self._reduce("minimum", x, axis, keepdims)

    def matmul(self, x: Balls, y: Balls) -> Balls:
        if x.ndim == 2 and y.ndim == 1:
            product = x.matrix() * arb_mat(y.shape[0], 1, y.data.tolist())
            return Balls(np.array(product.entries(), dtype=object))
        return Balls._wrap(np.asarray(x.data @ y.data, dtype=object))

    def where(self, condition: Any, x: Any, y: Any) -> Balls:
        """Choose by a NumPy boolean array: a comparison of balls either was certain or has already raised."""
        if not (isinstance(condition, (bool, np.bool_)) or getattr(condition, "dtype", None) == np.bool_):
            raise TypeError("where needs certain booleans as its condition")
        return Balls._wrap(np.where(condition, _objects(x), _objects(y)))

    def maximum(self, x: Balls, y: Any) -> Balls:
        return self._apply("maximum", x, y)

    def minimum(self, x: Balls, y: Any) -> Balls:
        return self._apply("minimum", x, y)

    def clip(self, x: Balls, low: Any, high: Any) -> Balls:
        return self.minimum(self.maximum(x, low), high)

    def logsumexp(self, x: Balls, axis: int = -1, keepdims: bool = False) -> Balls:
        rows = np.moveaxis(x.data, axis, -1)
        flat = rows.reshape(-1, rows.shape[-1])
        total = np.empty(len(flat), dtype=object)
        for i, row in enumerate(flat):
            total[i] = _logsumexp(row.tolist())
        shaped = total.reshape(rows.shape[:-1])
        return Balls._wrap(np.expand_dims(shaped, axis) if keepdims else shaped)

    def xlogy(self, x: Balls, y: Balls) -> Balls:
        zero = np.asarray(np.frompyfunc(lambda a: a == 0, 1, 1)(_objects(x)), dtype=bool)
        return self.weighted(x, self.log(self.where(zero, 1, y)))

    def weighted(self, weight: Balls, x: Balls) -> Balls:
        """Return weight * x, exactly 0 where the weight is exactly 0."""
        return self._apply("weighted", weight, x)

    def weighted_by_log(self, log_weight: Balls, x: Balls) -> Balls:
        """Return exp(log_weight) * x, exactly 0 where log_weight is -inf."""
        return self.weighted(self.exp(log_weight), x)

    def scaled_log(self, scale: Any, log_x: Balls) -> Balls:
        return self._apply("weighted", scale, log_x)

    def stack(self, xs: Sequence[Balls], axis: int = 0) -> Balls:
        return Balls._wrap(np.stack([x.data for x in xs], axis=axis))

    def concat(self, xs: Sequence[Balls], axis: int = 0) -> Balls:
        return Balls._wrap(np.concatenate([x.data for x in xs], axis=axis))

    def reshape(self, x: Balls, shape: tuple[int, ...]) -> Balls:
        return Balls._wrap(x.data.reshape(shape))

    def moveaxis(self, x: Balls, source: int, destination: int) -> Balls:
        return Balls._wrap(np.moveaxis(x.data, source, destination))

    def argmin(self, x: Balls) -> Any:
        """Return the certain position of the least entry on the last axis; possible ties raise Uncertain."""
        flat = x.data.reshape(-1, x.shape[-1])
        return np.array([_certain_argmin(row.tolist()) for row in flat], dtype=int).reshape(x.shape[:-1])

    def select(self, x: Balls, index: Any) -> Balls:
        return Balls._wrap(np.take_along_axis(x.data, np.asarray(index)[..., None, None], axis=-2)[..., 0, :])

    def midpoint(self, x: Balls) -> Balls:
        """Return exact balls without radius: shifting by them adds no width."""
        return self._apply("midpoint", x)

    def enclosure(self, low: Balls, high: Balls) -> Balls:
        """Return the smallest balls around both ends of a bracket."""
        return self._apply("enclosure", low, high)


def _certain_argmin(values: list[arb]) -> int:
    best = 0
    for i, value in enumerate(values):
        if value < values[best] or value.mid() < values[best].mid():
            best = i
    for i, value in enumerate(values):
        if i != best and not values[best] <= value:
            raise Uncertain(f"the least of {values} cannot be decided at {ctx.prec} bits")
    return best
