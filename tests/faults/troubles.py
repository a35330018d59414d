"""How each kind of trouble is made, and how it is undone."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from dataclasses import replace

from tests.faults.federation import Federation
from tests.faults.plan import BUSIEST, Trouble
from tests.faults.process import Process

Undo = Callable[[], None]


def schedule(federation: Federation, troubles: list[Trouble]) -> list[Undo]:
    """Have each trouble happen at its time; gives what undoes those that are still going on."""
    undo: list[Undo] = []
    for trouble in troubles:
        federation.loop.call_later(
            trouble.at_s, _begin, federation, trouble, undo, context=Context()
        )
    return undo


def _begin(federation: Federation, trouble: Trouble, undo: list[Undo]) -> None:
    if trouble.where == BUSIEST:
        agents = federation.agents
        where = max(agents, key=lambda name: agents[name].world.busy())
        trouble = replace(trouble, where=where)
    about = {"where": trouble.where, "for_s": trouble.for_s, **trouble.data}
    federation.history.add(federation.loop.time(), "faults", trouble.what, **about)
    end = _MAKERS[trouble.what](federation, trouble)

    def once() -> None:
        if once in undo:
            undo.remove(once)
            end()

    undo.append(once)
    federation.loop.call_later(trouble.for_s, once, context=Context())


def _process(federation: Federation, name: str) -> Process:
    return federation.controllers.get(name) or federation.agents[name].process


def _nothing() -> None:
    """Some troubles are over by themselves."""


def _crash(federation: Federation, trouble: Trouble) -> Undo:
    process = _process(federation, trouble.where)
    process.wanted = False
    process.crash("kill -9")
    return process.start


def _pause(federation: Federation, trouble: Trouble) -> Undo:
    process = _process(federation, trouble.where)
    process.pause()
    return process.resume


def _cut(federation: Federation, trouble: Trouble) -> Undo:
    ways = [
        way
        for controller in federation.controllers
        for way in ((trouble.where, controller), (controller, trouble.where))
    ]
    if trouble.what == "cut_one_way":
        ways = ways[trouble.data["direction"] == "in" :: 2]
    return _cut_ways(federation, ways)


def _cut_and_crash(federation: Federation, trouble: Trouble) -> Undo:
    """Cut off, and started again meanwhile: it has nobody to ask how long it may go on."""
    process = _process(federation, trouble.where)
    federation.loop.call_later(
        trouble.data["after_s"], process.crash, "kill -9", 2.0, context=Context()
    )
    return _cut(federation, trouble)


def _cut_controller(federation: Federation, trouble: Trouble) -> Undo:
    ways = [
        way
        for other in (*federation.agents, "client")
        for way in ((trouble.where, other), (other, trouble.where))
    ]
    return _cut_ways(federation, ways)


def _cut_ways(federation: Federation, ways: list[tuple[str, str]]) -> Undo:
    for way in ways:
        federation.network.cut(*way)

    def join() -> None:
        for way in ways:
            federation.network.join(*way)

    return join


def _wall_clock(federation: Federation, trouble: Trouble) -> Undo:
    machine = _process(federation, trouble.where).machine
    machine.set_wall(trouble.data["by_s"])
    return lambda: machine.set_wall(-trouble.data["by_s"])


def _disk_full(federation: Federation, trouble: Trouble) -> Undo:
    disk = _process(federation, trouble.where).disk
    disk.full = True

    def room() -> None:
        disk.full = False

    return room


def _lose_node(federation: Federation, trouble: Trouble) -> Undo:
    world = federation.agents[trouble.where].world
    node = world.nodes[0]
    world.lose_node(node)
    return lambda: world.restore_node(node)


def _power_cut(federation: Federation, trouble: Trouble) -> Undo:
    machine = federation.agents[trouble.where]
    machine.process.wanted = False
    machine.process.crash("power cut")
    machine.world.lose_everything()
    machine.clock.reboot()
    machine.boots += 1
    return machine.process.start


def _lose_disk(federation: Federation, trouble: Trouble) -> Undo:
    machine = federation.agents[trouble.where]
    machine.process.wanted = False
    machine.process.crash("its disk is lost")
    federation.new_disk(trouble.where)
    _say_dead(federation, trouble)
    return machine.process.start


def _second_agent(federation: Federation, trouble: Trouble) -> Undo:
    name = f"{trouble.where}x"
    if name in federation.agents:
        return _nothing
    second = federation.add_agent(name, trouble.where.removeprefix("lca:"))
    second.process.start()
    _say_dead(federation, trouble)
    return second.process.stop


def _say_dead(federation: Federation, trouble: Trouble) -> None:
    """An agent's database will not come back: tasks that wait for it for ever (`never`) may."""
    cluster = trouble.where.removeprefix("lca:")
    federation.history.add(federation.loop.time(), "faults", "cluster_dead", cluster=cluster)


def _drain(federation: Federation, trouble: Trouble) -> Undo:
    cluster = trouble.where.removeprefix("lca:")
    federation.operator(lambda controller: controller.drain_cluster(cluster))
    return lambda: federation.operator(lambda controller: controller.uncordon_cluster(cluster))


_MAKERS: dict[str, Callable[[Federation, Trouble], Undo]] = {
    "crash": _crash,
    "pause": _pause,
    "cut": _cut,
    "cut_one_way": _cut,
    "cut_and_crash": _cut_and_crash,
    "cut_controller": _cut_controller,
    "wall_clock": _wall_clock,
    "disk_full": _disk_full,
    "lose_node": _lose_node,
    "power_cut": _power_cut,
    "lose_disk": _lose_disk,
    "second_agent": _second_agent,
    "drain": _drain,
}
