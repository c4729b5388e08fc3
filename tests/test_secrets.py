"""What is told of a config holds no secret, and everything else as it was."""

import pytest

from diffkit import redacted


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"token": "a", "net": {"api_key": "x", "tokens": "9"}},
            {"token": "*", "net": {"api_key": "*", "tokens": "9"}},
        ),
        ({"hf_token": "a", "token": 64, "secret": None}, {"hf_token": "*", "token": 64, "secret": None}),
        ({"uri": "postgresql://me:pw@host:1/db"}, {"uri": "postgresql://*@host:1/db"}),
        (["https://host/a@b", "me@host"], ["https://host/a@b", "me@host"]),
        ({"path": "/x/hunter2/y", "sizes": ["hunter2", 1.5, True]}, {"path": "/x/*/y", "sizes": ["*", 1.5, True]}),
        ({"path": "/home/of-somebody"}, {"path": "/home/of-somebody"}),
    ],
    ids=["keys", "only-text", "logins", "no-logins", "environment", "other-variables"],
)
def test_secrets_are_hidden_and_nothing_else(values, expected, monkeypatch):
    monkeypatch.setattr("diffkit.secrets.HIDDEN", "*")
    monkeypatch.setenv("SOME_API_KEY", "hunter2")
    monkeypatch.setenv("SHORT_TOKEN", "x")
    monkeypatch.setenv("PLACE", "/home/of-somebody")
    assert redacted(values) == expected
