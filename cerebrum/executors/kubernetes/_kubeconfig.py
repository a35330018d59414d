"""kubeconfig files: several of them merged as kubectl does, and one context picked out.

Only the entries that are used are read strictly: a broken cluster elsewhere in the file harms
nobody. Source of the format: the `Config` kind of `v1` in client-go's clientcmd API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cerebrum.model.errors import ConfigError, UnknownName

MAX_BYTES = 4 << 20
_KINDS = {"clusters": "cluster", "contexts": "context", "users": "user"}

Name = Annotated[str, Field(min_length=1)]
Given = Annotated[str, Field(min_length=1)] | None
M = TypeVar("M", bound=BaseModel)


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


class Cluster(BaseModel):
    """Where an API server is, and whom to believe that it is the one."""

    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=_dashed)
    server: Name
    tls_server_name: Given = None
    insecure_skip_tls_verify: bool = False
    certificate_authority: Given = None
    certificate_authority_data: Given = None
    proxy_url: Given = None
    disable_compression: bool = False
    extensions: Any = None


class ExecVariable(BaseModel):
    """One environment variable of an exec plugin."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: Name
    value: str


class ExecPlugin(BaseModel):
    """A program that prints an `ExecCredential`."""

    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=_camel)
    api_version: Literal[
        "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"
    ]  # fmt: skip
    command: Name
    args: list[str] | None = None
    env: list[ExecVariable] | None = None
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: Literal["Never", "IfAvailable", "Always"] = "IfAvailable"


class User(BaseModel):
    """How to show who we are. `refused` are fields we know and do not support, with the reason."""

    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=_dashed)
    client_certificate: Given = None
    client_certificate_data: Given = None
    client_key: Given = None
    client_key_data: Given = None
    token: Given = None
    token_file: Annotated[Given, Field(alias="tokenFile")] = None
    exec: ExecPlugin | None = None
    username: Any = None
    password: Any = None
    auth_provider: Any = None
    impersonate: Annotated[Any, Field(alias="as")] = None
    impersonate_uid: Annotated[Any, Field(alias="as-uid")] = None
    impersonate_groups: Annotated[Any, Field(alias="as-groups")] = None
    impersonate_extra: Annotated[Any, Field(alias="as-user-extra")] = None
    extensions: Any = None


class Context(BaseModel):
    """A cluster, a user and a namespace under one name."""

    model_config = ConfigDict(strict=True, extra="forbid")
    cluster: Name
    user: str = ""
    namespace: str = ""
    extensions: Any = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One named entry, as it is written, and the file it is in (relative paths start there)."""

    name: str
    path: Path
    field: str
    content: Any

    def fault(self, problem: str, name: str = "") -> ConfigError:
        """An error that names the file and this entry's field."""
        return ConfigError(problem).at(self.path, field=f"{self.field}.{name}".strip("."))

    def read(self, model: type[M]) -> M:
        """The entry as a model. Raises `ConfigError` or `UnknownName` with file and field."""
        try:
            return model.model_validate({} if self.content is None else self.content)
        except ValidationError as problem:
            raise self._explained(problem, model) from None

    def beside(self, path: str) -> Path:
        """A path of the entry: relative ones start at the file's folder."""
        return self.path.parent / Path(path).expanduser()

    def _explained(self, problem: ValidationError, model: type[BaseModel]) -> ConfigError | Any:
        error = problem.errors(include_url=False, include_input=False)[0]  # inputs hold secrets
        place = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            inner = ExecPlugin if error["loc"][0] == "exec" else model
            known = [info.alias or name for name, info in inner.model_fields.items()]
            found = UnknownName("field", str(error["loc"][-1]), known)
            return found.at(self.path, field=f"{self.field}.{place}")
        if error["type"] == "missing":
            return self.fault("is missing", place)
        return self.fault("expected " + error["msg"].removeprefix("Input should be "), place)


@dataclass(slots=True)
class Kubeconfig:
    """Merged files: of entries with one name the first wins, as kubectl has it."""

    paths: Sequence[Path]
    current: str = ""
    entries: dict[str, dict[str, Entry]] = field(
        default_factory=lambda: {room: dict[str, Entry]() for room in _KINDS}
    )

    def pick(self, context: str | None) -> tuple[Entry, Context]:
        """The context of that name, or the current one. Raises `ConfigError`, `UnknownName`."""
        name = context or self.current
        if not name:
            names = ", ".join(sorted(self.entries["contexts"])) or "none"
            raise ConfigError(f"no context is named; there are: {names}").at(
                self.paths[0], field="current-context"
            )
        entry = self.find("contexts", name, self.paths[0], "current-context")
        return entry, entry.read(Context)

    def find(self, room: str, name: str, path: Path, where: str) -> Entry:
        """A named cluster, context or user; `where` is the field that names it."""
        known = self.entries[room]
        if name not in known:
            raise UnknownName(_KINDS[room], name, known).at(path, field=where)
        return known[name]


def load(paths: Sequence[Path]) -> Kubeconfig:
    """Read and merge files. Raises `ConfigError` naming file, line or field."""
    merged = Kubeconfig(paths)
    for path in paths:
        _merge(merged, path, _document(path))
    return merged


def _document(path: Path) -> Mapping[str, Any]:
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise ConfigError(f"expected at most {MAX_BYTES:,} bytes, got {len(data):,}").at(path)
        found: Any = yaml.load(data.decode("utf-8-sig"), Loader=yaml.CSafeLoader)
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}").at(path) from problem
    except UnicodeDecodeError as problem:
        raise ConfigError("expected UTF-8 text").at(path) from problem
    except yaml.MarkedYAMLError as problem:
        # Only the place: the parser's own text quotes the file, which holds secrets.
        line = problem.problem_mark.line + 1 if problem.problem_mark else None
        raise ConfigError("not valid YAML").at(path, line) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError("not valid YAML").at(path) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError("expected a kubeconfig: a mapping with clusters, contexts, users").at(
            path
        )
    return cast("dict[str, Any]", found)


def _merge(merged: Kubeconfig, path: Path, document: Mapping[str, Any]) -> None:
    kind = document.get("kind", "Config")
    if kind != "Config":
        raise ConfigError(f"expected Config, got {str(kind)[:60]!r}").at(path, field="kind")
    current = document.get("current-context") or ""
    if not isinstance(current, str):
        raise ConfigError("expected a name").at(path, field="current-context")
    merged.current = merged.current or current
    for room, inner in _KINDS.items():
        for i, item in enumerate(_listed(document.get(room), path, room)):
            named = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
            name = named.get("name")
            if not isinstance(name, str) or not name:
                raise ConfigError("expected an entry with a name").at(path, field=f"{room}[{i}]")
            entry = Entry(name, path, f"{room}[{name}].{inner}", named.get(inner))
            merged.entries[room].setdefault(name, entry)


def _listed(found: Any, path: Path, room: str) -> list[Any]:
    if found is None:
        return []
    if not isinstance(found, list):
        raise ConfigError("expected a list").at(path, field=room)
    return cast("list[Any]", found)
