"""Federations in a few words and from files, and latency between Google's regions."""

from __future__ import annotations

import numpy as np
import pytest

from cerebrum.model.errors import ConfigError, InputError, TraceError, UnknownName
from cerebrum.model.federation import Link
from cerebrum.traces.federations import NodeShape, read_federation
from cerebrum.traces.gcp_latency import MATRIX, REGIONS, read_gcp_latency

FILE = """
clusters:
  - name: east
    region: us-east4-b
    nodes:
      - {count: 2, cores: 16, memory_gib: 64, speed: 1.5}
      - {cores: 32, memory_gib: 256, gpus: 4, gpu_model: A100}
  - {name: west, region: europe-west3, nodes: [{count: 3, cores: 8}]}
  - {name: lab, nodes: [{}]}
network:
  between: {latency_ms: 20, bandwidth_mb_s: 125, cost_per_gb: 0.02}
  within: {latency_ms: 0.5}
  links:
    - {from: east, to: lab, bandwidth_mb_s: 12.5}
    - {from: lab, to: west, latency_ms: 1}
    - {from: west, to: lab, latency_ms: 2}
"""


def write(folder, text: str):
    path = folder / "federation.yaml"
    path.write_text(text, "utf-8")
    return path


def test_words_give_clusters_of_nodes_that_are_alike() -> None:
    made = read_federation("2x4", NodeShape(cores=8, memory_mib=1024))
    assert [(c.name, len(c)) for c in made.clusters] == [("cluster-1", 4), ("cluster-2", 4)]
    assert {n.capacity.cpu_milli for c in made.clusters for n in c} == {8000}
    assert made.network.transfer_s(0, 1, 125.0) == pytest.approx(0.02 + 1.0)
    named = read_federation(" east:4, west:8 ", between=Link(0.5, 10.0))
    assert [(c.name, len(c)) for c in named.clusters] == [("east", 4), ("west", 8)]
    assert named.network.transfer_s(1, 0, 10.0) == 1.5


def test_speeds_are_drawn_from_the_seed() -> None:
    shape = NodeShape(speed=(0.5, 2.0))
    speeds = [
        [n.speed for c in read_federation("2x3", shape, seed=seed).clusters for n in c]
        for seed in (1, 1, 2)
    ]
    assert speeds[0] == speeds[1] != speeds[2]
    assert all(0.5 <= speed <= 2 for speed in speeds[0])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "expected 2x4"),
        ("2x", "got '2x'"),
        ("east:4,west", "got 'west'"),
        ("0x4", "at least one node"),
        ("2x0", "at least one node"),
        ("9999x1", "at most 1,000 clusters"),
        ("999x999999", "at most 100,000 nodes"),
        ("east:4,east:2", "distinct cluster names"),
    ],
)
def test_words_that_mean_nothing_are_refused(words: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_federation(words)


def test_shapes_that_no_node_has_are_refused() -> None:
    for shape in (NodeShape(speed=(2.0, 1.0)), NodeShape(speed=(0.0, 1.0)), NodeShape(cores=0)):
        with pytest.raises(ConfigError):
            read_federation("1x1", shape)


def test_a_file_says_what_its_nodes_and_links_are(tmp_path) -> None:
    made = read_federation(write(tmp_path, FILE))
    east, west, lab = made.clusters
    assert [n.name for n in east] == ["east-0", "east-1", "east-2"]
    assert [n.speed for n in east] == [1.5, 1.5, 1.0]
    assert (east.gpu_capacity, east.nodes[2].gpu_model) == (4, "A100")
    assert east.nodes[2].capacity.memory_mib == 256 * 1024
    assert (len(west), west.zone, lab.zone) == (3, "europe-west3", "")
    network = made.network
    assert network.latency_s[0].tolist() == [0.0005, 0.02, 0.02]
    assert network.bandwidth_mb_s[0].tolist() == [1250, 125, 12.5]
    assert network.bandwidth_mb_s[2, 0] == 12.5  # a link written once holds both ways
    assert (network.latency_s[2, 1], network.latency_s[1, 2]) == (0.001, 0.002)
    assert network.cost_per_gb[0, 1] == 0.02


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gpu_model: A100", "gpu_modle: A100", "did you mean 'gpu_model'"),
        ("cores: 16", "cores: -1", r"clusters\[0\].nodes\[0\].cores: expected a number"),
        ("speed: 1.5", "speed: .nan", "speed: expected a number"),
        ("to: lab", "to: labs", "did you mean 'lab'"),
        ("nodes: [{}]", "nodes: []", "at least one node"),
        ("name: west", "name: east", "distinct cluster names"),
        ("bandwidth_mb_s: 12.5", "bandwidth_mb_s: 0", "bandwidth_mb_s"),
        ("count: 3", "count: 3000000", "expected a whole number"),
        ("network:", "netwrok:", "did you mean 'network'"),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_field(tmp_path, old, new, message) -> None:
    with pytest.raises(TraceError, match=message) as raised:
        read_federation(write(tmp_path, FILE.replace(old, new, 1)))
    assert raised.value.place.line is not None


def test_a_file_is_not_given_a_shape_too(tmp_path) -> None:
    with pytest.raises(ConfigError, match="says itself"):
        read_federation(write(tmp_path, FILE), NodeShape())


@pytest.mark.needs(data="network")
def test_latency_between_regions_is_as_measured(shared_data, tmp_path) -> None:
    measured = read_gcp_latency(shared_data / "network")
    assert measured.round_trip_ms.shape == (34, 34)
    assert measured.latency_s("asia-east1", "asia-east2") == 0.013
    assert measured.latency_s("asia-east1-b", "HK") == 0.013
    # Two regions share a grid zone: 5 ms within one, 18 ms between them.
    assert measured.latency_s("us-east4", "us-east5") == 0.018
    with pytest.raises(UnknownName, match="did you mean 'europe-west3'"):
        measured.latency_s("europe-vest3", "asia-east1")
    text = FILE.replace("within:", f"gcp_latency: {shared_data / 'network'}\n  within:")
    latency = read_federation(write(tmp_path, text)).network.latency_s
    assert latency[0, 1] == measured.latency_s("us-east4", "europe-west3")
    assert latency[0, 2] == 0.02  # the lab is in no region
    assert np.diag(latency).tolist() == [0.0005] * 3


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("origin,A,B\nA,1,2\nB,2,x\n", "got 'x'"),
        ("origin,A,B\nA,1,2\nB,2,-1\n", "got '-1'"),
        ("origin,A,B\nA,1,2\nB,2,nan\n", "got 'nan'"),
        ("origin,A,B\nA,1,2\n", "expected 2 rows"),
        ("origin,A,B\nB,1,2\nA,2,1\n", "expected 'A'"),
        ("origin,A,B\nA,1\nB,2,1\n", "expected 'A' and 2 times"),
        ("origin,B,A\nA,1,2\nB,2,1\n", "expected a column for each"),
        ("", "found an empty file"),
    ],
)
def test_a_damaged_matrix_is_refused(tmp_path, matrix: str, message: str) -> None:
    (tmp_path / REGIONS).write_text('{"a-b1": "A", "a-b2": "B"}', "utf-8")
    (tmp_path / MATRIX).write_text(matrix, "utf-8")
    with pytest.raises(TraceError, match=message):
        read_gcp_latency(tmp_path)
