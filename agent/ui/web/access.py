"""Who may see a page and who may act on it, and at which addresses it is served at all."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.config.reading import UserError

Role = Literal["control", "read"]
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORT = 8750
_LETTERS = 256
"""Longest token or host name that is looked at."""


def _token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Two random words: one that may act, and one to share, that may only look."""

    control: str = field(default_factory=_token)
    read: str = field(default_factory=_token)

    def role(self, given: str) -> Role | None:
        """Name of the link with this token; None if no link has it."""
        told = given[:_LETTERS].encode("utf-8", "replace")
        # Both are compared, and each in constant time: the answer's delay tells nothing.
        acts = hmac.compare_digest(told, self.control.encode())
        looks = hmac.compare_digest(told, self.read.encode())
        return "control" if acts else "read" if looks else None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page is served.

    Parameters
    ----------
    host
        Address to listen on.
    port
        None takes the usual one, or any that is free.
    certificate, key
        PEM files for TLS.
    allow_plain
        Serve other machines without TLS.
    """

    host: str = LOOPBACK[0]
    port: int | None = None
    certificate: Path | None = None
    key: Path | None = None
    allow_plain: bool = False

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def scheme(self) -> str:
        """Of its addresses."""
        return "http" if self.certificate is None else "https"

    @property
    def named(self) -> str:
        """The host that another machine, or this one, finds it at."""
        if self.host in ("0.0.0.0", "::"):
            return _own_address()
        return f"[{self.host}]" if ":" in self.host else self.host

    def check(self) -> Place:
        """Itself, if it may be served.

        Raises
        ------
        UserError
            Others could listen in, or a file of TLS cannot be used.
        """
        if self.port is not None and not 0 <= self.port <= 65535:
            raise UserError(f"--port {self.port}: accepted: 1 … 65535, or 0 for any that is free")
        if (self.certificate is None) != (self.key is None):
            missing = "--key" if self.key is None else "--certificate"
            raise UserError(f"{missing}: missing; TLS needs --certificate and --key, PEM files")
        if not self.local and self.certificate is None and not self.allow_plain:
            raise UserError(
                f"--host {self.host}: other machines reach it, and without TLS anybody on the way "
                "reads the token; accepted: --certificate and --key, or --allow-plain if the "
                "network is trusted or a tunnel"
            )
        self.tls()
        return self

    def tls(self) -> ssl.SSLContext | None:
        """What encrypts; None where nothing does.

        Raises
        ------
        UserError
            Certificate or key cannot be used.
        """
        if self.certificate is None:
            return None
        for option, file in (("--certificate", self.certificate), ("--key", self.key)):
            if file is None or not file.is_file():
                raise UserError(f"{option} {file}: no such file; a PEM file is needed")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            # A key that asks for its password would wait for ever.
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except (OSError, ValueError) as error:
            raise UserError(
                f"--certificate {self.certificate}, --key {self.key}: cannot be used: {error}"
            ) from None
        return context

    def knows(self, host: str) -> bool:
        """Whether a request that names this host is meant for us.

        A foreign page whose host name was made to resolve to this address names its own host.
        """
        name = _without_port(host.lower()) if len(host) <= _LETTERS else None
        if name is None:
            return False
        if name in LOOPBACK:
            return True
        if self.local:
            return False
        if name in {self.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True  # an address, unlike a name, cannot be made to resolve to this one


def _own_address() -> str:
    """The address that other machines would find this one at; nothing is sent to learn it."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:\[\]/@]+))(?::[0-9]{1,5})?")


def _without_port(host: str) -> str | None:
    """The name or address of a `Host` header; None where it is not written as one."""
    found = _HOST.fullmatch(host)
    return None if found is None else found[1] or found[2]
