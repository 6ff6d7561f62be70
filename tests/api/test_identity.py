"""The same work gets the same id, other work another one. The format is frozen."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.errors import InvalidRequest
from kling_provider.api.identity import (
    TaskIdentity,
    check_user_id,
    digest_request,
    external_task_id,
)
from tests.api.properties import promise
from tests.contexts import is_derived

WORK = TaskIdentity("dag", "manual__2026-10-01T00:00:00+00:00", "submit")
REQUEST = {"image": "https://media.example/boat.png", "prompt": "a boat", "duration": "5"}


def digest(**changes: Any) -> str:
    return digest_request("image2video", "classic", {**REQUEST, **changes})


def identify(**changes: Any) -> str:
    return external_task_id("", dataclasses.replace(WORK, **changes), digest())


# GOLDEN VECTORS. Never edited: a changed value makes every running retry pay a second time. If one of these
# fails, the code is wrong, not the vector. A new format gets a new prefix and vectors of its own.
GOLDEN = [
    (
        "",
        TaskIdentity("dag", "manual__2026-10-01T00:00:00+00:00", "submit"),
        "text2video",
        {"prompt": "a boat"},
        "af1-4oymiq-xu6hlswfqjb4pure-qdhlqc5hqyrl",
    ),
    (
        "",
        TaskIdentity("dag", "scheduled__2026-10-01T00:00:00+00:00", "submit", map_index=7),
        "image2video",
        {"image": "https://media.example/boat.png", "prompt": "a boat", "duration": "5"},
        "af1-4oymiq-jma6ngnp7frgyw3l-smqzfy77e62o",
    ),
    (
        "team-b",
        TaskIdentity(
            "dag", "scheduled__2026-10-01T00:00:00+00:00", "group.submit", map_index=7, key="s3://in/小船.png"
        ),
        "image2video",
        {"image": bytes.fromhex("89504e470d0a1a0a"), "cfg_scale": 0.5, "multi_shot": False},
        "af1-4ymm5k-cs3hqjnujjhiocem-6ex2wrhwichy",
    ),
    (
        "",
        TaskIdentity("dag", "manual__2026-10-01T00:00:00+00:00", "submit", clear_no=2, fail_no=1),
        "image2video",
        {
            "image": "https://media.example/a%20b.png?v=1&X-Amz-Signature=ff&X-Amz-Date=d&w=%E5%9B%BE",
            "prompt": "小船",
            "negative_prompt": None,
            "callback_url": "https://me.example",
        },
        "af1-4oymiq-dgodvydhzwbkdlmn-gg2v6rihs2mo",
    ),
    (
        "",
        TaskIdentity("dag", "manual__2026-10-01T00:00:00+00:00", "submit", key=""),
        "image2video",
        {
            "image": "a.png",
            "dynamic_masks": [{"mask": b"mask", "trajectories": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}],
            "camera_control": {"type": "simple", "config": {"zoom": -1.5, "pan": None}},
        },
        "af1-4oymiq-6mdrthpjwx2exai3-2rvpkvkrdnho",
    ),
    (
        "prod",
        TaskIdentity("dag", "scheduled__2026-10-01T00:00:00+00:00", "submit", map_index=0),
        "/v1/videos/omni-video",
        {
            "video_list": [{"video_url": "https://media.example/v.mp4?sig=1&se=2&sp=r&id=9"}],
            "duration": 10,
            "sound": None,
        },
        "af1-m5kk7f-t5gysnv7ypxvdtwi-extnftqxegjt",
    ),
    (
        "",
        TaskIdentity("dag", "run", "next_shot", key="a"),
        "omni-video",
        {
            "video_list": [
                {"video_url": "https://v1-fdl.kechuangai.com/ksc2/a.mp4?cacheKey=x&x-kcdn-pid=1&pkey=2"}
            ]
        },
        "af1-4oymiq-icqmsp5vzaaefnjg-oi6dwdcyocbn",
    ),
]
# END OF THE GOLDEN VECTORS


@pytest.mark.parametrize(("namespace", "identity", "endpoint", "request_body", "expected"), GOLDEN)
def test_an_id_once_derived_is_derived_for_ever(
    namespace: str, identity: TaskIdentity, endpoint: str, request_body: dict[str, Any], expected: str
):
    assert (
        external_task_id(namespace, identity, digest_request(endpoint, "classic", request_body)) == expected
    )


@pytest.mark.parametrize("expected", [row[-1] for row in GOLDEN])
def test_a_derived_id_is_recognised_and_could_be_a_users(expected: str):
    assert is_derived(expected)
    assert len(expected) == 40
    assert check_user_id(expected) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "af1",
        "af2-aaaaaa-bbbbbbbbbbbbbbbb-cccccccccccc",
        "my-id",
        GOLDEN[0][-1].upper(),
        GOLDEN[0][-1] + "a",
    ],
)
def test_another_id_is_not_taken_for_a_derived_one(value: str):
    assert not is_derived(value)


names = st.text(st.characters(codec="utf-8"), max_size=20)


@promise
@given(
    names,
    names,
    names,
    names,
    st.integers(-1, 9999),
    st.none() | names,
    st.integers(0, 9),
    st.integers(0, 20),
)
def test_every_id_has_the_frozen_format(
    namespace: str,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int,
    key: str | None,
    clear_no: int,
    fail_no: int,
):
    work = TaskIdentity(dag_id, run_id, task_id, map_index, key, clear_no, fail_no)
    assert is_derived(external_task_id(namespace, work, digest()))


@pytest.mark.parametrize(
    "changes",
    [
        {"dag_id": "dag2"},
        {"run_id": "manual__2026-10-02T00:00:00+00:00"},
        {"task_id": "submit2"},
        {"map_index": 0},
        {"map_index": 1},
        {"key": "boat"},
        {"key": ""},
        {"clear_no": 1},
        {"fail_no": 1},
    ],
    ids=str,
)
def test_every_part_of_the_identity_changes_the_id(changes: dict[str, Any]):
    assert identify(**changes) != identify()


def test_the_namespace_changes_the_id_and_nothing_else_of_it():
    mine, yours = (external_task_id(name, WORK, digest()).split("-") for name in ("", "team-b"))
    assert mine[1] != yours[1]
    assert mine[2:] == yours[2:]


def test_a_clear_and_a_failure_are_not_added_up():
    assert len({identify(clear_no=clear, fail_no=fail) for clear in range(4) for fail in range(4)}) == 16


def test_neighbouring_names_do_not_run_together():
    assert identify(dag_id="a", run_id="bc") != identify(dag_id="ab", run_id="c")


@promise
@given(st.integers(-1, 10**6), st.integers(-1, 10**6) | names, names)
def test_a_key_never_collides_with_a_position(map_index: int, key: object, other: str):
    assert identify(key=str(key)) != identify(map_index=map_index)
    assert (identify(key=str(key)) == identify(key=other)) is (str(key) == other)


def test_a_key_frees_a_mapped_task_from_its_position():
    assert identify(key="boat", map_index=3) == identify(key="boat", map_index=4)


# -- what was asked for


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "a ship"},
        {"duration": "10"},
        {"image": "https://media.example/ship.png"},
        {"cfg_scale": 0.5},
        {"camera_control": {"type": "simple", "config": {"zoom": 1}}},
        {"watermark_info": {"enabled": False}},
    ],
    ids=str,
)
def test_another_request_is_other_work(changes: dict[str, Any]):
    assert digest(**changes) != digest()


def test_the_endpoint_and_its_dialect_are_part_of_the_request():
    assert (
        len(
            {
                digest_request("image2video", "classic", REQUEST),
                digest_request("text2video", "classic", REQUEST),
                digest_request("image2video", "new", REQUEST),
            }
        )
        == 3
    )


def test_the_order_of_the_fields_does_not_matter():
    nested = {"camera_control": {"type": "simple", "config": {"pan": 0, "zoom": 1}}}
    turned = {"camera_control": {"config": {"zoom": 1, "pan": 0}, "type": "simple"}}
    forwards = {**REQUEST, **nested}
    backwards = dict(reversed(list({**REQUEST, **turned}.items())))
    assert list(forwards) != list(backwards)
    assert digest_request("image2video", "classic", forwards) == digest_request(
        "image2video", "classic", backwards
    )


def test_the_order_of_a_list_does_matter():
    assert digest(element_list=[1, 2]) != digest(element_list=[2, 1])


def test_a_tuple_is_a_list():
    assert digest(element_list=(1, 2)) == digest(element_list=[1, 2])


@pytest.mark.parametrize(
    "changes",
    [
        {"negative_prompt": None},
        {"callback_url": "https://me.example/hook"},
        {"external_task_id": "mine"},
    ],
    ids=str,
)
def test_nulls_and_what_is_not_asked_for_do_not_matter(changes: dict[str, Any]):
    assert digest(**changes) == digest()


def test_nulls_inside_objects_do_not_matter():
    assert digest(camera_control={"type": "simple", "config": None}) == digest(
        camera_control={"type": "simple"}
    )


def test_a_callback_url_inside_an_object_is_not_ours_to_ignore():
    assert digest(inner={"callback_url": "x"}) != digest(inner={"callback_url": "y"})


def test_a_picture_counts_by_what_is_in_it():
    assert digest(image=b"one") == digest(image=bytearray(b"one")) != digest(image=b"two")
    assert digest(dynamic_masks=[{"mask": b"one"}]) != digest(dynamic_masks=[{"mask": b"two"}])
    assert digest(image=b"one") != digest(image="one")


def test_a_result_of_kling_is_the_same_wherever_and_however_it_is_told():
    told = [
        digest(image=f"https://{host}/ksc2/a.png{query}")
        for host in (
            "v1-fdl.kechuangai.com",
            "v15-fdl.kechuangai.com",
            "p1-fdl.klingai.com",
            "p1.a.kwimgs.com",
        )
        for query in ("?cacheKey=1&x-kcdn-pid=2&pkey=3", "?pkey=4", "")
    ]
    assert len(set(told)) == 1
    assert digest(image="https://v1-fdl.kechuangai.com/ksc2/b.png?pkey=3") not in told
    assert digest(image="https://v1-fdl.kechuangai.com/ksc2/a.png?pkey=3&version=2") not in told
    assert digest(image="https://evil-kechuangai.com/ksc2/a.png?pkey=3") not in told


def test_what_kling_signs_with_may_mean_something_elsewhere():
    one, two = (digest(image=f"https://shop.example/img?pkey={number}") for number in (1, 2))
    assert one != two
    mine = [
        digest_request(
            "image2video", "classic", {"image": f"https://{host}/img?pkey={host}"}, {"a.example", "b.example"}
        )
        for host in ("a.example", "b.example")
    ]
    assert mine[0] == mine[1]


SIGNATURES = [
    "X-Amz-Signature=1f&X-Amz-Date=20261001T000000Z&X-Amz-Expires=3600&X-Amz-Credential=c&X-Amz-Security-Token=t",
    "x-amz-signature=1f",
    "X-Goog-Signature=1f&X-Goog-Date=d",
    "sig=1f&se=2026-10-01&sp=r",
    "Expires=1790000000&Signature=abc%2Bd%3D",
    "q-sign-algorithm=sha1&q-sign-time=1;2&q-signature=ff&q-key-time=1;2",
    "x-oss-signature=1&x-oss-date=2",
]


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_signed_url_with_a_new_signature_is_the_same_request(signature: str):
    plain = digest(image="https://media.example/boat.png")
    assert digest(image=f"https://media.example/boat.png?{signature}") == plain
    assert digest(image=f"https://media.example/boat.png?{signature.replace('1', '9')}") == plain


@pytest.mark.parametrize("signature", SIGNATURES)
def test_beside_a_signature_the_other_parameters_still_count(signature: str):
    one, two = (f"https://media.example/boat.png?{signature}&versionId={number}" for number in (1, 2))
    assert digest(image=one) != digest(image=two)
    assert digest(image=one) == digest(image="https://media.example/boat.png?versionId=1")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("https://a.example/i.png?v=1", "https://a.example/i.png?v=2"),
        ("https://a.example/i.png?v=", "https://a.example/i.png?w="),
        ("https://a.example/i.png?assignee=1", "https://a.example/i.png?assignee=2"),
        ("https://a.example/i.png?sigma=1", "https://a.example/i.png?sigma=2"),
        ("https://a.example/i.png?q=sig%3D1", "https://a.example/i.png?q=sig%3D2"),
        ("https://a.example/1?sig=1", "https://a.example/2?sig=1"),
        ("https://a.example/i?sig=1", "https://b.example/i?sig=1"),
        ("https://a.example/i?sig=1#x", "https://a.example/i?sig=1#y"),
        ("s3://bucket/1.png", "s3://bucket/2.png"),
    ],
)
def test_urls_that_differ_in_more_than_the_signature_are_different(one: str, two: str):
    assert digest(image=one) != digest(image=two)


def test_a_signature_is_ignored_wherever_the_url_stands():
    assert digest(dynamic_masks=[{"mask": "https://a.example/m?sig=1"}]) == digest(
        dynamic_masks=[{"mask": "https://a.example/m?sig=2"}]
    )


def test_a_prompt_that_mentions_a_url_is_not_touched():
    assert digest(prompt="see https://a.example/?sig=1 now") != digest(
        prompt="see https://a.example/?sig=2 now"
    )


@pytest.mark.parametrize("url", ["https://[broken?sig=1", "https://[::1?x=y", "x://[?a"])
def test_a_broken_url_still_has_a_digest(url: str):
    assert digest(image=url) != digest()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@promise
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), json_values, max_size=4))
def test_any_request_has_one_digest_and_is_left_as_it_was(request_body: dict[str, Any]):
    before = repr(request_body)
    first = digest_request("image2video", "classic", request_body)
    backwards = dict(reversed(list(request_body.items())))
    assert first == digest_request("image2video", "classic", backwards)
    assert repr(request_body) == before


# -- the user's own ids


@pytest.mark.parametrize("value", ["a", "A1", "order_17-b", "x" * 64, "none", "1e", "-a"])
def test_a_users_own_id_is_taken(value: str):
    assert check_user_id(value) == value


@pytest.mark.parametrize(
    "value", ["", "None", "17", "-_-", "x" * 65, "a b", "a/b", "a.b", "ä", "a\n", None, 17, b"a"], ids=repr
)
def test_an_id_that_cannot_be_looked_up_is_refused(value: object):
    with pytest.raises(InvalidRequest, match=r"external_task_id=.* cannot be used: 1 to 64"):
        check_user_id(value)  # type: ignore[arg-type]
