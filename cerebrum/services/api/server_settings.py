"""Settings of any server, and of the one that serves models.

In a file of its own: a process that serves bids imports no more than that takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cerebrum.model.errors import ConfigError
from cerebrum.services.telemetry import LogFormat

S = TypeVar("S", bound=BaseSettings)
Port = Annotated[int, Field(ge=0, le=65_535)]


class ServerSettings(BaseSettings):
    """What both servers have.

    `port` 0 takes any free one; `url` is how others reach this server (made from host and port
    where it is not given). `stop_s` is how long requests under way may take at the end.
    """

    model_config = SettingsConfigDict(env_prefix="CEREBRUM_", extra="ignore", frozen=True)

    host: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    port: Port = 0
    url: Annotated[str, Field(max_length=2000)] = ""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    log_format: LogFormat = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    stop_s: Annotated[float, Field(gt=0, le=600)] = 10.0

    @model_validator(mode="after")
    def _tls_is_whole(self) -> ServerSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("give both tls_cert and tls_key, or neither")
        for path in (self.tls_cert, self.tls_key):
            if path is not None and not path.is_file():
                raise ValueError(f"{path}: there is no such file")
        return self

    @property
    def scheme(self) -> str:
        """http, or https with a certificate."""
        return "http" if self.tls_cert is None else "https"


class ModelsSettings(ServerSettings):
    """A server of models. `model` is a name or the path of a file: a bidder answers `/schedule`, a
    node scorer `/score`, as does a `policy` that scores nodes. `typical` is the trace whose tasks
    fragmentation is measured against. `api_token` is what callers have to show."""

    port: Port = 8002
    model: Annotated[str, Field(max_length=4000)] = ""
    policy: Annotated[str, Field(max_length=4000)] = ""
    typical: Annotated[str, Field(max_length=4000)] = ""
    api_token: SecretStr = SecretStr("")


def load(kind: type[S], **given: Any) -> S:
    """The settings; what is None is looked up in the environment. Raises `ConfigError`."""
    try:
        return kind(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(message).at(field=field) from None
