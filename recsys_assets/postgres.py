"""Addresses of PostgreSQL, and what it says of a connection: what sources and sinks share.

An address is a secret. What a driver says of a connection may quote it, so that is never repeated:
what it means is told instead.
"""

from __future__ import annotations

import os
import re
from typing import Final

from recsys_assets.errors import ConfigError

# Codes of the server that say that it cannot be used now, by their first characters.
UNAVAILABLE: Final = ("08", "53", "57P")
# Of the connection, where the address says nothing else.
_CONNECTION: Final = {
    "connect_timeout": "10",
    "client_encoding": "UTF8",
    "application_name": "recsys-assets",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
# What a failed connection says, in lower case, and what it means.
_CONNECTING: Final = (
    ("connection refused", "nothing answers there: is the server up, are host and port right?"),
    ("timeout expired", "the server does not answer: is it up, and may it be reached from here?"),
    ("translate host name", "the name of the host is not known here"),
    ("resolve host", "the name of the host is not known here"),
    ("password authentication failed", "user or password is wrong"),
    ("no password supplied", "it wants a password"),
    ("pg_hba.conf", "the server lets nobody in by this user, from here (pg_hba.conf)"),
    ("does not exist", "it has no such database or user"),
    ("too many", "it has no connection left"),
    ("starting up", "it is starting"),
    ("shutting down", "it is shutting down"),
    ("ssl", "the connection cannot be encrypted as it should be (sslmode)"),
    ("certificate", "the connection cannot be encrypted as it should be (sslmode)"),
    ("connection info", "it is no address: postgresql://user:password@host:port/database"),
    ("uri", "it is no address: postgresql://user:password@host:port/database"),
)


def address_in(variable: str, where: str) -> str:
    """Return the address that an environment variable holds, with what it leaves out filled in.

    Args:
        variable: of the environment.
        where: what is to be connected to, for people.

    Raises:
        ConfigError: the variable is not set, or holds the address of something else.
    """
    dsn = os.environ.get(variable, "").strip()
    if not dsn:
        raise ConfigError(
            f"${variable} is not set: {where} takes the address of its database from there, "
            "postgresql://user:password@host:port/database"
        )
    scheme, separator, _ = dsn.partition("://")
    is_url = bool(separator) and re.fullmatch(r"[a-z0-9+]+", scheme) is not None
    if is_url and scheme not in {"postgresql", "postgres"}:
        raise ConfigError(
            f"${variable} must begin with postgresql://, and with nothing between these"
        )
    added = [f"{name}={value}" for name, value in _CONNECTION.items() if f"{name}=" not in dsn]
    if is_url:
        return dsn + ("&" if "?" in dsn else "?") + "&".join(added)
    return " ".join([dsn, *added])


def why_not_connected(said: str) -> str:
    """Return what it means that a driver said this when it was to connect."""
    lower = said.lower()
    return next(
        (means for phrase, means in _CONNECTING if phrase in lower),
        "it cannot be connected to; psql with the same address says why",
    )
