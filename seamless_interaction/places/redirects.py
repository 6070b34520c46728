"""Requests over HTTP, and where hosts send them on to.

What the user set (headers, logins, cookies) is for the host that the user named: another gets a request without it. A
host may not send from https to http, nor may one of the internet send to a machine of the user's own network.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import time
from typing import Any
from urllib.request import getproxies

import fsspec

from seamless_interaction.errors import UnsafeRedirect

_REDIRECTS = {301, 302, 303, 307, 308}
_MOST = 10  # redirects of one request
_TO_CONNECT, _SILENCE = 15.0, 60.0  # seconds; a transfer that goes on may take as long as it likes
# Of the user's options, those that tell a host nothing of the user.
_FOR_EVERY_HOST = ("timeout", "ssl", "proxy", "proxy_auth", "proxy_headers", "read_bufsize", "max_field_size")
_OF_THE_USER = ("headers", "auth", "cookies", "cookie_jar")  # in client_kwargs
_KEPT = 10.0  # seconds that addresses of a host are, as aiohttp has it
_looked_up: dict[str, tuple[float, list[str]]] = {}  # host -> when, and its addresses
PUBLIC, PRIVATE, LINK_LOCAL = "public", "private", "link-local"  # the last is this machine's cloud, with its keys


def client_options(options: dict[str, Any]) -> dict[str, Any]:
    """A user's options of fsspec's file system, and ours beside them: HTTP_PROXY counts, as for every other client."""
    ours = {"trust_env": _has_environment(), "auto_decompress": False}  # what aiohttp unpacks may end anywhere
    return {**options, "client_kwargs": {**ours, **options.get("client_kwargs", {})}}


def _has_environment() -> bool:
    """Whether there are proxies or logins to look up: aiohttp does so in a thread, anew for every request."""
    netrc = (os.path.expanduser(f"~/{name}") for name in (".netrc", "_netrc"))
    return bool(getproxies() or os.environ.get("NETRC") or any(map(os.path.exists, netrc)))


async def request(fs: Any, method: str, url: str, private: dict[str, str], headers: dict[str, str]) -> Any:
    """The answer to a request, from wherever the host sends it on to; to be closed.

    Args:
        fs: fsspec's file system for HTTP.
        method: "GET" or "HEAD".
        private: headers for this host alone.
        headers: those that say what is asked for.

    Raises:
        UnsafeRedirect: to http, to another network, to no address, or without end.
        aiohttp.ClientError
    """
    options = {**fs.kwargs, "headers": {**fs.kwargs.get("headers", {}), **private}}
    at = fs.encode_url(url)
    for _ in range(_MOST + 1):
        response = await _once(fs, method, at, options, headers)
        if response.status not in _REDIRECTS or "Location" not in response.headers:
            return response
        response.release()
        try:
            to = await _next(at, response.headers["Location"])
        except UnsafeRedirect as error:
            raise UnsafeRedirect(f"{url}: {error}") from None
        if to.origin() != at.origin():
            fs, options = _without_the_user(fs)
        options.pop("params", None)  # of the first address
        at = to
    raise UnsafeRedirect(f"{url}: sends on more than {_MOST} times, at last to {at.origin()}. Is the address right?")


async def _once(fs: Any, method: str, url: Any, options: dict[str, Any], headers: dict[str, str]) -> Any:
    import aiohttp

    headers = {"Accept-Encoding": "identity", **options["headers"], **headers}
    options = {**options, "headers": headers, "allow_redirects": False}
    limits = "timeout" not in {**fs.client_kwargs, **options}  # of ours
    if limits:
        options["timeout"] = aiohttp.ClientTimeout(total=None, sock_connect=_TO_CONNECT, sock_read=_SILENCE)
    session = await fs.set_session()
    asked = session.request(method, url, **options)
    return await (asyncio.wait_for(asked, _TO_CONNECT + 2 * _SILENCE) if limits else asked)  # headers may drip, too


def _without_the_user(fs: Any) -> tuple[Any, dict[str, Any]]:
    """A file system with connections of its own, and options of requests, for other hosts than the user's."""
    client = {name: value for name, value in fs.client_kwargs.items() if name not in _OF_THE_USER}
    options = {name: fs.kwargs[name] for name in _FOR_EVERY_HOST if name in fs.kwargs}
    return fsspec.filesystem("http", client_kwargs=client, **options), {**options, "headers": {}}


async def _next(at: Any, location: str) -> Any:
    """Where an answer sends on to. Raises ``UnsafeRedirect``."""
    from yarl import URL

    here = at.origin()
    try:
        to = at.join(URL(location))
        there = to.origin()
    except ValueError:
        raise UnsafeRedirect(f"{here} sends on to what is no address of HTTP.") from None
    if to.scheme not in ("http", "https"):
        raise UnsafeRedirect(f"{here} sends on to {to.scheme}:, which is not followed.")
    if (at.scheme, to.scheme) == ("https", "http"):
        raise UnsafeRedirect(f"{here} sends on to {there}, where anybody on the way could read and change what comes.")
    if there != here:
        before, after = await _networks(at.host), await _networks(to.host)
        if (PRIVATE in after and before != {PRIVATE}) or (LINK_LOCAL in after and before != {LINK_LOCAL}):
            raise UnsafeRedirect(
                f"{here} sends on to {there}, which is in a network of this machine, as no host of another may. If it "
                "is a mirror of yours, name it as the source."
            )
    return to


async def _networks(host: str) -> set[str]:
    """Which networks a host is in, by each of its addresses. One without, as a proxy may know, is taken for public."""
    asked, addresses = _looked_up.get(host, (0.0, []))
    if not addresses or time.monotonic() - asked > _KEPT:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            return {PUBLIC}
        addresses = [str(address[0]) for *_, address in found]
        _looked_up[host] = time.monotonic(), addresses
    return {network_of(address) for address in addresses}


def network_of(address: str) -> str:
    """``PUBLIC``, ``PRIVATE`` or ``LINK_LOCAL``, of an address of IP."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return LINK_LOCAL if ip.is_link_local else PUBLIC if ip.is_global else PRIVATE
