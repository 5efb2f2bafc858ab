"""What others see of a source's address."""

from __future__ import annotations

import pytest

from services.capture.source_address import login_of, public_address, without_login


@pytest.mark.parametrize(
    ("source", "public"),
    [
        ("scene:7", "scene:7"),
        ("/home/pi/video=1.mp4", "/home/pi/video=1.mp4"),
        ("http://10.0.0.7:8080/v.mjpg", "http://10.0.0.7:8080/v.mjpg"),
        ("http://pi:horse@10.0.0.7/v", "http://10.0.0.7/v"),
        ("rtsp://pi:h#r?e@10.0.0.7/v", "rtsp://10.0.0.7/v"),
        ("http://10.0.0.7/v?user=pi&pwd=horse&auth=aa", "http://10.0.0.7/v?user=***&pwd=***&auth=***"),
        ("http://10.0.0.7?horse", "http://10.0.0.7?***"),
        ("http://10.0.0.7/v?a=&b=ho=rse;c=d#horse", "http://10.0.0.7/v?a=&b=***;c=***#***"),
        ("rtsp://10.0.0.7/user=pi_password=horse_channel=1.sdp", "rtsp://10.0.0.7/user=***"),
    ],
)
def test_login_and_values_are_hidden(source: str, public: str) -> None:
    assert public_address(source) == public


def test_the_server_is_asked_for_everything_but_the_login() -> None:
    url = "http://pi:h%40rse@10.0.0.7/v?pwd=horse"
    assert without_login(url) == "http://10.0.0.7/v?pwd=horse"
    assert login_of(url) == "pi:h@rse"
    assert login_of("http://10.0.0.7/v@2") == ""
