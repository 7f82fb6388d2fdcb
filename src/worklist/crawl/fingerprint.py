"""When two requests are the same: a key over the canonical URL, the method and the body.

The canonical URL is w3lib's. Most URLs are canonical as they stand; a regular expression finds those, and the exact,
slow functions are asked for the rest only. `tests/crawl/test_fingerprint.py` holds the two against each other.
"""

import hashlib
import re
from typing import TYPE_CHECKING

from w3lib.url import canonicalize_url, safe_url_string

if TYPE_CHECKING:
    from .request import Request

_LABEL = r"[a-z0-9](?:[a-z0-9\-]{0,50}[a-z0-9])?"
_HOST = rf"https?://{_LABEL}(?:\.{_LABEL})*(?::[1-9][0-9]{{0,4}})?"
_CANONICAL = re.compile(_HOST + r"(?:/[A-Za-z0-9\-._~/]*)(?:\?[A-Za-z0-9\-._~]+=[A-Za-z0-9\-._~]*)?\Z").match
"""URLs with at most one argument, and no character that is ever written differently."""
_SAFE = re.compile(_HOST + r"(?:/[A-Za-z0-9\-._~/]*(?:\?[A-Za-z0-9\-._~=&]+)?(?:#[A-Za-z0-9\-._~]+)?)?\Z").match
"""URLs that `safe_url_string` leaves as they are: it puts a slash before arguments that follow the host at once."""


def is_canonical(url: str) -> bool:
    """Return whether it is plain to see that `url` is its own canonical form."""
    return "/." not in url and _CANONICAL(url) is not None and "//" not in url[8:]


def canonical(url: str) -> str:
    """Return the canonical form of a URL: without fragment, arguments sorted, escapes spelt one way."""
    return url if is_canonical(url) else canonicalize_url(url)


def safe(url: str, encoding: str = "utf-8") -> str:
    """Return a URL in which everything is escaped that has to be."""
    return url if _SAFE(url) and "//" not in url[8:] else safe_url_string(url, encoding)


def fingerprint(request: "Request") -> str:
    """Return the key of a request: 32 hexadecimal digits."""
    url = canonical(request.url)
    if request.method == "GET" and not request.body:
        return hashlib.blake2b(url.encode(), digest_size=16).hexdigest()
    whole = b"\0".join((request.method.encode(), url.encode(), request.body))
    return hashlib.blake2b(whole, digest_size=16).hexdigest()
