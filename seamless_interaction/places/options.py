"""What opens a place and is not to be shown: user and query of an address, keys; and who gets them."""

from __future__ import annotations

import base64
import multiprocessing.reduction
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import multiprocess.reduction  # type: ignore[import-untyped]  # of `datasets`

from seamless_interaction.errors import UsageError

_options_of_places: dict[str, dict[str, Any]] = {}  # URL -> storage_options, of the places this process has opened


def remember_options(url: str, options: dict[str, Any]) -> None:
    """What lies at an address, or below it, is opened with these from now on."""
    _options_of_places[url] = options


def options_of(path: str) -> dict[str, Any]:
    """The ``storage_options`` of the place that a URL lies in, if this process has opened one with any.

    Records need it: they hold addresses alone, as does whatever is saved of them.
    """
    places = [url for url in list(_options_of_places) if f"{path}/".startswith(f"{url}/")]  # others may open more
    return _options_of_places[max(places, key=len)] if places else {}


def bring_options(kind: type[Any]) -> type[Any]:
    """A decorator of classes: with their objects, the options of places go to processes that this one starts.

    Only ``multiprocessing`` pickles them so, not whoever writes a pickle into a file.
    """

    def reduce(one: Any) -> tuple[Any, ...]:
        return _with_options, (_options_of_places, *one.__reduce_ex__(2)[:2])

    for module in (multiprocessing, multiprocess):
        module.reduction.ForkingPickler.register(kind, reduce)
    return kind


def _with_options(options: dict[str, dict[str, Any]], make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    _options_of_places.update(options)
    return make(*arguments)


_HTTP = re.compile(r"(https?://)(?:([^/?@]*)@)?([^?]*)\??(.*)", re.DOTALL)


OF_A_HOST = re.compile(r"((?:s?ftp|ssh|smb)://)(?:([^/@]*)@)?(.*)", re.DOTALL)  # fsspec's paths lack the host


def without_secrets(url: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """An address without the user and the query in it, and options with which each request has them.

    Raises:
        UsageError: they stand in an address within another.
    """
    if match := OF_A_HOST.fullmatch(url):
        scheme, user, rest = match.groups()
        parts = zip(("username", "password"), map(unquote, (user or "").split(":", 1)), strict=False)
        return scheme + rest, {**{name: value for name, value in parts if value}, **options}
    match = _HTTP.fullmatch(url)
    if match is None:
        if "::" in url and redacted(url) != url:
            raise UsageError(
                f"{redacted(url)}: a user or a query in an address within another would be written wherever it is. "
                "Name them in storage_options, as fsspec has them for such addresses."
            )
        return url, options
    scheme, user, rest, query = match.groups()
    if user:
        login = {"Authorization": f"Basic {base64.b64encode(unquote(user).encode()).decode()}"}
        options = {**options, "headers": {**login, **options.get("headers", {})}}
    return scheme + rest, {"params": query, **options} if query else options


def redacted(text: str) -> str:
    """A text, such as a client's error, without the user and the query of each address in it."""
    text = re.sub(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?@'\"<>]*@", r"\1", text)
    return re.sub(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s?'\"<>]*)\?[^\s'\"<>]*", r"\1", text)
