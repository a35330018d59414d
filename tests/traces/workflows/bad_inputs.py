"""Workflows that must be refused, by format: name -> text. What each must say: expected.yaml."""

from __future__ import annotations

import json
from typing import Any


def wf(
    tasks: list[dict[str, Any]] | None = None,
    files: list[dict[str, Any]] | None = None,
    runs: list[dict[str, Any]] | None = None,
    version: Any = "1.5",
) -> str:
    """A WfFormat document, one value per line."""
    given = [{"id": "a", "children": ["b"]}, {"id": "b", "parents": ["a"]}]
    specification: dict[str, Any] = {"tasks": given if tasks is None else tasks}
    if files is not None:
        specification["files"] = files
    workflow: dict[str, Any] = {"specification": specification}
    if runs is not None:
        workflow["execution"] = {"tasks": runs}
    return json.dumps({"schemaVersion": version, "workflow": workflow}, indent=1)


def run(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "runtimeInSeconds": 1.0} | more


def gcc(tasks: str = '{"id": "a"}, {"id": "b"}', more: str = "") -> str:
    return f'{{"id": "w",\n "tasks": [{tasks}],\n "dependencies": {{"b": ["a"]}}{more}}}'


def dax(inside: str, version: str = "3.6") -> str:
    return f'<adag version="{version}">\n{inside}\n</adag>\n'


def argo(templates: str, entry: str = "main", more: str = "") -> str:
    return (
        "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec:\n"
        f"  entrypoint: {entry}\n{more}  templates:\n{templates}"
    )


SAY = "  - {name: say, container: {image: x}}\n"


def dag(*tasks: str) -> str:
    """A DAG `main` of these tasks, and a container `say`."""
    lines = "".join(f"      - {task}\n" for task in tasks)
    return f"  - name: main\n    dag:\n      tasks:\n{lines}{SAY}"


def box(inside: str) -> str:
    """A single container template `main`."""
    return f"  - name: main\n    container: {{image: x, {inside}}}\n"


JOB = '<job id="A" runtime="1"/><job id="B" runtime="1"/>'
TEN = "[0,1,2,3,4,5,6,7,8,9]"
LEVELS = "".join(
    f"  - name: l{i}\n    dag: {{tasks: [{{name: x, template: l{i + 1}, withItems: {TEN}}}]}}\n"
    for i in range(7)
)
LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 10) + "]\n" for i in range(1, 9)
)
A, B = {"id": "a"}, {"id": "b"}

CASES: dict[str, str] = {
    # what is no workflow
    "empty": " \n",
    "prose": "hello there",
    "other json": '{"a": 1}',
    "not utf-8": "kind: Workflow # argoproj.io/\n\x00",
    # WfFormat
    "wf:no version": wf(version=None),
    "wf:unknown version": wf(version="2.0"),
    "wf:flat shape": '{"schemaVersion": "1.4", "workflow": {"tasks": []}}',
    "wf:no workflow": '{"schemaVersion": "1.5"}',
    "wf:workflow is a list": '{"schemaVersion": "1.5", "workflow": []}',
    "wf:no tasks": wf([]),
    "wf:tasks is text": wf("many"),  # type: ignore[arg-type]
    "wf:a task is a number": wf([A, 3]),  # type: ignore[list-item]
    "wf:no id": wf([{"name": "a"}]),
    "wf:empty id": wf([{"id": ""}]),
    "wf:id of control characters": wf([{"id": "a\nb"}]),
    "wf:id too long": wf([{"id": "x" * 300}]),
    "wf:duplicate id": wf([A, B, A]),
    "wf:missing parent": wf([{"id": "step-1"}, {"id": "b", "parents": ["step-2"]}]),
    "wf:missing child": wf([{"id": "a", "children": ["zzz"]}]),
    "wf:sides differ": wf(
        [{"id": "a", "children": ["b"]}, {"id": "b", "parents": []}, {"id": "c", "parents": ["a"]}]
    ),
    "wf:self": wf([{"id": "a", "parents": ["a"]}]),
    "wf:cycle": wf([{"id": "a", "parents": ["b"]}, {"id": "b", "parents": ["a"]}]),
    "wf:cycle through files": wf(
        [
            {"id": "a", "inputFiles": ["y"], "outputFiles": ["x"]},
            {"id": "b", "inputFiles": ["x"], "outputFiles": ["y"]},
        ]
    ),
    "wf:parents is text": wf([A, {"id": "b", "parents": "a"}]),
    "wf:a parent is a number": wf([A, {"id": "b", "parents": ["a", 7]}]),
    "wf:unknown file": wf(
        [{"id": "a", "inputFiles": ["data.txt"]}], [{"id": "data.csv", "sizeInBytes": 1}]
    ),
    "wf:duplicate file": wf([A], [{"id": "f", "sizeInBytes": 1}, {"id": "f", "sizeInBytes": 2}]),
    "wf:negative size": wf([A], [{"id": "f", "sizeInBytes": -1}]),
    "wf:size of 10^30": wf([A], [{"id": "f", "sizeInBytes": 10**30}]),
    "wf:size of 400 digits": wf([A], [{"id": "f", "sizeInBytes": 10**400}]),
    "wf:no size": wf([A], [{"id": "f"}]),
    "wf:two writers": wf(
        [
            {"id": "a", "outputFiles": ["x"]},
            {"id": "b", "outputFiles": ["x"]},
            {"id": "c", "inputFiles": ["x"]},
        ]
    ),
    "wf:negative runtime": wf(runs=[run("a", runtimeInSeconds=-1), run("b")]),
    "wf:NaN runtime": wf(runs=[run("a", runtimeInSeconds=float("nan")), run("b")]),
    "wf:infinite runtime": wf(runs=[run("a"), run("b")]).replace("1.0", "1e999", 1),
    "wf:runtime is text": wf(runs=[run("a"), run("b", runtimeInSeconds="3")]),
    "wf:runtime is true": wf(runs=[run("a"), run("b", runtimeInSeconds=True)]),
    "wf:no run of a task": wf(runs=[run("a")]),
    "wf:run of nobody": wf(runs=[run("a"), run("b"), run("cc")]),
    "wf:two runs": wf(runs=[run("a"), run("b"), run("b")]),
    "wf:a million cores": wf(runs=[run("a"), run("b", coreCount=1_000_000)]),
    "wf:key twice": '{"schemaVersion": "1.5",\n "workflow": {"specification":'
    ' {"tasks": [{"id": "a", "parents": [], "parents": ["a"]}]}}}',
    "wf:syntax": '{"schemaVersion": "1.5",\n "workflow": ',
    "wf:deep": '{"schemaVersion": ' + "[" * 100_000,
    # the prototype's JSON
    "gcc:no tasks": gcc(""),
    "gcc:unknown key": gcc('{"id": "a", "cpu": 1}, {"id": "b"}'),
    "gcc:unknown top key": gcc(more=', "data_volume": {}'),
    "gcc:duplicate": gcc('{"id": "b"}, {"id": "b"}'),
    "gcc:unknown task": gcc('{"id": "b"}'),
    "gcc:unknown after": gcc('{"id": "a"}'),
    "gcc:cycle": gcc().replace('"b": ["a"]', '"b": ["a"], "a": ["b"]'),
    "gcc:ambiguous volume": '{"tasks": [{"id": "a"}, {"id": "a-b"}, {"id": "b-c"}, {"id": "c"}],'
    ' "dependencies": {"c": ["a-b"], "b-c": ["a"]}, "data_volumes": {"a-b-c": 7}}',
    "gcc:unknown volume": gcc(more=', "data_volumes": {"a-x": 1}'),
    "gcc:volume without a hyphen": gcc(more=', "data_volumes": {"ab": 1}'),
    "gcc:volume against the dependency": gcc(more=', "data_volumes": {"b-a": 1}'),
    "gcc:negative volume": gcc(more=', "data_volumes": {"a-b": -1}'),
    "gcc:infinite volume": gcc(more=', "data_volumes": {"a-b": 1e999}'),
    "gcc:cpu with a wrong unit": gcc('{"id": "a", "cpu_req": "500M B"}, {"id": "b"}'),
    "gcc:negative cpu": gcc('{"id": "a", "cpu_req": -1}, {"id": "b"}'),
    "gcc:memory as bare text": gcc('{"id": "a", "mem_req": "128"}, {"id": "b"}'),
    "gcc:memory of 4 GB": gcc('{"id": "a", "mem_req": "4GB"}, {"id": "b"}'),
    "gcc:image is a number": gcc('{"id": "a", "image": 3}, {"id": "b"}'),
    "gcc:env is a list": gcc(
        '{"id": "a", "command": ["x"], "env": []}, {"id": "b", "image": "y", "env": [1]}'
    ),
    # Pegasus
    "dax:doctype": '<!DOCTYPE a [<!ENTITY x "y">]>\n' + dax(JOB),
    "dax:no jobs": dax(""),
    "dax:version": dax(JOB, version="5.0"),
    "dax:duplicate": dax(JOB + '\n<job id="A"/>'),
    "dax:no id": dax('<job name="A"/>'),
    "dax:missing parent": dax(JOB + '\n<child ref="B"><parent ref="C"/></child>'),
    "dax:cycle": dax(
        JOB + '<child ref="B"><parent ref="A"/></child><child ref="A"><parent ref="B"/></child>'
    ),
    "dax:runtime": dax('<job id="A" runtime="nan"/>'),
    "dax:size": dax('<job id="A">\n<uses file="f" link="input" size="-5"/></job>'),
    "dax:link": dax('<job id="A">\n<uses file="f" link="sideways"/></job>'),
    "dax:inner workflow": dax('<dax id="A"/>'),
    "dax:syntax": '<adag>\n<job id="A">\n</adag>',
    "dax:deep": dax("<x>" * 100 + "</x>" * 100),
    # Argo
    "argo:no entry point": argo(SAY, entry="''"),
    "argo:unknown entry point": argo(SAY, entry="sya"),
    "argo:duplicate template": argo(SAY + SAY, entry="say"),
    "argo:duplicate task": argo(dag("{name: a, template: say}", "{name: a, template: say}")),
    "argo:unknown template": argo(dag("{name: a, template: sai}")),
    "argo:missing dependency": argo(dag("{name: a, template: say, dependencies: [b]}")),
    "argo:cycle": argo(
        dag(
            "{name: a, template: say}",
            "{name: b, template: say, dependencies: [a, c]}",
            "{name: c, template: say, dependencies: [b]}",
        )
    ),
    "argo:all wait": argo(
        dag(
            "{name: a, template: say, dependencies: [b]}",
            "{name: b, template: say, dependencies: [a]}",
        )
    ),
    "argo:or": argo(dag("{name: a, template: say}", "{name: b, template: say, depends: a || a}")),
    "argo:failed": argo(
        dag("{name: a, template: say}", "{name: b, template: say, depends: a.Failed}")
    ),
    "argo:when": argo(dag("{name: a, template: say, when: '1 == 1'}")),
    "argo:withParam": argo(dag("{name: a, template: say, withParam: '[1]'}")),
    "argo:withSequence": argo(dag("{name: a, template: say, withSequence: {count: 10000000}}")),
    "argo:explosion": argo(LEVELS + "  - {name: l7, container: {image: x}}\n", entry="l0"),
    "argo:recursion": argo("  - name: main\n    dag: {tasks: [{name: a, template: main}]}\n"),
    "argo:no items": argo(dag("{name: a, template: say, withItems: []}")),
    "argo:misspelt key": argo(dag("{name: a, template: say, dependancies: [b]}")),
    "argo:unknown parameter": argo(box("args: ['{{workflow.parameters.x}}']")),
    "argo:output of a task": argo(box("args: ['{{tasks.a.outputs.result}}']")),
    "argo:argument nobody takes": argo(
        dag("{name: a, template: say, arguments: {parameters: [{name: x, value: 1}]}}")
    ),
    "argo:suspend": argo("  - {name: main, suspend: {}}\n").replace("{}", "{duration: 1}"),
    "argo:cpu": argo(box("resources: {requests: {cpu: lots}}")),
    "argo:deadline": argo("  - {name: main, activeDeadlineSeconds: -1, container: {image: x}}\n"),
    "argo:key twice": argo(SAY, entry="say") + "kind: Workflow\n",
    "argo:alias bomb": argo(SAY, entry="say") + LAUGHS,
    "argo:two documents": argo(SAY, entry="say") + "---\n" + argo(SAY, entry="say"),
    "argo:a tag": argo(SAY, entry="say") + "x: !!python/object:os.system 1\n",
}
