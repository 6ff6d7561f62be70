"""Tokens: signed as Kling documents it, kept, and renewed before they end."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.auth import (
    RESIGN_SECONDS,
    TOKEN_SECONDS,
    Bearer,
    KeyPair,
    TokenSource,
    sign_jwt,
)
from tests.api.properties import promise

KEYS = KeyPair("ak-sample", "sk-sample")
NOW = 1790000000
#: kling-api.md, section 1. Never edited.
VECTOR = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJhay1zYW1wbGUiLCJleHAiOjE3OTAwMDE4MDAsIm5iZiI6MTc4OTk5OTk5NX0"
    ".qclRjFX0ImpysAzKwx3-3Luy7fDhOE7gM8qxN1M9OG0"
)


@pytest.mark.parametrize("now", [NOW, NOW + 0.999])
def test_a_signed_token_is_the_vendors_byte_for_byte(now: float):
    assert sign_jwt(KEYS, now) == VECTOR


def test_signing_with_a_short_secret_does_not_warn_on_every_request():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sign_jwt(KEYS, NOW)


def test_another_secret_signs_another_token():
    assert sign_jwt(KeyPair("ak-sample", "sk-other"), NOW) != VECTOR


def test_a_static_token_is_sent_as_it_is():
    source = TokenSource(Bearer("sk-gateway"))
    assert source.token(NOW) == source.token(NOW + 10**9, fresh=True) == "sk-gateway"
    assert not source.can_resign


def test_a_signed_token_is_kept_until_it_is_nearly_over():
    source = TokenSource(KEYS)
    first = source.token(NOW)
    last_moment = NOW + TOKEN_SECONDS - RESIGN_SECONDS
    assert first == VECTOR
    assert source.token(last_moment - 0.5) == first
    assert source.token(last_moment) == sign_jwt(KEYS, last_moment) != first
    assert source.can_resign


def test_a_rejected_token_is_signed_anew_at_once_and_kept():
    source = TokenSource(KEYS)
    source.token(NOW)
    fresh = source.token(NOW + 60, fresh=True)
    assert fresh == sign_jwt(KEYS, NOW + 60)
    assert source.token(NOW + 60 + TOKEN_SECONDS - RESIGN_SECONDS - 1) == fresh


@promise
@given(st.lists(st.floats(0, 2000), max_size=12))
def test_no_token_is_ever_sent_with_less_than_five_minutes_left(pauses: list[float]):
    import jwt

    source, now = TokenSource(KEYS), float(NOW)
    for pause in [0.0, *pauses]:
        now += pause
        claims = jwt.decode(source.token(now), options={"verify_signature": False})
        assert claims["nbf"] < now
        assert claims["exp"] - now > RESIGN_SECONDS - 1  # whole seconds in the token


@pytest.mark.parametrize("credentials", [Bearer("very-secret"), KeyPair("very-secret", "very-secret")])
def test_secrets_do_not_show_in_a_repr(credentials: Bearer | KeyPair):
    assert "very-secret" not in repr(credentials)
