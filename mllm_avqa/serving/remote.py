"""Clips at addresses of allowed hosts: resolved once, public addresses only, no redirects, bounded."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mllm_avqa.schema.errors import MediaTooLarge
from mllm_avqa.serving.refusals import NotAllowed, RemoteFailed

_PIECE = 1 << 16
_PORTS = {"http": 80, "https": 443}


def is_public(address: str) -> bool:
    """Whether an address is one of the open network, whatever form it is written in."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    teredo = getattr(ip, "teredo", None)
    found = [ip, *([inner] if inner else []), *(teredo or ())]
    # NAT64 writes an address of the old network into its last four bytes
    if ip.version == 6 and ip in ipaddress.ip_network("64:ff9b::/96"):
        found = [ipaddress.ip_address(int(ip) & 0xFFFFFFFF)]
    return all(i.is_global and not i.is_multicast for i in found)


@dataclass(frozen=True)
class Remote:
    """hosts: that may be asked, "name" or "name:port"; most: bytes of a clip; seconds: for all of it."""

    hosts: Collection[str]
    most: int
    seconds: float
    public: Callable[[str], bool] = is_public

    def fetch(self, url: str, target: Path) -> None:
        """Write what is at `url` to `target`. Raises NotAllowed, RemoteFailed, MediaTooLarge."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError as e:
            raise NotAllowed(f"not an address: {e}") from e
        named = {host} if port == _PORTS.get(parts.scheme) else {f"{host}:{port}"}
        if parts.scheme not in _PORTS or parts.username is not None or not named & {h.lower() for h in self.hosts}:
            raise NotAllowed("this server fetches nothing from that address (--allow-host)")
        deadline = time.monotonic() + self.seconds
        connection = self._connect(parts.scheme, host, port)
        try:
            connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
            answer = connection.getresponse()
            if answer.status != 200:
                raise RemoteFailed(f"{host} answered {answer.status}; redirects are not followed")
            size = 0
            with target.open("wb") as out:
                while piece := answer.read1(_PIECE):
                    size += len(piece)
                    if size > self.most:
                        raise MediaTooLarge(f"{host} sends more than {self.most} bytes (--max-bytes)")
                    if time.monotonic() > deadline:
                        raise RemoteFailed(f"{host} needs more than {self.seconds:g} s (--remote-seconds)")
                    out.write(piece)
        except (OSError, http.client.HTTPException) as e:
            raise RemoteFailed(f"{host} does not give the clip: {type(e).__name__}") from e
        finally:
            connection.close()

    def _connect(self, scheme: str, host: str, port: int) -> http.client.HTTPConnection:
        """A connection to the address that was looked at: a second look-up could give another one."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as e:
            raise RemoteFailed(f"{host} has no address") from e
        addresses = [str(f[4][0]) for f in found]
        if not addresses or not all(self.public(a) for a in addresses):
            raise NotAllowed(f"{host} is no host of the open network")
        connection = http.client.HTTPConnection(host, port, timeout=min(10.0, self.seconds))
        try:
            sock = socket.create_connection((addresses[0], port), timeout=min(10.0, self.seconds))
            if scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        except OSError as e:
            raise RemoteFailed(f"{host} can not be reached: {type(e).__name__}") from e
        connection.sock = sock
        return connection
