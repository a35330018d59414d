"""Where the bearer token of a request comes from: nowhere, a fixed one, a file, a program.

Tokens rotate: a projected service-account token is replaced on disk about once an hour, and an
exec plugin says when its own expires. Nothing here logs, or puts into an error, what it read.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec

from cerebrum.model.errors import ConfigError

MAX_TOKEN_BYTES = 1 << 16
EXEC_S = 60.0
EARLY_S = 10.0
"""A token this close to its end is fetched anew: the request still has to arrive."""


class Credentials(Protocol):
    """Who we are."""

    async def token(self, rejected: str | None = None) -> str | None:
        """The bearer token for a request, None without one. `rejected` is a token the server has
        just answered 401 to: give another one if there is one. Raises `ConfigError`."""
        ...


class FixedToken:
    """A token that never changes; None where a client certificate or nothing says who we are."""

    def __init__(self, token: str | None = None) -> None:
        self._token = None if token is None else checked(token)

    async def token(self, rejected: str | None = None) -> str | None:
        """See `Credentials`."""
        return self._token


class TokenFile:
    """A token in a file, read again whenever the file is another one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    async def token(self, rejected: str | None = None) -> str | None:
        """See `Credentials`. A file that is gone for a moment leaves the last token in use."""
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen != self._seen or rejected == self._token:
                self._token = checked(self._path.read_bytes()[: MAX_TOKEN_BYTES + 1].decode())
                self._seen = seen
        except OSError as problem:
            if not self._token:
                raise ConfigError(f"cannot be read: {problem.strerror}").at(self._path) from None
        except UnicodeDecodeError:
            raise ConfigError("expected a token").at(self._path) from None
        except ConfigError as problem:
            raise problem.at(self._path) from None
        return self._token


class _ExecStatus(msgspec.Struct, rename="camel"):
    token: str | None = None
    expiration_timestamp: datetime | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    kind: str
    api_version: str
    status: _ExecStatus


@dataclass
class ExecToken:
    """A token (or client certificate) that a program prints: `client.authentication.k8s.io`.

    Run when first needed, when the token is about to expire, and after a 401; never twice at once.
    """

    command: Sequence[str]
    api_version: str
    env: Mapping[str, str]
    install_hint: str = ""
    cluster: Mapping[str, object] | None = None
    tls: ssl.SSLContext | None = None
    unix_s: Callable[[], float] = time.time
    _token: str | None = field(default=None, repr=False)
    _until_s: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def token(self, rejected: str | None = None) -> str | None:
        """See `Credentials`."""
        if not self._fresh(rejected):
            async with self._turn:
                if not self._fresh(rejected):
                    self._take(await self._ask())
        return self._token

    def _fresh(self, rejected: str | None) -> bool:
        refused = rejected is not None and rejected == self._token
        return not refused and self.unix_s() < self._until_s - EARLY_S

    def _take(self, status: _ExecStatus) -> None:
        if status.token is None and status.client_certificate_data is None:
            raise self._fault("printed neither a token nor a certificate")
        if status.client_certificate_data is not None:
            if self.tls is None or status.client_key_data is None:
                raise self._fault("printed a certificate without a key, or for a plain http server")
            use_certificate(self.tls, status.client_certificate_data, status.client_key_data)
        self._token = None if status.token is None else checked(status.token)
        end = status.expiration_timestamp
        self._until_s = float("inf") if end is None else end.timestamp()

    async def _ask(self) -> _ExecStatus:
        output = await self._run()
        try:
            found = msgspec.json.decode(output, type=_ExecCredential)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._fault("did not print an ExecCredential") from None
        if found.kind != "ExecCredential" or found.api_version != self.api_version:
            raise self._fault(f"expected an ExecCredential of {self.api_version}")
        return found.status

    async def _run(self) -> bytes:
        spec = {"interactive": False} | ({"cluster": self.cluster} if self.cluster else {})
        asks = {"kind": "ExecCredential", "apiVersion": self.api_version, "spec": spec}
        env = {**os.environ, **self.env, "KUBERNETES_EXEC_INFO": json.dumps(asks)}
        quiet = asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command, env=env, stdin=quiet, stdout=asyncio.subprocess.PIPE
            )
        except OSError as problem:
            hint = f". {self.install_hint}" if self.install_hint else ""
            raise self._fault(f"cannot be started: {problem.strerror}{hint}") from None
        try:
            output, _ = await asyncio.wait_for(process.communicate(), EXEC_S)
        except TimeoutError:
            raise self._fault(f"took more than {EXEC_S:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise self._fault(f"failed with exit code {process.returncode}")
        return output

    def _fault(self, problem: str) -> ConfigError:
        return ConfigError(f"the credential plugin {self.command[0]!r} {problem}")


def checked(token: str) -> str:
    """A token fit for a header. Raises `ConfigError` without quoting it."""
    token = token.strip()
    if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii() or not token.isprintable():
        raise ConfigError("expected a token: printable ASCII text on one line")
    return token


def use_certificate(tls: ssl.SSLContext, certificate: str, key: str) -> None:
    """Show this certificate (PEM text) on connections opened from now on. Raises `ConfigError`."""
    # OpenSSL reads a private key from a file only; this one lives for the call, for us alone.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
        pem.write(f"{certificate.strip()}\n{key.strip()}\n")
        pem.flush()
        try:
            # A password asked for on the terminal would hang an agent.
            tls.load_cert_chain(pem.name, password=lambda: "")
        except (ssl.SSLError, ValueError):
            raise ConfigError("expected a certificate and its own key, in PEM") from None
