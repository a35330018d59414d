"""What a pod asks for: Kubernetes' effective requests, GPUs and GPU shares.

Per resource: max(containers + sidecars, max over init containers of (sidecars before it + itself)),
a sidecar being an init container with `restartPolicy: Always`; `spec.resources` overrides CPU and
memory and huge pages; plus `spec.overhead`. While a pod is resized, the largest of what is
specified, allocated and actual counts; what cannot be had (`Infeasible`) is not counted. A limit
without a request is the request, as the API server sets it.
"""

from __future__ import annotations

from fractions import Fraction

from cerebrum.kube import names
from cerebrum.kube.fields import Fields
from cerebrum.model import quantity
from cerebrum.model.errors import InputError
from cerebrum.model.resources import GPU_MILLI as WHOLE
from cerebrum.model.resources import Resources, extended_resources

Amounts = dict[str, Fraction]
_POD_LEVEL = ("cpu", "memory", "hugepages-")
_TOO_LARGE = 2**53


def pod_resources(metadata: Fields, spec: Fields, status: Fields) -> Resources:
    """The pod's request. Fractions of a unit are rounded up, as Kubernetes does."""
    total = effective_requests(spec, status)
    gpus, milli = _gpus(metadata.child("annotations"), _whole(spec, total, names.GPU))
    for key, amount in total.items():
        if amount * (1000 if key == "cpu" else 1) >= _TOO_LARGE * (2**20 if key == "memory" else 1):
            raise spec.error(f"{key}: what is asked for is too large for any node", "containers")
    extended = {key: _whole(spec, total, key) for key in total if key not in names.NATIVE}
    return spec.checked(
        lambda: Resources(
            cpu_milli=_up(total.get("cpu", Fraction(0)) * 1000),
            memory_mib=_up(total.get("memory", Fraction(0)) / 2**20),
            gpu_count=gpus,
            gpu_milli=milli,
            cache_ways=_whole(spec, total, names.CACHE_WAYS),
            extended=extended_resources(extended),
        )
    )


def bare_resources(spec: Fields, status: Fields) -> Resources:
    """CPU and memory of a pod that asks for something impossible otherwise; 0 for what is absurd.

    For pods that run already, whatever they say: what they hold must count.
    """
    try:
        total = effective_requests(spec, status)
    except InputError:
        return Resources()
    cpu = _up(total.get("cpu", Fraction(0)) * 1000)
    memory = _up(total.get("memory", Fraction(0)) / 2**20)
    return Resources(cpu if cpu < _TOO_LARGE else 0, memory if memory < _TOO_LARGE else 0)


def effective_requests(spec: Fields, status: Fields) -> Amounts:
    """Requests by resource in base units (cores, bytes, counts)."""
    actual = {
        container.text("name", ""): container
        for key in ("containerStatuses", "initContainerStatuses")
        for container in status.children(key)
    }
    refused = _refused(status)
    running: Amounts = {}
    for container in spec.children("containers"):
        _add(running, _container(container, actual.get(container.text("name", "")), refused))
    before: Amounts = {}
    starting: Amounts = {}
    for container in spec.children("initContainers"):
        if container.text("restartPolicy", "") == "Always":
            own = _container(container, actual.get(container.text("name", "")), refused)
            _add(running, own)
            _add(before, own)
            _raise_to(starting, before)
        else:
            _raise_to(starting, _sum(before, _container(container, None, refused)))
    _raise_to(running, starting)
    _pod_level(running, spec, status, refused)
    _add(running, _amounts(spec.child("overhead")))
    return running


def _pod_level(running: Amounts, spec: Fields, status: Fields, refused: bool) -> None:
    """Let the requests of the pod as a whole stand for those of its containers."""
    asked = _container(spec, status, refused)
    limits_only = set(asked) - set(_amounts(spec.at("resources", "requests")))
    for key, amount in asked.items():
        if key.startswith(_POD_LEVEL) and not (key in limits_only and key in running):
            running[key] = amount


def _refused(status: Fields) -> bool:
    """Whether the node has said that it cannot resize the pod as it is now specified."""
    return any(
        condition.text("type", "") == "PodResizePending"
        and condition.text("reason", "") == "Infeasible"
        for condition in status.children("conditions")
    )


def _container(container: Fields, actual: Fields | None, refused: bool) -> Amounts:
    resources = container.child("resources")
    found = {**_amounts(resources.child("limits")), **_amounts(resources.child("requests"))}
    if actual is not None:
        got = _amounts(actual.child("allocatedResources"))
        _raise_to(got, _amounts(actual.at("resources", "requests")))
        if refused and got:
            return got
        _raise_to(found, got)
    return found


def _amounts(mapping: Fields) -> Amounts:
    return {key: mapping.parse(key, _quantity, Fraction(0)) for key in mapping.data}


def _quantity(value: str | int | float) -> Fraction:
    exact = quantity.parse_quantity(value)
    if exact < 0:
        raise InputError(f"expected a quantity of at least 0, got {str(value)!r}")
    return exact


def _gpus(notes: Fields, whole: int) -> tuple[int, int]:
    """GPUs and thousandths of each, from the annotations or else from the resource."""
    count = notes.parse(names.GPU_COUNT, _number, None)
    milli = notes.parse(names.GPU_MILLI, _number, None)
    if count is None:
        count = whole or (1 if milli else 0)
    elif whole and whole != count:
        raise notes.error(
            f"expected {whole}, the {names.GPU} requested, got {count}", names.GPU_COUNT
        )
    if not count:
        return 0, 0
    milli = WHOLE if milli is None else milli
    if not 1 <= milli <= WHOLE:
        raise notes.error(f"expected 1..{WHOLE} per GPU, got {milli}", names.GPU_MILLI)
    if count > 1 and milli != WHOLE:
        raise notes.error(
            f"expected {WHOLE} for {count} GPUs, got {milli}: only one GPU can be shared",
            names.GPU_MILLI,
        )
    return count, milli


def _number(value: str | int | float) -> int | None:
    return quantity.count(value)


def _whole(spec: Fields, total: Amounts, name: str) -> int:
    amount = total.get(name, Fraction(0))
    if amount.denominator != 1:
        raise spec.error(f"expected a whole number of {name}, got {float(amount):g}", "containers")
    return int(amount)


def _up(amount: Fraction) -> int:
    return -((-amount.numerator) // amount.denominator)


def _add(total: Amounts, more: Amounts) -> None:
    for key, amount in more.items():
        total[key] = total.get(key, Fraction(0)) + amount


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return {
        key: one.get(key, Fraction(0)) + other.get(key, Fraction(0)) for key in {**one, **other}
    }


def _raise_to(total: Amounts, floor: Amounts) -> None:
    for key, amount in floor.items():
        total[key] = max(total.get(key, Fraction(0)), amount)
