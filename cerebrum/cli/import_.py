"""`cerebrum import`: a Kubernetes cluster as a file that `simulate` reads."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cerebrum.cli._progress import say, watched
from cerebrum.model.errors import ConfigError

if TYPE_CHECKING:
    from cerebrum.executors.kubernetes.importing import Imported, Progress
    from cerebrum.kube.anonymise import Anonymiser


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("import", help=line)(import_cluster)


def import_cluster(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write, such as snapshot.yaml.")
    ],
    context: Annotated[
        str | None, typer.Option(help="Context of the kubeconfig. Default: its current one.")
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="This file. Default: as kubectl, else the pod's own account."),
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(help="Only pods of this namespace, as if it were alone. Repeat."),
    ] = None,
    anonymise: Annotated[
        bool, typer.Option(help="Replace names, labels and namespaces; verdicts stay the same.")
    ] = False,
    key_file: Annotated[
        Path | None,
        typer.Option(help="With --anonymise: a secret; the same gives the same replacements."),
    ] = None,
) -> None:
    """Read a cluster (it changes nothing there) and write what scheduling depends on."""
    if output.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"expected a name ending in .yaml, got {output.name!r}").at(
            field="--output"
        )
    if key_file is not None and not anonymise:
        raise ConfigError("it is about --anonymise, which is not given").at(field="--key-file")
    anonymiser = _anonymiser(key_file) if anonymise else None
    found = asyncio.run(_read(kubeconfig, context, output, namespace or [], anonymiser))
    for kind, why in found.unread.items():
        say(f"{kind} objects are left out: {why}")
    for reason, count in found.left_out.items():
        say(f"left out: {count:,} {reason}")
    if namespace:
        say("pods of other namespaces are left out: what they use counts as free")
    counts = ", ".join(f"{count:,} {kind}" for kind, count in found.counts.items() if count)
    say(f"{output}: {counts}")


async def _read(
    kubeconfig: Path | None,
    context: str | None,
    output: Path,
    namespaces: list[str],
    anonymiser: Anonymiser | None,
) -> Imported:
    from cerebrum.executors.kubernetes.access import load_access
    from cerebrum.executors.kubernetes.client import Client
    from cerebrum.executors.kubernetes.importing import Importer

    access = load_access(kubeconfig, context)
    partial = output.with_name(output.name + ".partial")
    try:
        with partial.open("wb") as out:
            async with Client(access, qps=0) as client:
                found = await Importer(client, out, namespaces, anonymiser, _progress()).run()
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
        if watched():
            sys.stderr.write("\r\033[K")
    return found


def _anonymiser(key_file: Path | None) -> Anonymiser:
    from cerebrum.executors.kubernetes.importing import new_key
    from cerebrum.kube.anonymise import Anonymiser

    if key_file is None:
        return Anonymiser(new_key())
    key = key_file.read_bytes().strip()
    if len(key) < 16:
        raise ConfigError(f"expected at least 16 bytes in {key_file.name}").at(field="--key-file")
    return Anonymiser(key)


def _progress() -> Progress:
    """Counts at the terminal; nothing where no person watches."""
    if not watched():
        return lambda kind, count: None

    def show(kind: str, count: int) -> None:
        sys.stderr.write(f"\r\033[K{kind}: {count:,}")
        sys.stderr.flush()

    return show
