"""Everything goes wrong at once: no pod is bound twice, none forgotten, no node overcommitted."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from tests.executors.kubernetes.fake_api import FakeApi
from tests.executors.kubernetes.stage import scheduling, until
from tests.executors.kubernetes.test_scheduler import play

FAULTS = ("drop-before", "drop-after", "500-before", "500-after", "403")


class Checked(FakeApi):
    """An API server that looks after each bind whether the node had room."""

    def _bind(self, collection, key, obj, body):  # type: ignore[no-untyped-def]
        answer = super()._bind(collection, key, obj, body)
        used: Counter[str] = Counter()
        for pod in self.objects["/api/v1/pods"].values():
            if pod["spec"].get("nodeName"):
                request = pod["spec"]["containers"][0]["resources"]["requests"]
                used[pod["spec"]["nodeName"]] += int(request["cpu"])
        assert all(count <= 4 for count in used.values()), used
        return answer


@pytest.mark.parametrize("seed", range(4))
def test_random_faults(seed: int) -> None:
    dice = random.Random(seed)

    async def story(api: FakeApi) -> None:
        def fault(method: str, path: str) -> str:
            if method == "GET" and not path.endswith("/pods") and "/pods/" not in path:
                return ""  # the informers' lists have tests of their own
            return dice.choice(FAULTS) if dice.random() < 0.2 else ""

        api.lag_s = 0.05
        for i in range(5):
            api.node(f"n{i}")
        async with scheduling(api) as scheduler:
            api.faults = fault
            for i in range(40):
                api.pod(f"p{i}", cpu=str(dice.choice([1, 1, 2])))
                if dice.random() < 0.5:
                    await asyncio.sleep(0.02)
                if dice.random() < 0.3:
                    api.remove("/api/v1/pods", dice.choice(sorted(api.where())))
            api.faults = lambda method, path: ""
            for i in range(5, 15):
                api.node(f"n{i}")
            await until(lambda: all(api.where().values()), "every pod is bound")
            await until(lambda: len(scheduler.mirror.held) == len(api.where()))
            assert max(api.binds.values()) == 1
            assert scheduler.mirror.overcommitted() == []
            held = scheduler.mirror.held.values()
            await until(lambda: all(h.phase.value == "bound" for h in held))

    play(story, kind=Checked)
