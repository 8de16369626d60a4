"""Throw-away certificates for a server with TLS, made by `openssl` at run time."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.programs import Program

OPENSSL = Program("openssl", "openssl")


@dataclass(frozen=True)
class Certificates:
    """Files: whom to trust, and what the server shows."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path, host: str) -> Certificates:
    """A new authority, and a certificate of it for this address and `localhost`, valid for two days."""
    made = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    (folder / "names").write_text(f"subjectAltName=IP:{host},DNS:localhost\n", encoding="utf-8")
    for arguments in (
        ("req", "-x509", *key, "-subj", "/CN=Authority of a test", "-keyout", "ca.key", "-out", made.authority),
        ("req", *key[:-2], "-subj", f"/CN={host}", "-keyout", made.key, "-out", "server.csr"),
        (
            *("x509", "-req", "-in", "server.csr", "-CA", made.authority, "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "2", "-extfile", "names", "-out", made.certificate),
        ),
    ):
        subprocess.run([OPENSSL.path, *arguments], cwd=folder, check=True, capture_output=True, timeout=30)
    return made
