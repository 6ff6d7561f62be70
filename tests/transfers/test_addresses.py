from __future__ import annotations

import pytest

from kling_provider.exceptions import KlingBadRequestError
from kling_provider.transfers.addresses import check_target

PUBLIC = "93.184.216.34"
PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "0.0.0.0",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "fe80::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "2002:a00:1::1",
    "64:ff9b::a9fe:a9fe",
]


def to(*addresses: str):
    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return list(addresses)

    asked: list[tuple[str, int]] = []
    resolve.asked = asked  # type: ignore[attr-defined]
    return resolve


@pytest.mark.parametrize(
    "address", [PUBLIC, "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"]
)
def test_https_to_a_public_address_is_fetched_from_that_address(address):
    resolve = to(address)
    target = check_target("https://cdn.example.com/a.mp4?x=1", resolve=resolve)
    assert (target.addresses, target.port, target.url.hostname) == ((address,), 443, "cdn.example.com")
    assert resolve.asked == [("cdn.example.com", 443)]


def test_every_address_of_a_name_may_be_tried_in_its_order():
    resolve = to("2606:2800:220:1::1", PUBLIC, PUBLIC)
    target = check_target("https://cdn.example.com/a.mp4", resolve=resolve)
    assert target.addresses == ("2606:2800:220:1::1", PUBLIC)
    assert len(resolve.asked) == 1


def test_so_many_dead_addresses_are_waited_for_and_no_more():
    every = [f"93.184.216.{number}" for number in range(100)]
    assert check_target("https://cdn.example.com/a", resolve=to(*every)).addresses == tuple(every[:8])


def test_an_address_is_checked_that_is_not_connected_to_any_more():
    every = [f"93.184.216.{number}" for number in range(100)]
    with pytest.raises(KlingBadRequestError, match=r"private address 10\.0\.0\.1;"):
        check_target("https://cdn.example.com/a", resolve=to(*every, "10.0.0.1"))


def test_the_port_of_the_url_counts():
    resolve = to(PUBLIC)
    assert check_target("https://cdn.example.com:8443/a", resolve=resolve).port == 8443
    assert resolve.asked == [("cdn.example.com", 8443)]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_to_a_private_address_is_refused(address):
    with pytest.raises(KlingBadRequestError, match="leads to the private address") as caught:
        check_target("https://cdn.example.com/a.mp4?signature=secret", resolve=to(address))
    assert "result_hosts" in str(caught.value)
    assert "https://cdn.example.com/a.mp4" in str(caught.value)
    assert "signature" not in str(caught.value)


@pytest.mark.parametrize("address", [a for a in PRIVATE if "%" not in a])
def test_a_private_address_in_the_url_itself_is_refused(address):
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(KlingBadRequestError, match="private address"):
        check_target(f"https://{host}/latest/meta-data")


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f000001", "127.1"])
def test_other_spellings_of_this_machine_are_refused(host):
    with pytest.raises(KlingBadRequestError, match="private address 127"):
        check_target(f"https://{host}/", resolve=None if host != "localhost" else to("127.0.0.1"))


@pytest.mark.parametrize("order", [(PUBLIC, "10.0.0.1"), ("10.0.0.1", PUBLIC)])
def test_one_private_address_among_public_ones_is_enough(order):
    with pytest.raises(KlingBadRequestError, match=r"private address 10\.0\.0\.1"):
        check_target("https://cdn.example.com/", resolve=to(*order))


def test_plain_http_is_refused():
    with pytest.raises(KlingBadRequestError, match=r"'http://cdn.example.com/a.mp4' is not https"):
        check_target("http://cdn.example.com/a.mp4", resolve=to(PUBLIC))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://cdn.example.com/a",
        "file:///etc/passwd",
        "/etc/passwd",
        "",
        "https://",
        "gopher://h/",
        "https:///a",
        r"https://169.254.169.254\@cdn.example.com/a",
        "https://169.254.169.254 cdn.example.com/a",
        "https://%31%36%39.254.169.254/a",
    ],
)
def test_what_is_no_web_address_is_refused_without_asking_for_its_name(url):
    resolve = to(PUBLIC)
    with pytest.raises(KlingBadRequestError, match="no web address"):
        check_target(url, resolve=resolve)
    assert resolve.asked == []


@pytest.mark.parametrize("url", ["https://host:99999/a?sig=secret", "https://host:x/", "https://[::1/"])
def test_an_address_that_cannot_be_read_is_refused(url):
    with pytest.raises(KlingBadRequestError, match="no web address") as caught:
        check_target(url, resolve=to(PUBLIC))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://minio.internal:9000/a", ["minio.internal"]),
        ("http://minio.internal:9000/a", ["minio.internal:9000"]),
        ("https://minio.internal/a", ["other", "minio.internal"]),
        ("https://MINIO.internal/a", ["minio.internal"]),
    ],
)
def test_a_private_host_of_the_connection_is_allowed(url, allowed):
    assert check_target(url, allowed_hosts=allowed, resolve=to("10.0.0.1")).addresses == ("10.0.0.1",)


@pytest.mark.parametrize("allowed", [["minio.internal:9001"], ["internal"], ["x.minio.internal"], []])
def test_another_host_or_port_is_not_allowed_by_that(allowed):
    with pytest.raises(KlingBadRequestError):
        check_target("http://minio.internal:9000/a", allowed_hosts=allowed, resolve=to("10.0.0.1"))


def test_loopback_is_allowed_only_where_the_api_itself_is_there():
    for address in ("127.0.0.1", "::1"):
        target = check_target("http://localhost:1/a", allow_loopback=True, resolve=to(address))
        assert target.addresses == (address,)
        with pytest.raises(KlingBadRequestError):
            check_target("http://localhost:1/a", resolve=to(address))


@pytest.mark.parametrize("addresses", [("10.0.0.1",), ("127.0.0.1", "10.0.0.1"), ("169.254.169.254",)])
def test_an_api_on_loopback_opens_no_other_private_address(addresses):
    with pytest.raises(KlingBadRequestError):
        check_target("https://somewhere/a", allow_loopback=True, resolve=to(*addresses))


def test_a_name_that_cannot_be_resolved_can_be_tried_again():
    with pytest.raises(ConnectionError, match=r"kling.invalid cannot be resolved"):
        check_target("https://kling.invalid/a")
    with pytest.raises(ConnectionError, match="cannot be resolved"):
        check_target(f"https://{'a' * 70}.example.com/a")
