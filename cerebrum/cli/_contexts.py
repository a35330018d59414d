"""Which controller a command talks to: `--server`, the environment, or a context of a file."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cerebrum.model.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from cerebrum.services.client import CerebrumClient

DEFAULT_URL = "http://127.0.0.1:8000"

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="CEREBRUM_SERVER",
        help="Address of a controller, or of its replicas with commas between them.",
    ),
]
ContextName = Annotated[
    str | None,
    typer.Option("--context", envvar="CEREBRUM_CONTEXT", help="A context of the contexts file."),
]


@dataclass(frozen=True, slots=True)
class Context:
    """A controller, and how to speak to it. `token` is a secret; `ca` a file of certificates."""

    url: str
    token: str = ""
    ca: str = ""


@dataclass
class Contexts:
    """What the file holds; `current` is used when nothing else is said."""

    current: str = ""
    contexts: dict[str, Context] = field(default_factory=dict[str, Context])


def path() -> Path:
    """`$CEREBRUM_CONFIG`, else `cerebrum/contexts.yaml` in the user's configuration folder."""
    given = os.environ.get("CEREBRUM_CONFIG")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "cerebrum" / "contexts.yaml"


def load() -> Contexts:
    """The file's content; empty where there is none. Raises `ConfigError` naming file and field."""
    import yaml
    from pydantic import TypeAdapter, ValidationError

    place = path()
    try:
        text = place.read_text()
    except FileNotFoundError:
        return Contexts()
    try:
        found: Any = yaml.load(text, Loader=yaml.CSafeLoader) or {}
        return TypeAdapter(Contexts).validate_python(found)
    except yaml.YAMLError as problem:
        raise ConfigError(f"not YAML: {problem}").at(place) from None
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(first["msg"]).at(place, field=where) from None


def save(contexts: Contexts) -> None:
    """Write the file whole, readable by its owner only: it holds tokens."""
    import yaml

    place = path()
    place.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "current": contexts.current,
        "contexts": {name: asdict(context) for name, context in contexts.contexts.items()},
    }
    new = place.with_name(f".{place.name}.{os.getpid()}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as out:
        yaml.dump(record, out, Dumper=yaml.CSafeDumper, sort_keys=False)
    new.replace(place)


def find(name: str) -> Context:
    """A context by name. Raises `UnknownName`."""
    contexts = load().contexts
    if name not in contexts:
        raise UnknownName("context", name, contexts)
    return contexts[name]


def client(server: str | None, context: str | None) -> CerebrumClient:
    """A client of the controller that is meant. `CEREBRUM_TOKEN` is used with `--server`."""
    from cerebrum.services.client import CerebrumClient

    chosen = _chosen(server, context)
    return CerebrumClient(chosen.url, chosen.token, Path(chosen.ca) if chosen.ca else None)


def _chosen(server: str | None, context: str | None) -> Context:
    if server:
        return Context(server, os.environ.get("CEREBRUM_TOKEN", ""))
    contexts = load()
    name = context or contexts.current
    if name:
        return find(name)
    return Context(DEFAULT_URL, os.environ.get("CEREBRUM_TOKEN", ""))
