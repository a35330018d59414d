"""The formats by name, and finding out which one a file is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from cerebrum import traces
from cerebrum.model.errors import ConfigError, TraceError, UnknownName


@pytest.mark.parametrize("name", list(traces.FORMATS))
def test_every_format_keeps_the_contract(name: str):
    module = traces.load_format(name)
    assert module.DESCRIPTION
    assert all(extension.startswith(".") for extension in module.EXTENSIONS)
    assert module.sniff(Path("nothing-here.txt"), b"no format begins like this\n") is False


@pytest.mark.parametrize(
    ("path", "format"),
    [
        ("openb", "openb"),
        ("openb/openb_pod_list_default.csv", "openb"),
        ("openb/openb_node_list_gpu_node.yaml", "kubernetes"),
        ("jobs/lublin_256.swf.gz", "swf"),
        ("jobs/gaia_pai_1k.csv.gz", "gaia"),
        ("ecsched/Input_85.txt", "ecsched"),
    ],
)
def test_real_files_are_recognised(shared_data: Path, path: str, format: str):
    assert traces.detect(shared_data / path) == format


def test_an_unknown_format_is_answered_with_the_nearest(tmp_path: Path):
    with pytest.raises(UnknownName, match="unknown format 'opnb': did you mean 'openb'"):
        traces.read(tmp_path, "opnb")


def test_a_file_nobody_claims_lists_the_formats(tmp_path: Path):
    (tmp_path / "a.txt").write_text("hello world, this is a letter\n")
    with pytest.raises(
        TraceError, match=r"a\.txt: not recognised; name its format, one of .*openb"
    ):
        traces.read(tmp_path / "a.txt")


def test_what_cannot_be_written_says_what_can(tmp_path: Path, shared_data: Path):
    scenario = traces.read(shared_data / "openb")
    with pytest.raises(
        ConfigError, match=r"'simon' can be read but not written: choose one of .*openb"
    ):
        traces.write(scenario, tmp_path / "x", "simon")


def test_a_generated_scenario_takes_options_in_its_name():
    with pytest.raises(ConfigError, match="expected synthetic:key=value,key=value, got 'nodes'"):
        traces.read("synthetic:nodes")
    with pytest.raises(ConfigError, match="format 'synthetic' has no option 'qqq'"):
        traces.read("openb-like:qqq=3")


def test_an_archive_is_called_one_before_formats_are_tried(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04rest")
    with pytest.raises(TraceError, match=r"a\.zip: found a zip archive; unpack it first"):
        traces.read(tmp_path / "a.zip")
