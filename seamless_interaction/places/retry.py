"""What an error of a client means: which answer of a host, and how long to wait before the next attempt."""

from __future__ import annotations

import asyncio
import random
import ssl
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

_FIRST_WAIT, _LONGEST_WAIT, _LONGEST_ASKED = 0.25, 30.0, 300.0  # seconds; the last where the host asks for it


def answer(error: BaseException) -> tuple[int | None, Any]:
    """Status and headers of the HTTP answer that an error of any of the clients is about."""
    for about in (error, error.__cause__):  # s3fs translates, and keeps what it translated
        response = getattr(about, "response", None)
        if isinstance(response, dict):  # boto's
            answer = response.get("ResponseMetadata", {})
            return answer.get("HTTPStatusCode"), answer.get("HTTPHeaders")
        status = getattr(about, "status", None) or getattr(response, "status_code", None)
        if status:
            return status, getattr(about, "headers", None) or getattr(response, "headers", None)
    return None, None


def is_of_the_network(error: BaseException) -> bool:
    import aiohttp

    # Until Python 3.11, asyncio and fsspec have a TimeoutError of their own.
    return isinstance(error, (aiohttp.ClientError, asyncio.TimeoutError, TimeoutError, OSError))


def is_of_the_certificate(error: BaseException | None) -> bool:
    while error is not None:  # each client wraps the one of Python
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def seconds_after(attempt: int, headers: Any) -> float:
    """Seconds to wait after an attempt: what the host asks for, else twice as long each time."""
    asked = next((value for name, value in (headers or {}).items() if name.lower() == "retry-after"), "")
    if asked.isdecimal():
        return min(float(asked), _LONGEST_ASKED)
    try:  # a date; the answer is as good as none if it is no date either
        seconds = (parsedate_to_datetime(asked) - datetime.now(timezone.utc)).total_seconds()
        return min(max(seconds, 0.0), _LONGEST_ASKED)
    except (ValueError, TypeError):
        return min(_FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1.5), _LONGEST_WAIT)
