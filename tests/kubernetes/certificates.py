"""Keys and certificates of one throw-away control plane, good for 127.0.0.1 only."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files, PEM: the authority, what servers show, and the key that signs account tokens."""

    authority: Path
    certificate: Path
    key: Path
    account_key: Path
    account_public_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make new ones in a folder that exists; takes the `openssl` command, version 3."""
    made = Certificates(
        *(folder / name for name in ("ca.crt", "server.crt", "server.key", "sa.key", "sa.pub"))
    )
    authority_key = folder / "ca.key"
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256")
    new_key = ("-newkey", "ec", *curve, "-noenc", "-days", "30")
    _openssl(
        "req", "-x509", *new_key, "-subj", "/CN=cerebrum-test-ca",
        "-keyout", authority_key, "-out", made.authority,
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    _openssl(
        "req", "-x509", *new_key, "-subj", "/CN=127.0.0.1",
        "-CA", made.authority, "-CAkey", authority_key,
        "-keyout", made.key, "-out", made.certificate,
        "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
        "-addext", "basicConstraints=critical,CA:FALSE",
        "-addext", "extendedKeyUsage=serverAuth",
    )  # fmt: skip
    _openssl("genpkey", "-algorithm", "EC", *curve, "-out", made.account_key)
    _openssl("pkey", "-in", made.account_key, "-pubout", "-out", made.account_public_key)
    return made


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")
