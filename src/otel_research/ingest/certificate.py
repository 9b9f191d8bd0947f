"""The certificate of a receiver that speaks TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, NamedTuple

from otel_research.errors import ConfigurationError

OPTIONS = "--otlp-certificate FILE and --otlp-key FILE"


class Certificate(NamedTuple):
    """A certificate with the chain behind it, and its private key without a passphrase; both PEM."""

    chain: Path
    key: Path

    def for_grpc(self) -> Any:
        """Credentials of a gRPC server."""
        import grpc

        return grpc.ssl_server_credentials([(self.key.read_bytes(), self.chain.read_bytes())])


def certificate(chain: str | None, key: str | None) -> Certificate | None:
    """The certificate in these files; None where none is named.

    Raises `ConfigurationError` where one of the two is missing, or they are no certificate and its key.
    """
    if not chain and not key:
        return None
    if not chain or not key:
        raise ConfigurationError(f"TLS needs a certificate and its key: {OPTIONS}.")
    try:
        # Without a question for a passphrase, which nobody would answer.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"{chain} and {key} are no PEM certificate with its key ({why}): {OPTIONS}."
        ) from error
    return Certificate(Path(chain), Path(key))
