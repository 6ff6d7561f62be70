"""Who is asking: a static key, or a JWT signed with access key and secret key."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import jwt

from kling_provider.simulator.accounts import Account
from kling_provider.simulator.refusals import Refusal

JWT_DOTS = 2


def authenticate(
    header: str | None, accounts: Iterable[Account], now: float, *, jwt_allowed: bool
) -> Account:
    """Find the account an Authorization header belongs to.

    :param header: its value, or None.
    :param accounts: whose keys count.
    :param now: epoch seconds by the simulated server's clock.
    :param jwt_allowed: whether this gateway takes access key and secret key.
    :raises Refusal: 1000 to 1004.
    """
    if not header or not header.strip():
        raise Refusal(1001, "Authorization is empty")
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refusal(1000, "Authorization must be 'Bearer <token>'")
    known = list(accounts)
    for account in known:
        if token == account.api_key:
            return account
    if token.count(".") != JWT_DOTS:
        raise Refusal(1002, "api key not found")
    if not jwt_allowed:
        raise Refusal(1002, "AK/SK is not supported here, create an API key")
    return _signed_by(token, known, now)


def kind_of(header: str | None) -> str:
    """What an Authorization header is, without what it says: for the request journal."""
    if not header:
        return "none"
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        return "not a bearer token"
    return "Bearer <JWT>" if token.count(".") == JWT_DOTS else "Bearer <key>"


def _signed_by(token: str, accounts: list[Account], now: float) -> Account:
    # The times are compared by hand: PyJWT knows only this machine's clock.
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    unsigned: Any = {**options, "verify_signature": False}
    try:
        claims = jwt.decode(token, options=unsigned)
        account = next((one for one in accounts if one.access_key == claims.get("iss")), None)
        if account is None:
            raise Refusal(1002, "access key not found")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a sample key may be short
            jwt.decode(token, account.secret_key, ["HS256"], options)
        begins, ends = float(claims.get("nbf", 0)), float(claims["exp"])
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as error:
        raise Refusal(1000, f"signature is invalid: {type(error).__name__}") from None
    if begins > now:
        raise Refusal(1003, "Authorization is not valid yet")
    if ends <= now:
        raise Refusal(1004, "Authorization is expired")
    return account
