"""Find secret values, and the forms in which a program can print them. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote

from watcher import regex

SHORTEST = 6  # characters; a shorter value is hidden as a whole word only
SHORTEST_WORD = 3  # characters; a shorter value is never hidden


def _split_words(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words of a variable's name, split at `_`, `-` and capitals: DB_PASS, apiKey, JWT, MYSQL_DSN.
_SECRET_WORDS = _split_words(
    "pass password passwd passphrase pwd pw secret secrets token tokens credential credentials creds auth"
    " authorization key keys apikey jwt dsn pat cookie salt pepper signature bearer license"
)
# Parts of a word, for names without a boundary: PGPASSWORD, clientsecret.
_SECRET_PARTS = ("password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "privatekey")
# Last words of names about a secret that hold none: AUTH_MODE, KEY_FILE, TOKEN_TTL, PUBLIC_KEY.
_ABOUT = _split_words(
    "file path dir folder url uri host port ttl timeout expiry expires enabled required mode method type kind"
    " header issuer audience algorithm alg user username name id ids length size count version location"
    " provider scheme realm prefix"
)
_WORDS = regex.compile(r"[A-Z]+[a-z0-9]*|[a-z0-9]+")
# Common words of every log. Hiding them would make the log unreadable.
_ORDINARY = _split_words(
    "true false yes none null nil off on dev test prod stage staging local debug info warn error default"
    " enabled disabled basic bearer oauth oidc ldap root admin user localhost development production"
)
_USERINFO = regex.compile(r"://[^\s/:@]*:([^\s/]+)@")
_DSN = regex.compile(r"^[^\s:@/()]*:([^\s@/()]+)@(?:[a-z]+\(|/)")
_KEYWORD = regex.compile(r"(?i)\b(?:password|passwd|pwd)\s*=\s*('[^']*'|[^\s;&]+)")


def is_secret_name(name: str) -> bool:
    """Return whether a variable or build argument of this name holds a secret."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or words[-1] in _ABOUT or "public" in words:
        return False
    return any(word in _SECRET_WORDS or any(part in word for part in _SECRET_PARTS) for word in words)


def secret_values(named: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets in variables or build arguments: by name, and passwords inside any value."""
    found: dict[str, None] = {}
    for name, value in named.items():
        if is_secret_name(name) and value.lower() not in _ORDINARY:
            found[value] = None
        found |= dict.fromkeys(_find_passwords(value))
    return tuple(found)


def _find_passwords(value: str) -> Iterator[str]:
    """Yield the passwords in a URL, a DSN (`user:pw@tcp(…)/db`) or a list like `host=db password=…`."""
    for pattern in (_USERINFO, _DSN, _KEYWORD):
        for match in pattern.finditer(value):
            password = match[1].strip("'")
            yield password
            yield unquote(password)


def long_forms(secrets: Iterable[str]) -> set[str]:
    """Return the texts to hide anywhere: each secret as it is, quoted, and in base64 at any offset."""
    found: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            data = secret.encode(errors="surrogateescape")
            found |= {secret, quote(data, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
            found.update(_encode_base64(data))
    return {form for form in found if len(form) >= SHORTEST}


def short_forms(secrets: Iterable[str]) -> set[str]:
    """Return the texts to hide as whole words: secrets too short to search inside other words."""
    return {
        secret
        for secret in secrets
        if SHORTEST_WORD <= len(secret) < SHORTEST
        and secret.lower() not in _ORDINARY
        and not secret.isdecimal()
    }


def _encode_base64(data: bytes) -> Iterator[str]:
    """Yield the characters that depend on the data alone, for each of its three possible offsets."""
    for before in range(3):
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(before) + data).decode()
            first = (before * 8 + 5) // 6  # this character also holds bits of the byte before
            last = (before + len(data)) * 8 // 6
            yield text[first:last]
