"""What may be shown of a URL, and what a child process may be given of it: never a password."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

PASSWORD = re.compile(r"//(?P<user>[^/@:\s'\"]*):(?P<password>[^\s'\"]*)@")
"""`//user:password@`, up to the last @: a password that is not percent-encoded may hold slashes and more @."""
_NAMES = r"\w*(?:password|passwd|pwd|secret|token|access_key)\w*"
_PARAMETER = re.compile(rf"(?i)({_NAMES})=[^&\s'\"]*")
_NAME = re.compile(rf"(?i){_NAMES}")
HIDDEN = "***"


def redacted(url: str) -> str:
    """The text with `***` for every password of a URL and every secret parameter in it."""
    return _PARAMETER.sub(rf"\1={HIDDEN}", PASSWORD.sub(rf"//\g<user>:{HIDDEN}@", url))


def without_password(url: str) -> str:
    """The URL without its password; a driver finds it as drivers do (PGPASSWORD, a password file, a role)."""
    if "://" not in url:
        return url
    parts = urlsplit(PASSWORD.sub(r"//\g<user>@", url))
    place = parts.netloc.removeprefix("@")
    given = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(key, value) for key, value in given if not _NAME.fullmatch(key)]
    query = parts.query if len(kept) == len(given) else urlencode(kept)
    return urlunsplit((parts.scheme, place, parts.path, query, parts.fragment))
