"""Whatever bytes a reader is given: a scenario or an InputError, soon, and nothing else."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cerebrum import traces
from cerebrum.model.errors import InputError
from cerebrum.model.scenario import Scenario
from cerebrum.traces import table
from cerebrum.traces.synthetic import plain
from tests.traces.bad import build, objects, rows

LONGEST_S = 10.0
QUICK = settings(
    max_examples=int(os.environ.get("CEREBRUM_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def table_zip() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        table.write(plain(nodes=2, tasks=20), Path(folder) / "x.zip")
        return (Path(folder) / "x.zip").read_bytes()


POD = rows.POD + rows.GOOD_POD + "p1,2000,64,0,0,,5,25,\n"
SEEDS: dict[str, tuple[str, dict[str, bytes]]] = {
    "openb": ("", {rows.NODE_FILE: rows.NODES.encode(), rows.POD_FILE: POD.encode()}),
    "kubernetes": ("all.yaml", {"all.yaml": (objects.NODE + objects.POD).encode()}),
    "simon": (
        "cluster.yaml",
        {
            "cluster.yaml": objects.SIMON.encode(),
            "objects/all.yaml": (objects.NODE + objects.POD).encode(),
        },
    ),
    "swf": ("a.swf", {"a.swf": ("; MaxProcs: 8\n" + rows.job() + rows.job(f1=2)).encode()}),
    "ecsched": ("a.txt", {"a.txt": b"1 0 71 1 1\n2 21 56 4 2\n"}),
    "gaia": ("a.csv", {"a.csv": b"arrival_time,length,cpus\n0.0,60.5,1\n3.0,1,4\n"}),
    "carbon_csv": ("", {name: text.encode() for name, text in rows.CARBON.items()}),
    "synthetic": ("a.yaml", {"a.yaml": objects.GENERATED.encode()}),
    "table": ("a.zip", {"a.zip": table_zip()}),
}
"""A small valid input of every format: what is read of it, and its files."""

WORDS = [
    b"", b"-1", b"0", b"1e308", b"nan", b"inf", b"9" * 25, b"-0", b"\xff", b"\0", b"\n", b"\r\n",
    b",", b";", b" ", b"\t", b'"', b"'", b"{", b"[", b": ", b"- ", b"&a ", b"*a", b"!!x ", b"---\n",
    b"null", b"true", b"~", b"|\n", b"<<: ", b"0x1F", b"1_000", b"1Gi", b"\xe2\x80\xa8",
    b"\xed\xa0\x80", "\N{SUPERSCRIPT TWO}".encode(), "\N{ARABIC-INDIC DIGIT THREE}".encode(),
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with up to six pieces cut out, put in, doubled or replaced by hostile words."""
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        middle = draw(
            st.one_of(
                st.sampled_from(WORDS),
                st.binary(max_size=4),
                st.just(data[start:end] * 2),
                st.integers(-(10**19), 10**19).map(lambda n: str(n).encode()),
            )
        )
        data = data[:start] + middle + data[end:]
    return data


def read_or_refuse(read: Callable[[], Scenario]) -> None:
    try:
        result = read()
    except InputError as error:
        result = str(error)
    if isinstance(result, str):
        assert len(result.splitlines()) == 1, result
    else:
        check(result)


def attempt(format: str, read: str, files: dict[str, bytes]) -> None:
    """Read the files; anything but a scenario or an InputError of one line is a failure."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        began = time.perf_counter()
        read_or_refuse(lambda: traces.read(Path(folder, read), format))
        assert time.perf_counter() - began < LONGEST_S


def check(scenario: Scenario) -> None:
    """What a scenario promises, whoever made it."""
    assert len(set(scenario.tasks.names)) == len(scenario.tasks)
    assert (scenario.tasks.submit_s >= 0).all()
    assert len(scenario.cluster) > 0
    for task in scenario.tasks[:3]:
        assert task.task_class.resources.cpu_milli >= 0


def test_there_is_a_valid_input_of_every_format(tmp_path: Path) -> None:
    assert SEEDS.keys() == traces.FORMATS.keys()
    for format, (read, files) in SEEDS.items():
        for name, data in files.items():
            (tmp_path / format / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / format / name).write_bytes(data)
        assert traces.detect(tmp_path / format / read) == format
        check(traces.read(tmp_path / format / read))


@pytest.mark.parametrize("format", list(traces.FORMATS))
@QUICK
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(format: str, data: st.DataObject) -> None:
    read, files = SEEDS[format]
    name = data.draw(st.sampled_from(sorted(files)))
    attempt(format, read, {**files, name: data.draw(mutated(files[name]))})


@pytest.mark.parametrize("format", list(traces.FORMATS))
@QUICK
@given(content=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(format: str, content: bytes) -> None:
    read, files = SEEDS[format]
    attempt(format, read, {**files, sorted(files)[-1]: content})


@pytest.mark.parametrize("format", list(traces.FORMATS))
@QUICK
@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused(format: str, text: str) -> None:
    read, files = SEEDS[format]
    try:
        content = text.encode()
    except UnicodeEncodeError:
        content = text.encode("utf-8", "surrogatepass")
    attempt(format, read, {**files, sorted(files)[0]: content})


@QUICK
@given(data=st.data())
def test_damaged_gzip_is_read_or_refused(data: st.DataObject) -> None:
    packed = gzip.compress(SEEDS["gaia"][1]["a.csv"], mtime=0)
    attempt("gaia", "a.csv.gz", {"a.csv.gz": data.draw(mutated(packed))})


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(SEEDS["table"][1]["a.zip"])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@QUICK
@given(data=st.data())
def test_damaged_parquet_with_a_right_checksum_is_read_or_refused(data: st.DataObject) -> None:
    """Someone who edits a table on purpose can write its checksum too."""
    parts = members()
    name = data.draw(st.sampled_from(["nodes", "classes", "tasks", "jobs", "events"]))
    damaged = data.draw(mutated(parts[f"{name}.parquet"]))
    height = data.draw(st.sampled_from([0, 2, 3, 20]))
    build.replace_table(parts, name, damaged, height)
    attempt("table", "scenario", {f"scenario/{key}": value for key, value in parts.items()})


@QUICK
@given(data=st.data())
def test_damaged_metadata_is_read_or_refused(data: st.DataObject) -> None:
    parts = members()
    parts["meta.json"] = data.draw(mutated(parts["meta.json"]))
    attempt("table", "scenario", {f"scenario/{key}": value for key, value in parts.items()})


@pytest.mark.parametrize("name", list(traces.GENERATED))
@QUICK
@given(
    options=st.dictionaries(
        st.sampled_from(["nodes", "tasks", "seed", "load", "departures", "x"]),
        st.one_of(
            st.integers(-5, 300), st.floats(), st.sampled_from(["true", "false", "", "many", "1e9"])
        ),
        max_size=4,
    )
)
def test_any_options_of_a_generated_name_are_taken_or_refused(
    name: str, options: dict[str, object]
) -> None:
    spec = ",".join(f"{key}={value}" for key, value in options.items())
    read_or_refuse(lambda: traces.read(f"{name}:{spec}"))
