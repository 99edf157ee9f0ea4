"""Secrets are masked by the names that they go by."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soniq.codec import encode_values
from soniq.errors import ConfigurationError, InvalidArguments
from soniq.redaction import MASK, TOO_DEEP, USUAL_NAMES, Redactor, redactor
from soniq.testing import make_app

HIDDEN = (
    *USUAL_NAMES,
    "user_password",
    "PASSWORD",
    "Password2",
    "dbpassword",
    "X-Api-Key",
    "apikey",
    "apiKey",
    "APIKEY",
    "accessToken",
    "access.token",
    "HTTPAuthorization",
    "Set-Cookie",
    "sessionid",
    "credentials",
    "private-key",
    "userPwd",
    "ｐａｓｓｗｏｒｄ",  # noqa: RUF001  # letters that look alike are the point
)
SHOWN = ("", "order_id", "key", "api", "path", "author", "passage", "keyword", "jwtx", "pwdx", "名前")
NAMES = st.sampled_from(HIDDEN) | st.sampled_from(SHOWN) | st.text(max_size=6)
SECRET = "hunter2-é"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", HIDDEN)
def test_a_name_with_a_listed_name_in_it_is_hidden(name):
    """Whatever the case and the separators."""
    assert Redactor().value({name: SECRET}) == {name: MASK}


@pytest.mark.parametrize("name", SHOWN)
def test_other_names_are_shown(name):
    """Parts of a listed name are none, and short names have to be words."""
    assert Redactor().value({name: SECRET}) == {name: SECRET}


def test_a_short_name_has_to_be_a_word():
    """ "pin" does not hide what is shipped."""
    hides = Redactor(("pin", "IBAN")).hides
    assert [
        name for name in ("card_pin", "cardPin", "PIN2", "iban", "shipping", "caribbean") if hides(name)
    ] == [
        "card_pin",
        "cardPin",
        "PIN2",
        "iban",
    ]


def test_names_of_the_setting_come_on_top_of_the_usual_ones():
    """A project that adds one does not lose the others."""
    value = {"iban": "DE00", "password": "x", "a": 1}
    assert Redactor(("iban",)).value(value) == {"iban": MASK, "password": MASK, "a": 1}


def test_a_minus_takes_a_usual_name_out():
    """For a project whose tokens are no secrets."""
    assert Redactor(("-token",)).value({"max_tokens": 5, "secret": 1}) == {"max_tokens": 5, "secret": MASK}


@pytest.mark.parametrize("secret", [SECRET, 5, None, True, [SECRET], {"deep": {"er": SECRET}}])
def test_a_hidden_value_is_masked_whatever_it_is(secret):
    """Not even its kind is told."""
    assert Redactor().value({"token": secret}) == {"token": MASK}


def test_secrets_are_masked_at_any_depth():
    """In dicts in lists in dicts."""
    value = {"users": [{"name": "Ann", "login": {"Password": SECRET}}], "n": [[{"token": SECRET}]]}
    assert Redactor().value(value) == {
        "users": [{"name": "Ann", "login": {"Password": MASK}}],
        "n": [[{"token": MASK}]],
    }


def test_a_name_may_stand_beside_its_value():
    """As headers and form fields come in lists."""
    value = {
        "headers": [["Authorization", "Bearer x"], ["Accept", "*/*"]],
        "fields": [{"name": "password", "value": SECRET}, {"name": "city", "value": "Bonn"}],
    }
    assert Redactor().value(value) == {
        "headers": [["Authorization", MASK], ["Accept", "*/*"]],
        "fields": [{"name": "password", "value": MASK}, {"name": "city", "value": "Bonn"}],
    }


def test_what_is_nested_too_deep_is_left_out():
    """A row that others wrote may be deeper than a page can be; it must not stop the page."""
    deep = inner = {}
    for _ in range(300):
        inner["a"] = [{}]
        inner = inner["a"][0]
    inner["token"] = SECRET
    shown = json.dumps(Redactor().value(deep))
    assert TOO_DEEP in json.loads(shown).__str__()
    assert SECRET not in shown


@given(VALUES)
def test_masking_keeps_the_value_itself_and_can_be_undone(value):
    """What is stored is untouched, and an edited copy gets its secrets back."""
    before = json.dumps(value)
    masked = Redactor().value(value)
    assert json.dumps(value) == before
    assert Redactor().restored(masked, value) == value


@given(st.dictionaries(st.sampled_from(HIDDEN), VALUES, min_size=1), VALUES)
def test_nothing_under_a_hidden_name_is_shown(secrets, value):
    """However the rest looks."""
    masked = Redactor().value([value, secrets])
    assert masked[1] == dict.fromkeys(secrets, MASK)


def test_edits_beside_a_mask_are_kept():
    """Only the masks stand for something."""
    stored = {"user": {"password": SECRET, "name": "Ann"}, "headers": [["Cookie", "c"]]}
    edited = {"user": {"password": MASK, "name": "Bob"}, "headers": [["Cookie", MASK]], "new": 1}
    assert Redactor().restored(edited, stored) == {
        "user": {"password": SECRET, "name": "Bob"},
        "headers": [["Cookie", "c"]],
        "new": 1,
    }


@pytest.mark.parametrize(
    ("edited", "path"),
    [
        ({"token": MASK, "other": {"token": MASK}}, "args.other.token"),
        ({"token2": MASK}, "args.token2"),
        ({"list": [1, MASK]}, r"args.list\[1\]"),
        ({"plain": TOO_DEEP}, "args.plain"),
    ],
)
def test_a_mask_that_stands_for_nothing_is_refused(edited, path):
    """It would be stored as a value of stars."""
    with pytest.raises(InvalidArguments, match=path) as refused:
        Redactor().restored(edited, {"token": SECRET, "list": [1, 2], "plain": "x"})
    assert SECRET not in str(refused.value)


def test_stars_that_are_stored_are_stars():
    """A value that happens to look like the mask can be replayed as it is."""
    assert Redactor().restored({"rating": MASK}, {"rating": MASK}) == {"rating": MASK}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token=abc, x=1", "token=********, x=1"),
        ("{'password': 'hun\\'ter', 'a': 1}", "{'password': '********', 'a': 1}"),
        ('{"k": {"api_key": "a b", "n": "c"}}', '{"k": {"api_key": "********", "n": "c"}}'),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ********"),
        ("{'Authorization': 'Basic dXNlcg=='}", "{'Authorization': 'Basic ********'}"),
        ("GET /x?a=1&access_token=abc&b=2", "GET /x?a=1&access_token=********&b=2"),
        ("Key (token)=(abc) already exists", "Key (token)=(********) already exists"),
        ("postgresql://shop:hunter2@db/shop", "postgresql://shop:********@db/shop"),
        (
            "[type=int, input_value='hunter2', input_type=str]",
            "[type=int, input_value='********', input_type=str]",
        ),
        ("password: [1, 2] and more", "password: ******** and more"),
        ('secret: "the end was cut', "secret: ********"),
        ("what is the password:", "what is the password:"),
        ("KeyError: 'password'", "KeyError: 'password'"),
        ("no secrets here: 5 = five", "no secrets here: 5 = five"),
    ],
)
def test_what_looks_like_a_secret_in_text_is_masked(text, shown):
    """Errors quote what they were given."""
    assert Redactor().text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a" * 40_000,
        'token="' * 6000,
        "://" * 12_000,
        "a.-" * 12_000,
        "token:[" * 6000,
        "://a:" * 8000,
        "token" + " " * 40_000,
        'token="' + "\\" * 40_000,
        "token=bearer " * 3000,
    ],
    ids=lambda text: text[:8],
)
def test_masking_text_takes_no_longer_for_being_attacked(text):
    """The largest error that is stored, made to be slow."""
    started = time.process_time()
    Redactor().text(text)
    assert time.process_time() - started < 1


def test_the_setting_reaches_the_app():
    """As all settings do; one redactor serves all apps of the same setting."""
    app = make_app(redact=["iban"])
    assert app.settings.redact == ("iban",)
    assert redactor(app.settings.redact) is redactor(("iban",))
    assert make_app(redact={"b", "a"}).settings.redact == ("a", "b")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("iban", "redact is 'iban': give a list of names"),
        (None, "redact is None: give a list of names"),
        (["iban", 5], "redact has 5: give names with letters"),
        (["--"], "redact has '--': give names with letters"),
        (["-tokens"], "'tokens' is none; did you mean '-token'?"),
        (["-xyz"], "'xyz' is none; usual: access_key, api_key"),
    ],
)
def test_an_impossible_setting_is_refused(value, complaint):
    """At once, in one line that says what to write."""
    with pytest.raises(ConfigurationError) as refused:
        make_app(redact=value)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


@dataclass
class Login:
    user: str
    password: str


class Key(StrEnum):
    PASSWORD = "p"
    USER = "u"


@pytest.mark.parametrize(
    "value",
    [
        Login("ada", "hunter2"),
        [{"x": (Login("ada", "hunter2"),)}],
        {("a", 1): {"password": "hunter2"}},
        {Key.PASSWORD: "hunter2"},
        {"password": "hunter2", 1: 2},
        {"$set": {"password": b"hunter2"}},
        [(b"authorization", b"hunter2")],
        ("password", "hunter2"),
        {"password": {"hunter2"}},
    ],
    ids=repr,
)
def test_secrets_are_masked_in_values_that_are_more_than_json(value):
    """In dataclasses, in dicts by enums, in pairs of bytes; and a replay of the masked form restores them."""
    stored = encode_values({"args": value}, limit=10**6)
    masked = redactor(()).value(stored)
    assert MASK in str(masked)
    assert "hunter2" not in str(masked)
    assert base64.b64encode(b"hunter2").decode() not in str(masked)
    assert redactor(()).restored(masked, stored) == stored


@pytest.mark.parametrize("first", [{"$bytes": "x"}, {"$bytes": 5}, {"$enum": "a.B"}, {"name": 1}, 5, None])
def test_what_is_no_name_hides_nothing(first):
    """Whatever others wrote there."""
    assert redactor(()).value([first, "x"]) == [first, "x"]
