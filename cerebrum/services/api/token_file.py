"""Tokens from a file, for where secrets are mounted: `[{"name", "scope", "secret", ...}]` as JSON.

The file is the truth for the tokens it once brought: they are called `file:NAME`, a new secret
replaces the old one, and what left the file is revoked. A token revoked by hand stays revoked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from cerebrum.model.errors import ConfigError
from cerebrum.services.api.auth import Given, Scope, Tokens

PREFIX = "file:"
_MOST_BYTES = 2**20


class FileToken(BaseModel):
    """One entry. `secret` at least 32 characters: `openssl rand -hex 32` makes a good one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=90)]
    scope: Scope
    secret: Annotated[SecretStr, Field(min_length=32, max_length=500)]
    tenant: Annotated[str, Field(max_length=200)] = ""
    cluster: Annotated[str, Field(max_length=253)] = ""


_ENTRIES = TypeAdapter(list[FileToken])


def read_tokens(path: Path) -> list[FileToken]:
    """The entries. Raises `ConfigError` naming file and field, never a secret."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}").at(path) from None
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"expected at most {_MOST_BYTES} bytes").at(path)
    try:
        entries = _ENTRIES.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        raise ConfigError(first["msg"]).at(path, field=field) from None
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise ConfigError(f"token {entry.name!r} is named twice").at(path, field="name")
        seen.add(entry.name)
    return entries


async def take_over(tokens: Tokens, path: Path) -> None:
    """Make the tokens of the file, and no other one that a file once brought, valid."""
    await tokens.adopt(
        PREFIX,
        [
            Given(
                PREFIX + entry.name, entry.scope, entry.secret.get_secret_value(), entry.tenant,
                entry.cluster,
            )
            for entry in read_tokens(path)
        ],
    )  # fmt: skip
