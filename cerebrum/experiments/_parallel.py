"""One function over many items: in this process, local processes, or a Dask or Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Literal, TypeVar

from cerebrum.model.errors import MissingDependency

Backend = Literal["local", "dask", "ray"]
Advance = Callable[[int, int], None]
T = TypeVar("T")
R = TypeVar("R")

_JOBLIB = {"local": "loky", "dask": "dask", "ray": "ray"}


def each(
    function: Callable[[T], R],
    items: Sequence[T],
    jobs: int | None = None,
    advance: Advance = lambda done, total: None,
    backend: Backend = "local",
    scheduler: str | None = None,
) -> Generator[R]:
    """`function` of every item, as they are finished (with Ray: in order).

    `jobs` local processes (default: one a core); `scheduler` is the address of a Dask or Ray
    cluster (default: a local one). `advance(done, total)` is called after each.
    """
    workers = jobs or os.cpu_count() or 1
    advance(0, len(items))
    if backend == "local" and (workers == 1 or len(items) == 1):
        results: Any = map(function, items)
    else:
        results = _spread(function, items, workers, backend, scheduler)
    for done, result in enumerate(results, start=1):
        yield result
        advance(done, len(items))


def _spread(
    function: Callable[[T], R],
    items: Sequence[T],
    workers: int,
    backend: Backend,
    scheduler: str | None,
) -> Generator[R]:
    joblib: Any = import_module("joblib")
    order = "generator" if backend == "ray" else "generator_unordered"
    with (
        _cluster(backend, scheduler, workers),
        joblib.parallel_config(_JOBLIB[backend], n_jobs=workers),
    ):
        call = joblib.delayed(function)
        yield from joblib.Parallel(return_as=order, batch_size=1)(call(item) for item in items)


@contextmanager
def _cluster(backend: Backend, scheduler: str | None, workers: int) -> Generator[None]:
    """The cluster while it is needed."""
    if backend == "local":
        yield
        return
    with (_dask if backend == "dask" else _ray)(scheduler, workers):
        yield


@contextmanager
def _dask(scheduler: str | None, workers: int) -> Generator[None]:
    distributed = _optional("distributed", "bench --backend dask", "dask")
    if scheduler:
        with distributed.Client(scheduler, set_as_default=True):
            yield
        return
    local = distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None
    )
    with local as cluster, distributed.Client(cluster, set_as_default=True):
        yield


@contextmanager
def _ray(scheduler: str | None, workers: int) -> Generator[None]:
    ray = _optional("ray", "bench --backend ray", "ray")
    ray.init(address=scheduler, **({} if scheduler else {"num_cpus": workers}))
    _optional("ray.util.joblib", "bench --backend ray", "ray").register_ray()
    try:
        yield
    finally:
        ray.shutdown()


def _optional(module: str, use: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise MissingDependency(use, extra) from None
