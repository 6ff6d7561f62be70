"""How a request proves who sends it: a static bearer token, or a JWT signed with access and secret key."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

#: The vendor's sample lifetime. No maximum is documented.
TOKEN_SECONDS = 1800
#: The vendor's sample: valid five seconds back, for clocks that differ a little.
NOT_BEFORE_SECONDS = 5
#: Sign anew when less than this is left, so that a token never ends on its way.
RESIGN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Bearer:
    """A static token: an API key of the vendor, or a gateway's token."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Access key and secret key of the vendor, signed into a short-lived JWT."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


Credentials = Bearer | KeyPair


def sign_jwt(keys: KeyPair, now: float) -> str:
    """Sign the token Kling's documents describe (HS256; claims iss, exp, nbf).

    :param keys: access key and secret key.
    :param now: epoch seconds.
    """
    import jwt  # here, because importing an operator must stay cheap

    claims = {
        "iss": keys.access_key,
        "exp": int(now) + TOKEN_SECONDS,
        "nbf": int(now) - NOT_BEFORE_SECONDS,
    }
    with warnings.catch_warnings():
        # The length of the secret is Kling's choice; a warning per request would not lengthen it.
        warnings.simplefilter("ignore")
        return jwt.encode(claims, keys.secret_key, algorithm="HS256", sort_headers=True)


class TokenSource:
    """Hands out the Authorization value; keeps a signed token until it is nearly over.

    :param credentials: what to prove with.
    """

    def __init__(self, credentials: Credentials):
        self._credentials = credentials
        self._token: str | None = None
        self._good_until = 0.0

    @property
    def can_resign(self) -> bool:
        """Whether a new token can be had after 1003 or 1004."""
        return isinstance(self._credentials, KeyPair)

    def token(self, now: float, *, fresh: bool = False) -> str:
        """Return the token to send.

        :param now: epoch seconds.
        :param fresh: sign a new one even if the old one looks good.
        """
        if isinstance(self._credentials, Bearer):
            return self._credentials.token
        if fresh or self._token is None or now >= self._good_until:
            self._token = sign_jwt(self._credentials, now)
            self._good_until = now + TOKEN_SECONDS - RESIGN_SECONDS
        return self._token
