"""Names and raw paths of endpoints, and ids that never leave their path segment."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_provider.api.endpoints import ENDPOINTS, check_id, endpoint_for, path_segment
from kling_provider.api.errors import InvalidRequest
from tests.api.properties import promise


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_a_known_name_is_found(name: str):
    assert endpoint_for(name) is ENDPOINTS[name]
    assert ENDPOINTS[name].name == name
    assert ENDPOINTS[name].typical_seconds > 0 or ENDPOINTS[name].work != "task"


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("image2vidoe", "image2video"), ("img2video", "image2video"), ("text2vid", "text2video")],
)
def test_a_typo_is_answered_with_the_name_that_was_meant(typo: str, meant: str):
    with pytest.raises(InvalidRequest, match=f"endpoint='{typo}' is not known. Did you mean '{meant}'"):
        endpoint_for(typo)


def test_a_name_like_no_other_is_answered_with_all_names():
    with pytest.raises(InvalidRequest) as caught:
        endpoint_for("zzz")
    assert "Did you mean" not in str(caught.value)
    assert all(name in str(caught.value) for name in ENDPOINTS)


@pytest.mark.parametrize("value", [None, 5, ["image2video"], ""])
def test_what_is_not_a_name_is_refused(value: object):
    with pytest.raises(InvalidRequest, match="endpoint="):
        endpoint_for(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/v1/videos/whatever", "/v1/x_y.z~1", "/a"])
def test_a_raw_path_travels_as_it_is(path: str):
    row = endpoint_for(path)
    assert (row.name, row.create_path, row.list_path, row.pictures) == (path, path, path, ())
    assert row.query_path("12") == f"{path}/12"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/../account/costs",
        "/v1/./x",
        "/v1/...",
        "//evil.example/v1",
        "/v1//x",
        "/v1/x/",
        "/v1/x?a=b",
        "/v1/x#a",
        "/v1/%2e%2e/x",
        "/v1/x y",
        "/v1/x\n",
        "/v1/图",
        "/v1/x@y",
        "/v1\\x",
    ],
)
def test_a_raw_path_that_could_lead_elsewhere_is_refused(path: str):
    with pytest.raises(InvalidRequest, match="is not a plain path"):
        endpoint_for(path)


@pytest.mark.parametrize(
    "task_id", ["867283741759111202", "task_01HZX", "af1-aaaaaa-bbbb-cccc", "a.b", "..a", "=", "a:b="]
)
def test_a_task_id_is_kept(task_id: str):
    assert check_id(task_id) == task_id
    assert unquote(path_segment(task_id)) == task_id


@pytest.mark.parametrize(
    "task_id",
    [
        "../../account/costs",
        "..",
        ".",
        "...",
        "",
        "a/b",
        "a%2fb",
        "a?b",
        "a#b",
        "a b",
        "a\n",
        "图",
        "a\\b",
        "{{ task_id }}",
        None,
        12,
        b"12",
        ["12"],
    ],
)
def test_an_id_that_could_lead_elsewhere_is_refused_and_named(task_id: object):
    with pytest.raises(InvalidRequest, match=r"kling_task_id=.* is not a task id"):
        check_id(task_id, "kling_task_id")
    with pytest.raises(InvalidRequest, match="task_id="):
        path_segment(task_id)  # type: ignore[arg-type]


def test_an_id_is_percent_encoded():
    assert path_segment("a:b=") == "a%3Ab%3D"
    assert ENDPOINTS["image2video"].query_path("a:b=") == "/v1/videos/image2video/a%3Ab%3D"


@promise
@given(st.text(st.characters(codec="utf-8"), max_size=12) | st.text("./:=%-a1", max_size=8))
def test_no_id_ever_leaves_its_path_segment(task_id: str):
    try:
        path = ENDPOINTS["image2video"].query_path(task_id)
    except InvalidRequest:
        return
    parts = urlsplit(f"https://kling.example{path}")
    assert parts.path == path
    assert (parts.query, parts.fragment) == ("", "")
    *before, last = path.split("/")
    assert "/".join(before) == "/v1/videos/image2video"
    assert unquote(last) == task_id
    assert last not in ("", ".", "..")
