"""How a connection to MySQL or MariaDB is encrypted: from options of a URL to what the driver takes."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any

from cache_backends.errors import CacheConfigError

TLS_OPTIONS = ("ssl_mode", "ssl_ca", "ssl_cert", "ssl_key")
MODES = ("disabled", "required", "verify_ca", "verify_identity")
"""As MySQL's own programs name them: no TLS; TLS with whoever answers; only with a server whose certificate is of an
authority that is trusted; and only if it is for this host."""


def tls_parameters(settings: Mapping[str, str]) -> dict[str, Any]:
    """Parameters of `pymysql.connect`. Raises `CacheConfigError`.

    Without `ssl_mode` it is verify_ca where `ssl_ca` says whom to trust, required where only a client's certificate is
    given, and without any of these TLS with whoever answers, if the server has it.
    """
    mode = settings.get("ssl_mode", "").lower()
    authority, certificate, key = (settings.get(name) for name in TLS_OPTIONS[1:])
    if "ssl_mode" in settings and mode not in MODES:
        raise CacheConfigError(f"ssl_mode={settings['ssl_mode'][:60]!r} is unknown. Use one of: {', '.join(MODES)}.")
    if key and not certificate:
        raise CacheConfigError("ssl_key= is of no use without the certificate it belongs to: add ssl_cert=.")
    mode = mode or ("verify_ca" if authority else "required" if certificate else "")
    if not mode:
        return {}
    if mode == "disabled":
        return {"ssl_disabled": True}
    context = _encrypting() if mode == "required" else _trusting(authority)
    context.check_hostname = mode == "verify_identity"
    if certificate:
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:
            raise CacheConfigError(
                f"ssl_cert={certificate!r} and ssl_key={key!r} can't be used ({error}). "
                "Give files in PEM format: a certificate, and the key that belongs to it."
            ) from error
    return {"ssl": context}


@cache
def encrypting_only() -> ssl.SSLContext:
    """TLS with whoever answers, where the server has it: what the driver does if nothing else is asked for."""
    return _encrypting()


def _encrypting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _trusting(authority: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise CacheConfigError(
            f"ssl_ca={authority!r} can't be used ({error}). Give a file in PEM format with the certificates to trust."
        ) from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # what MySQL makes for itself is not that strict
    return context
