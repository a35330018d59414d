"""Bad tables: openb, SWF, ECSched, GAIA and the carbon prototype's CSV files."""

from __future__ import annotations

from tests.traces.bad._case import Case

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\nn1,96000,4096,4,T4\n"
POD = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time,"
    "scheduled_time\n"
)
GOOD_POD = "p0,1000,512,1,460,T4,0,30,10\n"
NODE_FILE, POD_FILE = "openb_node_list_gpu_node.csv", "openb_pod_list_default.csv"


def openb(name: str, pods: str = POD + GOOD_POD, nodes: str = NODES) -> Case:
    return Case(f"openb: {name}", {NODE_FILE: nodes, POD_FILE: pods})


def swf(name: str, text: str) -> Case:
    return Case(f"swf: {name}", {"log.swf": text})


def ecsched(name: str, text: str) -> Case:
    return Case(f"ecsched: {name}", {"Input.txt": text}, options={"format": "ecsched"})


def gaia(name: str, rows: str, header: str = "arrival_time,length,cpus\n") -> Case:
    return Case(f"gaia: {name}", {"jobs.csv": header + rows}, options={"format": "gaia"})


CARBON = {
    "nodes.csv": "name,cpu,mem,ci_profile,site_id,peak_power_w\nn0,4,8,static:100,de,300\n",
    "workloads.csv": "id,submit,cpu,mem,duration,tag\nj0,2025-06-04T20:34:04Z,1,2,60,A\n",
    "sites.csv": "id,pue,k,ci_region\nde,1.4,1,DE\n",
}


def carbon(name: str, file: str, text: str) -> Case:
    head = CARBON[file].split("\n")[0]
    return Case(f"carbon: {name}", {**CARBON, file: f"{head}\n{text}\n"})


def job(**fields: object) -> str:
    """A line of SWF: a good job but for the fields given, by number (f1 to f18)."""
    good = [1, 0, 3, 60, 4, -1, -1, 4, 90, -1, 1, 7, 1, -1, 1, -1, -1, -1]
    return " ".join(str(fields.get(f"f{i}", value)) for i, value in enumerate(good, 1)) + "\n"


CASES = [
    openb("negative cpu", POD + GOOD_POD + "p1,-1,512,0,0,,0,9,1\n"),
    openb("not a number", POD + GOOD_POD + "p1,1000,NaN,0,0,,0,9,1\n"),
    openb("infinite time", POD + "p1,1000,512,0,0,,inf,9,1\n"),
    openb("fractional millicores", POD + "p1,4.5,512,0,0,,0,9,1\n"),
    openb("a number too large for 64 bits", POD + f"p1,1{'0' * 30},512,0,0,,0,9,1\n"),
    openb("twice the same pod", POD + GOOD_POD + "p1,1,1,0,0,,0,9,1\n" + GOOD_POD),
    openb("twice the same node", nodes=NODES + "n0,64000,262144,2,P100\n"),
    openb("unknown GPU model", POD + "p1,1000,512,1,500,V100M23,0,9,1\n"),
    openb("8 GPUs on a 4-GPU cluster", POD + "p1,1000,512,8,1000,,0,9,1\n"),
    openb("more memory than any node", POD + "p1,1000,999999,0,0,,0,9,1\n"),
    openb("more than a whole GPU", POD + "p1,1000,512,1,1200,,0,9,1\n"),
    openb("a share of two GPUs", POD + "p1,1000,512,2,500,,0,9,1\n"),
    openb("a GPU without a share", POD + "p1,1000,512,1,0,,0,9,1\n"),
    openb("17 GPUs", nodes=NODES + "n2,64000,262144,17,P100\n"),
    openb("a GPU model without GPUs", nodes=NODES + "n2,64000,262144,0,P100\n"),
    openb("a node without a name", nodes=NODES + ",64000,262144,2,P100\n"),
    openb("misspelt column", POD.replace("num_gpu", "num_gpus") + GOOD_POD),
    openb("missing column", "name,cpu_milli,num_gpu,gpu_milli\np0,1000,1,460\n"),
    openb("unknown column", POD.replace("gpu_spec", "gpu_specs") + GOOD_POD),
    openb("a line separator in a name", POD.replace("gpu_spec", "\u2028gpu_spec") + GOOD_POD),
    openb("a column twice", POD.replace("memory_mib", "cpu_milli") + GOOD_POD),
    openb("truncated row", POD + GOOD_POD + "p1,1000,51"),
    openb("one field too many", POD + GOOD_POD.replace("\n", ",7\n")),
    openb("a blank line inside", POD + "\n" + GOOD_POD),
    openb("quoted fields", POD + GOOD_POD.replace("p0", '"p0"')),
    openb("header only", POD),
    openb("empty file", ""),
    openb("gone before it started", POD + "p1,1000,512,0,0,,0,5,10\n"),
    openb("started before it was created", POD + "p1,1000,512,0,0,,8,9,1\n"),
    Case(
        "openb: Latin-1",
        {NODE_FILE: NODES, POD_FILE: (POD + "p\xe9,1,1,0,0,,0,9,1\n").encode("latin-1")},
    ),
    Case("openb: UTF-16", {NODE_FILE: NODES, POD_FILE: (POD + GOOD_POD).encode("utf-16")}),
    Case("openb: a NUL byte", {NODE_FILE: NODES, POD_FILE: POD + GOOD_POD.replace("T4", "T\x00")}),
    Case(
        "openb: old Mac line ends",
        {NODE_FILE: NODES, POD_FILE: (POD + GOOD_POD).replace("\n", "\r")},
    ),
    Case("openb: no pod list", {NODE_FILE: NODES, "readme.csv": "x\n"}, read=NODE_FILE),
    swf("truncated line", job() + job(f1=2)[:20]),
    swf("negative submit time", job() + job(f1=2, f2=-5)),
    swf("not a number", job(f4="nan")),
    swf("text for a number", job() + job(f1=2, f8="four")),
    swf("a billion processors", job(f5=10**9, f8=10**9)),
    swf("half a processor", job(f8="0.5")),
    swf("twice the same job", "; MaxProcs: 64\n" + job() + job(f2=9)),
    swf("unknown status", job(f11=9)),
    swf("only jobs that never ran", job(f4=0) + job(f1=2, f4=-1, f9=-1)),
    swf("only jobs larger than the machine", "; MaxProcs: 2\n" + job()),
    swf("only comments", "; MaxProcs: 64\n; MaxJobs: 1000000000\n"),
    Case("swf: unknown choice", {"log.swf": job()}, options={"processors": "alocated"}),
    Case("swf: unknown option", {"log.swf": job()}, options={"node_processor": 4}),
    Case(
        "swf: a gang of a billion",
        {"log.swf": "".join(job(f1=i, f8=9_999_999) for i in (1, 2))},
        options={"node_processors": 1},
    ),
    ecsched("four numbers", "1 0 71 1 1\n2 21 56 4\n"),
    ecsched("negative", "1 0 71 1 1\n2 -21 56 4 2\n"),
    ecsched("a fraction", "1 0 71.5 1 1\n"),
    ecsched("a header", "id submit duration cpu mem\n1 0 71 1 1\n"),
    ecsched("twice the same id", "1 0 71 1 1\n2 0 71 1 1\n1 0 71 1 1\n"),
    ecsched("larger than every node", "1 0 71 1 51\n"),
    Case(
        "ecsched: unknown cluster",
        {"Input.txt": "1 0 71 1 1\n"},
        options={"format": "ecsched", "cluster": "publishd"},
    ),
    gaia("negative arrival", "0.0,60.0,1\n-1.0,60.0,1\n"),
    gaia("not a number", "0.0,nan,1\n"),
    gaia("no cpus", "0.0,60.0,0\n"),
    gaia("half a cpu", "0.0,60.0,0.5\n"),
    gaia("a billion cpus", "0.0,60.0,1000000000\n"),
    gaia("misspelt column", "0.0,60.0,1\n", header="arrival,length,cpus\n"),
    gaia("truncated row", "0.0,60.0,1\n1.0,6"),
    gaia("only jobs of no length", "0.0,0.0,1\n"),
    Case(
        "gaia: unknown unit",
        {"jobs.csv": "arrival_time,length,cpus\n0,1,1\n"},
        options={"unit": "hour"},
    ),
    Case(
        "gaia: larger than the node",
        {"jobs.csv": "arrival_time,length,cpus\n0,1,9\n"},
        options={"cpus": 8},
    ),
    carbon("unknown profile", "nodes.csv", "n0,4,8,sin:100:5:60,de,300"),
    carbon("profile with too few numbers", "nodes.csv", "n0,4,8,sine:100:5,de,300"),
    carbon("negative intensity", "nodes.csv", "n0,4,8,static:-1,de,300"),
    carbon("a wave below zero", "nodes.csv", "n0,4,8,sine:100:150:60,de,300"),
    carbon("twice the same node", "nodes.csv", "n0,4,8,static:1,de,\nn0,4,8,static:1,de,"),
    carbon("negative watts", "nodes.csv", "n0,4,8,static:1,de,-300"),
    carbon("unknown site", "nodes.csv", "n0,4,8,static:1,de1,300"),
    carbon("a number with a space", "nodes.csv", "n0, 4,8,static:1,de,300"),
    carbon("a local time", "workloads.csv", "j0,2025-06-04 20:34:04,1,2,60,A"),
    carbon("the 31st of February", "workloads.csv", "j0,2025-02-31T20:34:04Z,1,2,60,A"),
    carbon("a fraction of a second", "workloads.csv", "j0,2025-06-04T20:34:04Z,1,2,30.5,A"),
    carbon(
        "twice the same id", "workloads.csv", "\n".join(["j0,2025-06-04T20:34:04Z,1,2,60,A"] * 2)
    ),
    carbon("larger than every node", "workloads.csv", "j0,2025-06-04T20:34:04Z,5,2,60,A"),
    carbon("PUE below zero", "sites.csv", "de,-1.4,1,DE"),
    carbon("a site of three columns", "sites.csv", "de,1.4,1"),
    Case("carbon: no workloads", {"nodes.csv": CARBON["nodes.csv"]}),
]
