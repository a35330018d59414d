"""Bad inputs that are no text: bombs, archives, damage, and tables that are not what they say.

Run as a script to write them into a folder: python -m tests.traces.bad.build FOLDER
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from cerebrum.traces import table
from cerebrum.traces.synthetic import plain
from tests.traces.bad._case import Case
from tests.traces.bad.rows import GOOD_POD, NODE_FILE, NODES, POD, POD_FILE

ZIP = "good.zip"


def good(folder: Path) -> dict[str, bytes]:
    """The members of a table that is right."""
    table.write(plain(nodes=2, tasks=20), folder / ZIP)
    with zipfile.ZipFile(folder / ZIP) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(folder: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(folder / ZIP, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)


def edited(edit: Callable[[dict[str, bytes]], None]) -> Callable[[Path], None]:
    """A table whose members `edit` has changed."""

    def build(folder: Path) -> None:
        members = good(folder)
        edit(members)
        pack(folder, members)

    return build


def meta(**changes: Any) -> Callable[[Path], None]:
    """A table with other values in its meta.json; None takes one away."""

    def edit(members: dict[str, bytes]) -> None:
        data = json.loads(members["meta.json"]) | changes
        data = {key: value for key, value in data.items() if value != "absent"}
        members["meta.json"] = json.dumps(data).encode()

    return edited(edit)


def frame(name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    """A table with one frame changed, and its checksum and rows too."""

    def edit(members: dict[str, bytes]) -> None:
        changed = change(pl.read_parquet(members[f"{name}.parquet"]))
        replace_table(members, name, parquet(changed), changed.height)

    return edited(edit)


def replace_table(members: dict[str, bytes], name: str, data: bytes, height: int) -> None:
    members[f"{name}.parquet"] = data
    description = json.loads(members["meta.json"])
    description["tables"][name] = {"rows": height, "sha256": hashlib.sha256(data).hexdigest()}
    members["meta.json"] = json.dumps(description).encode()


def parquet(data: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    data.write_parquet(buffer)
    return buffer.getvalue()


def first(name: str, value: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The frame with another value in the first row of a column."""

    def change(data: pl.DataFrame) -> pl.DataFrame:
        values = data[name].to_list()
        return data.with_columns(pl.Series(name, [value, *values[1:]], dtype=data[name].dtype))

    return change


def path_trick(folder: Path) -> None:
    pack(folder, good(folder) | {"../../evil.parquet": b"x"})


def twin(folder: Path) -> None:
    members = good(folder)
    with zipfile.ZipFile(folder / ZIP, "w") as archive:
        for name, data in (*members.items(), ("meta.json", members["meta.json"])):
            info = zipfile.ZipInfo(name if name not in archive.namelist() else "meta.jsoN")
            archive.writestr(info, data)
    raw = (folder / ZIP).read_bytes()
    (folder / ZIP).write_bytes(raw.replace(b"meta.jsoN", b"meta.json"))


def truncated(folder: Path) -> None:
    good(folder)
    (folder / ZIP).write_bytes((folder / ZIP).read_bytes()[:-40])


def flipped(folder: Path) -> None:
    def edit(members: dict[str, bytes]) -> None:
        data = bytearray(members["tasks.parquet"])
        data[len(data) // 2] ^= 1
        members["tasks.parquet"] = bytes(data)

    edited(edit)(folder)


def deflated(folder: Path) -> None:
    members = good(folder)
    pack(folder, members | {"jobs.parquet": b"\0" * 10_000_000}, zipfile.ZIP_DEFLATED)


def not_parquet(folder: Path) -> None:
    edited(lambda members: replace_table(members, "jobs", b"PAR1 no, not at all PAR1", 0))(folder)


def a_file_is_missing(folder: Path) -> None:
    table.write(plain(nodes=2, tasks=20), folder / "scenario")
    (folder / ZIP).unlink(missing_ok=True)
    (folder / "scenario" / "classes.parquet").unlink()


def gzip_bomb(folder: Path) -> None:
    """200 MiB of blanks in 200 kB."""
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * 2**20
    data = packer.compress((POD + GOOD_POD).encode())
    data += b"".join(packer.compress(block) for _ in range(200)) + packer.flush()
    put(folder, POD_FILE + ".gz", data)


def put(folder: Path, name: str, data: bytes) -> None:
    (folder / NODE_FILE).write_text(NODES)
    (folder / name).write_bytes(data)


def truncated_gzip(folder: Path) -> None:
    put(folder, POD_FILE + ".gz", gzip.compress((POD + GOOD_POD).encode(), mtime=0)[:-9])


def corrupt_gzip(folder: Path) -> None:
    data = bytearray(gzip.compress((POD + GOOD_POD).encode(), mtime=0))
    data[-6] ^= 255  # the check sum
    put(folder, POD_FILE + ".gz", bytes(data))


def tar_gz(folder: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("../../etc/passwd")
        info.size = len(POD)
        archive.addfile(info, io.BytesIO(POD.encode()))
    put(folder, POD_FILE + ".gz", buffer.getvalue())


def zipped(folder: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(POD_FILE, POD + GOOD_POD)
    put(folder, POD_FILE, buffer.getvalue())


def xz(folder: Path) -> None:
    put(folder, POD_FILE, lzma.compress((POD + GOOD_POD).encode()))


def link_out(folder: Path) -> None:
    (folder / "objects").mkdir()
    (folder / "objects" / "node.yaml").symlink_to("/etc/hostname")


def a_folder_in_place(folder: Path) -> None:
    (folder / "log.swf").mkdir()


READ_ZIP = {"read": ZIP, "options": {"format": "table"}}
CASES = [
    Case("any: no such file", {"jobs.csv": "x\n"}, read="job.csv"),
    Case("any: not recognised", {"notes.txt": "milk, eggs\n"}),
    Case("any: unknown format", {"log.swf": "x\n"}, options={"format": "swff"}),
    Case(
        "any: a folder where a file should be",
        build=a_folder_in_place,
        read="log.swf",
        options={"format": "swf"},
    ),
    Case("any: a device", read="/dev/zero", options={"format": "swf"}),
    Case("any: a program", {"log.swf": b"\x7fELF\x02\x01\x01"}),
    Case(
        "any: one endless line",
        {"jobs.csv": "arrival_time,length,cpus\n" + "9" * 1_100_000 + ",1,1\n"},
    ),
    Case("openb: gzip bomb", build=gzip_bomb),
    Case("openb: truncated gzip", build=truncated_gzip),
    Case("openb: corrupt gzip", build=corrupt_gzip),
    Case("openb: a tar archive with a path trick", build=tar_gz),
    Case("openb: a zip archive", build=zipped),
    Case("openb: xz", build=xz),
    Case("kubernetes: a link out of the folder", build=link_out, read="objects"),
    Case("table: not a zip", {ZIP: b"PK\x05\x06 no"}, options={"format": "table"}),
    Case("table: truncated", build=truncated, **READ_ZIP),
    Case("table: a path trick", build=path_trick, **READ_ZIP),
    Case("table: the same member twice", build=twin, **READ_ZIP),
    Case("table: compressed members", build=deflated, **READ_ZIP),
    Case("table: a member is missing", build=edited(lambda m: m.pop("jobs.parquet")), **READ_ZIP),
    Case("table: a file of the folder is missing", build=a_file_is_missing, read="scenario"),
    Case("table: one bit flipped", build=flipped, **READ_ZIP),
    Case(
        "table: a billion rows claimed",
        build=meta(tables={"nodes": {"rows": 10**9, "sha256": ""}}),
        **READ_ZIP,
    ),
    Case(
        "table: wrong number of rows",
        build=edited(lambda m: replace_table(m, "jobs", m["jobs.parquet"], 3)),
        **READ_ZIP,
    ),
    Case("table: another version", build=meta(version=99), **READ_ZIP),
    Case("table: another format", build=meta(format="other"), **READ_ZIP),
    Case("table: unknown key", build=meta(zones="x"), **READ_ZIP),
    Case("table: a key is missing", build=meta(tables="absent"), **READ_ZIP),
    Case(
        "table: truncated meta",
        build=edited(lambda m: m.update({"meta.json": m["meta.json"][:100]})),
        **READ_ZIP,
    ),
    Case("table: more nodes than rows", build=meta(nodes=3), **READ_ZIP),
    Case("table: not Parquet", build=not_parquet, **READ_ZIP),
    Case(
        "table: a column is missing", build=frame("tasks", lambda f: f.drop("priority")), **READ_ZIP
    ),
    Case(
        "table: a column of another type",
        build=frame("tasks", lambda f: f.cast({"priority": pl.Int64})),
        **READ_ZIP,
    ),
    Case(
        "table: an unknown column", build=frame("tasks", lambda f: f.with_columns(x=1)), **READ_ZIP
    ),
    Case("table: a null", build=frame("tasks", first("submit_s", None)), **READ_ZIP),
    Case("table: negative time", build=frame("tasks", first("submit_s", -1.0)), **READ_ZIP),
    Case(
        "table: NaN run time", build=frame("tasks", first("duration_s", float("nan"))), **READ_ZIP
    ),
    Case(
        "table: a class that is not there", build=frame("tasks", first("class_id", 3)), **READ_ZIP
    ),
    Case("table: twice the same task", build=frame("tasks", first("name", "task-01")), **READ_ZIP),
    Case("table: 17 GPUs", build=frame("classes", first("gpu_count", 17)), **READ_ZIP),
    Case(
        "table: constraints of another shape",
        build=frame("classes", first("constraints", '{"selector": 1}')),
        **READ_ZIP,
    ),
    Case(
        "table: labels that are no JSON",
        build=frame("nodes", first("labels", "{zone}")),
        **READ_ZIP,
    ),
    Case("table: a node without speed", build=frame("nodes", first("speed", 0.0)), **READ_ZIP),
]


if __name__ == "__main__":
    for number, case in enumerate(CASES):
        place = Path(sys.argv[1], f"{number:02d}")
        place.mkdir(parents=True)
        print(case.make(place), "-", case.name)
