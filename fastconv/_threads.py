"""How many threads a call may use."""

from __future__ import annotations

import math
import os
from typing import SupportsIndex

from ._problem import as_index
from ._runtime import max_threads

#: More threads than this are never started, however many are asked for on a small machine.
MOST_WORKERS = 256

#: Where Linux tells a process its CPU quota: version 2, then version 1 of cgroups.
CGROUP_V2 = "/sys/fs/cgroup/cpu.max"
CGROUP_V1 = "/sys/fs/cgroup/cpu"

_forked = False


def _after_fork() -> None:
    # libgomp's pool of threads does not survive a fork and the next team would hang
    # (GCC bug 60035), so a forked child computes in its one thread.
    global _forked
    _forked = True


def forked() -> bool:
    """Whether this process is a forked child, which computes in one thread."""
    return _forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _read(path: str | os.PathLike[str]) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def cgroup_quota() -> float:
    """CPUs that the container's quota allows; infinity where there is none."""
    try:
        if os.path.exists(CGROUP_V2):
            quota, period = _read(CGROUP_V2).split()
        else:
            quota = _read(os.path.join(CGROUP_V1, "cpu.cfs_quota_us")).strip()
            period = _read(os.path.join(CGROUP_V1, "cpu.cfs_period_us")).strip()
        return math.inf if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


_QUOTA = cgroup_quota()


def limits() -> dict[str, float]:
    """Everything that bounds the default number of workers, by name."""
    if hasattr(os, "sched_getaffinity"):
        affinity = len(os.sched_getaffinity(0))
    else:
        affinity = os.cpu_count() or 1
    return {
        "affinity": affinity,
        "cgroup quota": _QUOTA,
        "OpenMP (OMP_NUM_THREADS)": max_threads(),
    }


def usable() -> int:
    """Threads the process may use: affinity, cgroup quota and ``OMP_NUM_THREADS``."""
    return max(1, math.ceil(min(limits().values())))


def check_workers(workers: SupportsIndex | None) -> int | None:
    """`workers` as an integer other than 0, or None."""
    if workers is None:
        return None
    workers = as_index(workers, "workers")
    if workers == 0:
        raise ValueError("workers must not be 0: use a positive number, a negative one or None")
    if workers < 0 and workers + usable() < 0:
        raise ValueError(f"workers={workers} counts from {usable()} usable threads: too low")
    return workers


def resolve(workers: int | None) -> int:
    """The most threads a call with this checked `workers` may start."""
    if _forked:
        return 1
    if workers is None:
        return usable()
    if workers < 0:
        # Fewer may be usable by now than when the number was checked.
        return max(1, usable() + 1 + workers)
    return min(workers, max(MOST_WORKERS, usable()))
