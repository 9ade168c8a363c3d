# SPDX-License-Identifier: Apache-2.0
"""The Universal Scalability Law, fitted to what was measured, and what it predicts.

    X(N) = lambda * P(N) / (1 + sigma * (N - 1) + kappa * N * (N - 1))

X is throughput and lambda that of one thread alone; sigma is the share of the work that threads
wait for each other with, kappa what keeping their memory in agreement costs for each pair of them.
P(N) is N while every thread has a processor, which is Gunther's law; with more threads than
processors it is the number of processors, because no more than that run at a time. Then sigma and
kappa say what having N contenders costs, and no more: threads that take turns on a processor meet
less often than threads that run."""

import math
from dataclasses import dataclass

# The longest that a lock of Larder is held, as taken for locks too rarely taken to show it.
HOLD_LIMIT_NS = 1000


@dataclass(frozen=True)
class Fit:
    """error is the root of the mean squared distance of points and curve, over the mean point."""

    rate: float   # lambda, operations per second
    sigma: float
    kappa: float
    error: float

    def speedup(self, count):
        """Throughput of `count` threads with a processor each, over that of one."""
        return count / _load(count, self.sigma, self.kappa)

    def predict(self, count):
        """Operations per second of `count` threads with a processor each."""
        return self.rate * self.speedup(count)

    def peak(self):
        """The number of processors with the highest throughput; infinite for kappa 0."""
        if self.kappa == 0:
            return math.inf
        return max(1.0, math.sqrt(max(0.0, 1 - self.sigma) / self.kappa))

    def ceiling(self):
        """The throughput that no number of processors exceeds; infinite if there is none."""
        if self.kappa > 0:
            return self.predict(self.peak())
        return self.rate / self.sigma if self.sigma > 0 else math.inf


def _load(count, sigma, kappa):
    return 1 + sigma * (count - 1) + kappa * count * (count - 1)


def _best_rate(points, processors, sigma, kappa):
    """(rate, sum of squares): for a given sigma and kappa the best rate is a linear problem."""
    shapes = [min(count, processors) / _load(count, sigma, kappa) for count, _ in points]
    rate = (sum(x * shape for shape, (_, x) in zip(shapes, points))
            / sum(shape * shape for shape in shapes))
    return rate, sum((x - rate * shape) ** 2 for shape, (_, x) in zip(shapes, points))


def _start(points, processors):
    """sigma and kappa by linear regression of P(N) / X(N) on N - 1 and N (N - 1), none below 0."""
    rows = [(1.0, count - 1.0, count * (count - 1.0), min(count, processors) / x)
            for count, x in points]
    # Normal equations, each row weighted so that it counts for its share and not for its size.
    normal = [[sum(row[i] * row[j] / row[3] ** 2 for row in rows) for j in range(3)]
              + [sum(row[i] / row[3] for row in rows)] for i in range(3)]
    for i in range(3):
        pivot = max(range(i, 3), key=lambda k, i=i: abs(normal[k][i]))
        normal[i], normal[pivot] = normal[pivot], normal[i]
        if abs(normal[i][i]) < 1e-300:
            return 0.0, 0.0
        for k in range(3):
            if k != i:
                factor = normal[k][i] / normal[i][i]
                normal[k] = [a - factor * b for a, b in zip(normal[k], normal[i])]
    base, slope, curve = (normal[i][3] / normal[i][i] for i in range(3))
    return _allowed(slope / base, curve / base) if base > 0 else (0.0, 0.0)


def _allowed(sigma, kappa):
    """The nearest values that mean something: a share of the work, and a cost."""
    return min(1.0, max(0.0, sigma)), max(0.0, kappa)


def fit(points, processors):
    """The Fit with the least squares of throughput; sigma is 0 to 1, kappa not below 0.

    points are (threads, operations per second), at least three with different thread counts. Fewer
    cannot tell sigma and kappa apart: ValueError."""
    if len({count for count, _ in points}) < 3 or min(x for _, x in points) <= 0:
        raise ValueError("a fit takes throughput at three thread counts")
    best = None
    for start in {_start(points, processors), (0.0, 0.0), (0.05, 0.0), (0.0, 0.0005)}:
        found = _descend(points, processors, start)
        if best is None or found[0] < best[0]:
            best = found
    squares, (sigma, kappa) = best
    rate, _ = _best_rate(points, processors, sigma, kappa)
    mean = sum(x for _, x in points) / len(points)
    return Fit(rate, sigma, kappa, math.sqrt(squares / len(points)) / mean)


def _descend(points, processors, start):
    """(squares, (sigma, kappa)) by looking in all directions with steps that become smaller."""
    at, steps = start, [max(start[0], 0.1), max(start[1], 0.01)]
    squares = _best_rate(points, processors, *at)[1]
    while max(steps) > 1e-9:
        tried = [_allowed(at[0] + i * steps[0], at[1] + j * steps[1])
                 for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
        value, place = min((_best_rate(points, processors, *place)[1], place) for place in tried)
        if value < squares:
            squares, at = value, place
        else:
            steps = [step / 2 for step in steps]
    return squares, at


@dataclass(frozen=True)
class Lock:
    """One kind of lock in one run: how often it was taken, and how often that had to wait."""

    name: str
    takes: int
    waits: int


def serial_share(locks, processors, processor_ns):
    """An upper bound of sigma from counters of runs with as many threads as processors, at least
    two, which have used processor_ns together; a kind of lock may be listed once a run.

    Whoever takes a lock finds it held with the probability that one of the others holds it, which
    is the share of its time that a processor holds it, times the others. So waits / takes tells
    that share, for each kind of lock; all kinds are added as if they were one lock. Three waits are
    added to those that were counted, which makes it a bound at 95 % where none was. A lock that is
    rarely taken is counted with HOLD_LIMIT_NS for each take instead, if that is less."""
    share = 0.0
    for name in {lock.name for lock in locks}:
        takes = sum(lock.takes for lock in locks if lock.name == name)
        waits = sum(lock.waits for lock in locks if lock.name == name)
        if takes > 0:
            met = (waits + 3) / takes / (processors - 1)
            held = takes * HOLD_LIMIT_NS / processor_ns
            share += min(met, held)
    return min(share, 1.0)
