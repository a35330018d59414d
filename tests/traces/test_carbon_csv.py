"""The carbon prototype's files, as its generator writes them and its loaders mean them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cerebrum import traces
from cerebrum.model.cluster import PowerModel
from cerebrum.model.resources import Resources
from cerebrum.traces import carbon_csv
from tests.traces.bad.rows import CARBON

# pkg/generator/generator.go of g-uva/KubEnergySched @ 4041a69 writes these nodes.
GENERATED = (
    "name,cpu,mem,ci_profile\n"
    + "".join(f"small-{i},4,8,static:100\n" for i in range(5))
    + "".join(f"med-{i},8,16,static:150\n" for i in range(3))
    + "".join(f"burst-{i},16,32,sine:150:50:3600\n" for i in range(2))
    + "gpu-0,32,64,randwalk:100:200:300\n"
)
WORK = (
    "id,submit,cpu,mem,duration,tag\n"
    "job-0,2025-06-04T20:34:04+02:00,1,1,45,\n"
    "job-1,2025-06-04T18:34:06Z,0.5,20,150,\n"
    "job-2,2025-06-04T20:34:04.5+02:00,8,10,360,B\n"
)


def folder(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return tmp_path


def test_the_generators_files_are_read(tmp_path: Path) -> None:
    path = folder(tmp_path, nodes=GENERATED, workloads=WORK)
    assert traces.detect(path) == "carbon_csv"
    scenario = traces.read(path)
    assert len(scenario.cluster) == 11
    assert scenario.cluster.nodes[-1].labels == {"carbon/profile": "randwalk:100:200:300"}
    assert str(scenario.report) == "3 rows read, 3 kept"
    assert scenario.report.notes == ("tags are left out",)
    assert scenario.start_unix_s == 1_749_062_044
    assert scenario.tasks.submit_s.tolist() == [0, 2, 0.5]
    assert scenario.tasks.duration_s.tolist() == [45, 150, 360]
    assert scenario.tasks[1].task_class.resources == Resources(500, 20 * 1024)


def test_a_file_of_the_folder_stands_for_it(tmp_path: Path) -> None:
    path = folder(tmp_path, nodes=GENERATED, workloads=WORK)
    whole = traces.read(path)
    for name in ("nodes.csv", "workloads.csv"):
        scenario = traces.read(path / name)
        assert scenario.cluster == whole.cluster
        assert list(scenario.tasks.names) == list(whole.tasks.names)


def test_power_grows_with_the_cores_in_use(tmp_path: Path) -> None:
    """0.15 peak + 0.85 peak x cores used / cores, as in pkg/metrics/metrics.go: for 4 cores of a
    300 W node 4 packages of 11.25 to 75 W; 400 W where nothing is said."""
    nodes = "name,cpu,mem,ci_profile,site_id,peak_power_w\na,4,8,static:1,,300\nb,4,8,static:1,,\n"
    scenario = traces.read(folder(tmp_path, nodes=nodes, workloads=WORK.split("job-1")[0]))
    a, b = scenario.cluster
    assert a.power == PowerModel(cpu_idle_w=11.25, cpu_full_w=75.0, cpu_package_milli=1000)
    assert b.power == PowerModel(cpu_idle_w=15.0, cpu_full_w=100.0, cpu_package_milli=1000)


def test_sites_are_labels_and_one_region_is_the_zone(tmp_path: Path) -> None:
    for name, text in CARBON.items():
        (tmp_path / name).write_text(text)
    scenario = traces.read(tmp_path)
    assert scenario.cluster.zone == "DE"
    assert dict(scenario.cluster.nodes[0].labels) == {
        "carbon/profile": "static:100",
        "carbon/site": "de",
        "carbon/pue": "1.4",
        "carbon/k": "1",
        "carbon/region": "DE",
    }


def test_a_factor_of_zero_is_one_as_in_the_prototype(tmp_path: Path) -> None:
    for name, text in CARBON.items():
        (tmp_path / name).write_text(text.replace("1.4", "0"))
    assert traces.read(tmp_path).cluster.nodes[0].labels["carbon/pue"] == "1"


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        ("static:0", ""),
        ("sine:150:50:3600", ""),
        ("randwalk:100:100:300", ""),
        ("static:nan", "expected static:v with numbers of at least 0, got 'static:nan'"),
        ("randwalk:3:2:1", "expected min of at most max, got 'randwalk:3:2:1'"),
        (
            "",
            "expected static:v, sine:mean:amp:periodSec, randwalk:min:max:stepSec, got ''",
        ),
    ],
)
def test_profiles_are_checked(profile: str, problem: str) -> None:
    assert carbon_csv.profile_problem(profile) == problem
