"""Secrets are masked wherever jobs are shown: by the names that they go by.

A name is hidden when it contains one of the listed names, whatever the case and the separators:
``user_password``, ``X-Api-Key`` and ``accessToken`` are. A listed name of fewer than five letters has to
be a whole word of it: ``pin`` hides ``card_pin``, not ``shipping``. What is stored is never changed.

In text (errors, log lines) there are no names, only what looks like one beside a value, so masking there
is a second line of defence: ``token=…``, ``"password": "…"``, ``Authorization: Bearer …``, the password in
a URL.
"""

from __future__ import annotations

import base64
import difflib
import itertools
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from soniq.errors import ConfigurationError, InvalidArguments
from soniq.jobs import JSON

MASK = "********"
USUAL_NAMES = (
    "access_key",
    "api_key",
    "authorization",
    "cookie",
    "credential",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "pwd",
    "secret",
    "session",
    "token",
)
TOO_DEEP = "[… nested too deep to be shown …]"

_MAX_DEPTH = 100  # more than can be enqueued; rows may have been written by others
_WHOLE_WORD = 5  # letters below which a listed name has to be a whole word
_IN_TEXT_ONLY = frozenset({"inputvalue"})  # as pydantic names the value that it refuses, whatever it is
_NAMED = frozenset({"name", "key", "header"})  # {"name": "Authorization", "value": "..."}
_VALUES = frozenset({"value", "values"})
_SEAMS = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_WORDS = re.compile(r"[^\W_]+")
# Possessive, bounded, and tried at the start of a word only: linear, whatever an error consists of.
_NAME = re.compile(r"""(?<![\w.\-])([\w.\-]++)["']?\)?\s{0,9}+(?:=>|[:=])\s{0,9}+\(?""")
_VALUE = re.compile(
    r"""
    (?P<scheme>(?:(?:basic|bearer|digest|token)\s++)?)
    (?:
        (?P<quote>["'])(?P<inner_scheme>(?:(?:basic|bearer|digest|token)\s++)?)
            (?:(?!(?P=quote))[^\\]|\\.){0,4096}+(?P=quote)
      | ["'][^\n]{0,4096}+
      | [\[{][^\]}]{0,4096}+[\]}]
      | [^\s,;&)\]}"']++
    )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_URL = re.compile(r"(?<=://)(?P<user>[^/\s:@]{0,255}+):(?P<password>[^/\s@]{1,255}+)@")


class Redactor:
    """Masks the values of hidden names.

    :param setting: names to hide besides :data:`USUAL_NAMES`; one with ``-`` in front takes a usual one out
    """

    def __init__(self, setting: tuple[str, ...] = ()) -> None:
        usual = {_squashed(name): name for name in USUAL_NAMES}
        listed = set(usual)
        for name in setting:
            if name.startswith("-"):
                listed.discard(_squashed(name))
            else:
                listed.add(_squashed(name))
        self._anywhere = tuple(sorted(name for name in listed if len(name) >= _WHOLE_WORD))
        self._words = frozenset(listed.difference(self._anywhere))
        self.hides = lru_cache(maxsize=4096)(self._hides)

    def value(self, value: JSON, *, texts: bool = False) -> JSON:
        """A copy of ``value`` with what stands under hidden names masked, at any depth.

        :param texts: mask within its texts, too, as :meth:`text` does
        """
        return self._masked(value, _MAX_DEPTH, texts)

    def text(self, text: str) -> str:
        """``text`` with what looks like the value of a hidden name masked."""
        parts = []
        done = start = 0
        while found := _NAME.search(text, start):
            start = found.end()
            if not self.hides(found[1]) and _squashed(found[1]) not in _IN_TEXT_ONLY:
                continue
            value = _VALUE.match(text, start)
            if value is not None:
                quote = value["quote"] or ""
                scheme = value["scheme"] + quote + (value["inner_scheme"] or "")
                parts += [text[done:start], scheme, MASK, quote]
                done = start = value.end()
        parts.append(text[done:])
        return _URL.sub(rf"\g<user>:{MASK}@", "".join(parts))

    def restored(self, edited: JSON, stored: JSON, path: str = "args") -> JSON:
        """``edited`` with the masks that :meth:`value` put there replaced by what is stored.

        :raises InvalidArguments: a mask stands where nothing was masked; names the path
        """
        if edited in (MASK, TOO_DEEP) and edited != stored:
            raise InvalidArguments(
                f"{path} is {edited}, which stands for a value that is not shown, but none is stored there; "
                "write the value",
                path=path,
            )
        if isinstance(edited, dict):
            known = stored if isinstance(stored, dict) else {}
            hidden = self._hidden_keys(known)
            return {
                key: known[key]
                if item == MASK and key in hidden
                else self.restored(item, known.get(key), f"{path}.{key}")
                for key, item in edited.items()
            }
        if isinstance(edited, list):
            known_items = stored if isinstance(stored, list) else []
            if self._is_pair(known_items) and len(edited) == len(known_items) and edited[1] == MASK:
                return [edited[0], known_items[1]]
            padded = [*known_items, *[None] * len(edited)]
            return [
                self.restored(item, known_item, f"{path}[{index}]")
                for index, (item, known_item) in enumerate(zip(edited, padded, strict=False))
            ]
        return edited

    def _hides(self, name: str) -> bool:
        words = _words(name)
        whole = "".join(words)
        if any(listed in whole for listed in self._anywhere):
            return True
        pairs = map("".join, itertools.pairwise(words))
        return not self._words.isdisjoint([*words, *pairs])

    def _masked(self, value: JSON, depth: int, texts: bool) -> JSON:
        if isinstance(value, dict):
            if depth <= 0:
                return TOO_DEEP
            hidden = self._hidden_keys(value)
            return {
                key: MASK if key in hidden else self._masked(item, depth - 1, texts)
                for key, item in value.items()
            }
        if isinstance(value, list):
            if depth <= 0:
                return TOO_DEEP
            if self._is_pair(value):
                return [value[0], MASK]
            return [self._masked(item, depth - 1, texts) for item in value]
        return self.text(value) if texts and isinstance(value, str) else value

    def _hidden_keys(self, value: Mapping[str, JSON]) -> set[str]:
        """The keys whose values are hidden: by their own names, or by the name that stands beside them."""
        hidden = {key for key in value if self.hides(key)}
        for key, item in value.items():
            if key.casefold() in _NAMED and isinstance(item, str) and self.hides(item):
                hidden.update(other for other in value if other.casefold() in _VALUES)
        return hidden

    def _is_pair(self, items: list[JSON]) -> bool:
        """Whether this is a hidden name and its value, as lists of headers and dicts by enums have them."""
        return len(items) == 2 and any(map(self.hides, _names_of(items[0])))  # noqa: PLR2004  # a pair


@lru_cache(maxsize=16)
def redactor(setting: tuple[str, ...]) -> Redactor:
    """The redactor of the setting ``redact``."""
    return Redactor(setting)


def check_names(value: object) -> tuple[str, ...]:
    """The setting ``redact``, if it can be one.

    :raises ConfigurationError: it is no list of names, or takes out a name that is not there
    """
    if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
        raise ConfigurationError(f"redact is {value!r}: give a list of names")
    for name in value:
        if not isinstance(name, str) or not _squashed(name):
            raise ConfigurationError(f"redact has {name!r}: give names with letters, such as 'iban'")
        if name.startswith("-") and _squashed(name) not in {_squashed(usual) for usual in USUAL_NAMES}:
            near = difflib.get_close_matches(name[1:], USUAL_NAMES, n=1)
            hint = f"did you mean {'-' + near[0]!r}?" if near else f"usual: {', '.join(USUAL_NAMES)}"
            raise ConfigurationError(
                f"redact has {name!r}, which takes out a usual name, but {name[1:]!r} is none; {hint}"
            )
    return tuple(value) if isinstance(value, (list, tuple)) else tuple(sorted(value))


def _names_of(first: JSON) -> list[str]:
    """The name that the first of a pair may be: a text, or bytes or the member of an enum as stored."""
    if isinstance(first, str):
        return [first]
    if not isinstance(first, dict):
        return []
    if isinstance(raw := first.get("$bytes"), str):
        try:
            return [base64.b64decode(raw).decode("latin-1")]
        except ValueError:
            return []
    return [str(first["name"])] if "$enum" in first and "name" in first else []


def _words(name: str) -> list[str]:
    """The words of a name, in one case."""
    return [word.casefold() for word in _WORDS.findall(_SEAMS.sub("_", unicodedata.normalize("NFKC", name)))]


def _squashed(name: str) -> str:
    return "".join(_words(name))
