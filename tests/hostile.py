"""The lists of bad input and of attacks that this project keeps to, a line each, and where the tests of them are.

A test says which line it is about in its name (`test_w10_...`), in its docstring ("W42 to W46") or in the id of a case
("P24 octal"). A line without a test needs a reason in `NOT_HERE`; `tests/security/test_lists.py` fails otherwise.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTS: Final = {
    # every way in over HTTP
    "T": """empty body | body over the limit, announced | body over the limit, in chunks | body shorter than announced
        | bytes beyond the announced length | lengths that are negative, double or no number | length and chunks both
        | unknown transfer encoding | chunk size of 64 bits | endless chunk extension | header of a megabyte
        | hundreds of headers | NUL or line ends in a header | no, two or a foreign Host | odd spellings of a path
        | NUL and broken escapes in a URL | URL of 64 kilobytes | unknown methods | wrong media type | no media type
        | media type twice or in another charset | unknown encoding | stacked encodings | compressed bomb
        | damaged compression | compression in members | waiting for 100 | body at a byte a second
        | HTTP/2 and its resets | a thousand requests, then gone""",
    # every way in for samples
    "D": """NaN | signalling NaN | infinity | minus infinity | minus zero | subnormal | overflow | time zero
        | negative time | time in another unit | largest time | time of 63 bits | time of 64 bits | far in the future
        | older than is kept | out of order | sent again | another value at the same time | a series twice in a batch
        | empty name | name of any text | name too long | no labels, too many labels | value of a label too long
        | label without a name, twice, unsorted | empty value of a label | reserved labels | NUL | no UTF-8
        | texts that look alike | labels that name a tenant | a new series with every sample""",
    # columnar JSON
    "J": """NaN as a word | exponent without end | number of 400 digits | number as text | true | null
        | numbers that JSON does not have | times with a fraction | byte order mark | something behind the end
        | comments | single quotes | members twice | unknown members | nesting without end
        | nesting in an unknown member | anything but an object | ten million elements | name of nine megabytes
        | labels of other types | other charsets | a bad line among lines""",
    # Prometheus remote-write
    "R": """no snappy | framed snappy | a header that claims four gigabytes | a header that lies | empty block
        | long varint | copy from before the start | zstd | random bytes | cut in a field | wrong wire type
        | groups and field zero | deep nesting | length beyond the message | label without UTF-8
        | one version's body under the other's name | unknown message | symbols that begin with something
        | reference out of range | odd number of references | samples and histograms | neither | odd histograms
        | odd exemplars | metadata alone | a million series""",
    # Influx line protocol
    "L": """no space | no fields | trailing comma | = unescaped | backslash at the end | text without end
        | line end in a text | integer overflow | negative unsigned | fraction with i | nearly booleans
        | another type than before | precisions | time of 25 digits | negative time | time with a fraction
        | CR and LF | comments | blank lines | endless line | measurement with _ or # | tag or field twice
        | empty tag | NUL | ten thousand fields | one bad line among good ones""",
    # OTLP metrics
    "O": """ids in a wrong form | enumerations as words | unknown fields | resource without attributes
        | point without value | both values | time zero | start after time | time beyond | a sum that falls
        | delta temporality | odd buckets | odd exponential histogram | negative counts | quantile above one
        | deep attributes | attribute of a megabyte | attribute twice | no recorded value | gRPC message too large
        | empty request | traces or logs""",
    # what a target exposes
    "S": """a page | nothing | redirect | endless answer | bomb | a byte a second | chunks without end | wrong length
        | bad certificate | asks for a password | no last line end | TYPE twice or late | another type than before
        | odd HELP | quote without end | bad escape | no name | trailing comma | series twice | label twice
        | odd numbers | seconds for milliseconds | future time | no EOF | text behind EOF | odd exemplar
        | odd histogram | counter without _total | labels of ours | a million series | UTF-16 | NUL | tabs
        | media type that lies""",
    # questions
    "Q": """ends before it begins | steps that are none | times beyond | too many points | a hundred years
        | missing and double parameters | patterns that never end | everything at once | SQL | names of columns
        | limits that are none | forged cursors | time zones | any text as a name | a thousand labels
        | unknown functions | parentheses without end | number beyond | text without end | comments without end
        | offset beyond | subqueries in subqueries | another tenant as a parameter | another tenant's ids
        | malformed ids | body of a GET | another form of answer | asker hangs up | all ask the same
        | answer of a gigabyte | numbers that JSON does not have | nothing found | junk in preconditions
        | times in words | decimal comma | headers that name a tenant""",
    # the live socket
    "W": """no origin | evil origin | origin null | origin that ends like ours | tickets that are none | ticket twice
        | old version | bad key | unknown subprotocol | compressed bomb | unmasked frame | reserved bits
        | control frame in parts | long ping | pings without end | message that never ends | empty fragments
        | long message | length of 63 bits | no UTF-8 | binary | odd close codes | long reason | half open
        | slow reader | gone when full | reset in a frame | message before sign-in | malformed | nesting
        | unknown operation | nothing named | subscribed twice | ten thousand topics | every topic
        | another tenant's topic | pattern for a topic | unsubscribed from nothing | forged place to go on from
        | place in the future | ten years of history | role lost | token expires | logged out | another's token
        | expired token shown | connects without end | a thousand idle sockets | all come back at once | HTTP/2
        | GET without upgrade | POST | token in the URL | cookie alone | upgrade with a body
        | second request behind a refused upgrade | Redis away | gaps | an event twice | restart | markup in labels
        | ten thousand messages a second""",
    # policies, receivers, models
    "P": """no name | long name | name taken | unknown member | limits that are no numbers | odd durations
        | tiny intervals | window too short | window too long | what is no expression | megabyte
        | policy about a policy | another tenant's receiver | receiver missing | pattern that never ends
        | matches everything | hysteresis inverted | template that looks inside | endless text | endless template
        | markup | line ends for headers | other schemes | addresses inside | user in a URL | ports of others
        | redirect inside | headers of ours | secret read back | YAML | ten thousand at once | edit of an old version
        | deleted while firing | edited while firing | odd silences | silence with a pattern that never ends
        | odd time zones | models by path, of others, changed""",
    # tokens, keys, sessions
    "A": """alg none | none spelt oddly | no signature | HMAC with the PEM | HMAC with the DER | HMAC with the JWK
        | HMAC with the modulus | ECDSA of zeros | PS256 | RS512 | another key's id | no key id | no key id, one key
        | unknown key id | key id as a path | key id as SQL | key id of another type | jku | x5u | jwk inside | x5c
        | crit | b64 | any bit flipped | more or fewer parts | encrypted | compressed | padding and blanks
        | five megabytes | claims twice | claims of other types | no UTF-8 | no expiry | expired | odd expiry
        | not yet | issued in the future | other issuers | list of issuers | no audience | audience account
        | another client's | ID token | refresh token | logout token | another realm | a program on a person's route
        | roles elsewhere | roles as text | no tenant | removed key | keys that may not sign | keys from elsewhere
        | flood of unknown keys | after logout | disabled user | refresh token twice | sign-in codes
        | token in the URL | odd Authorization | another site's page | another site's socket | odd API keys
        | every route and role""",
}
"""By letter, its lines in order, from 1 on."""
SIZES: Final = {letter: text.count("|") + 1 for letter, text in LISTS.items()}

NOT_HERE: Final = {
    "O20": "there is no gRPC here",
}
"""Lines that do not apply, and why."""
ELSEWHERE: Final = {
    "W59": ("frontend/src/app/api/live.spec.ts", "notices by the numbers"),
    "W61": ("frontend/src/app/audit/audit.spec.ts", "</script>"),
}
"""Lines that the dashboard's specs are about, and words of theirs."""

_LINE: Final = re.compile(r"\b([A-Z])(\d{1,2})\b")
_SEVERAL: Final = re.compile(r"\b([A-Z])(\d{1,2}) to [A-Z]?(\d{1,2})\b")
_IN_NAME: Final = re.compile(r"[a-z]\d{1,2}")


def lines_in(text: str) -> Iterator[str]:
    """Yield the lines of lists that a text names."""
    yield from (letter + number for letter, number in _LINE.findall(text))
    for letter, first, last in _SEVERAL.findall(text):
        yield from (f"{letter}{number}" for number in range(int(first), int(last) + 1))


def lines_of_tests(file: Path) -> set[str]:
    """Return the lines that the tests of a file say they are about."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            found.update(part.upper() for part in node.name.split("_") if _IN_NAME.fullmatch(part))
            found.update(lines_in(ast.get_docstring(node) or ""))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _LINE.match(node.value):
            # the id of a case begins with its line; a sentence that happens to begin so is longer
            found.update(lines_in(node.value) if len(node.value) < 80 else ())
    return found
