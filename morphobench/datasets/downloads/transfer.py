"""One file over HTTP, fetched so that a lost connection or a stopped process costs no more than the bytes in flight.

The bytes arrive in `NAME.part` and, before the first of them, what the server said of the file in `NAME.part.json`.
The next attempt asks for the rest only (RFC 9110, Range and If-Range) and goes on only if the server still says the
same: length, and ETag or Last-Modified. Otherwise it starts over, since the two halves would be of different files.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3
from pydantic import ValidationError

from morphobench import storage
from morphobench.datasets.downloads import file_kinds
from morphobench.errors import Unavailable
from morphobench.schema import Record

TIMEOUT = (10, 30)  # seconds: to connect, and without a byte
FAILURES = 6
"""Attempts in a row that bring nothing new before a file is given up."""
_ASKED = 3  # attempts to learn a size
LONGEST_WAIT = 60.0  # seconds
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}
_LOST = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)


@dataclass(frozen=True)
class Source:
    """A file on a server, and what is known of it beforehand.

    file: its path below the folder it is fetched into. size: bytes. sha256: of the file as the server sends it.
    matrix_bytes: of a GCTX, its uncompressed matrix. Zero or empty where it is not known.
    """

    file: str
    address: str
    size: int = 0
    sha256: str = ""
    matrix_bytes: int = 0


class Offer(Record):
    """What a server says of a file: its size in bytes, and the validators by which a later answer is recognised."""

    address: str
    size: int
    etag: str = ""
    modified: str = ""


class Stopped(Exception):
    """The caller asked for an end."""


class Lost(Exception):
    """The connection or the server failed in a way that another attempt may mend."""


def ask(source: Source, stop: threading.Event, wait: float = 1.0) -> Offer:
    """What the server says of a file, without its bytes.

    Raises Unavailable that names the address where it cannot be reached, has no such file, sends a web page instead,
    states no length, or another length than the known one.
    """
    attempt = 1
    while True:
        try:
            with _answer("HEAD", source, {}) as response:
                if response.status_code not in (405, 501):
                    return _offer(source, response)
            with _answer("GET", source, {}) as response:  # a server without HEAD: its headers, not its body
                return _offer(source, response)
        except Lost as error:
            if attempt == _ASKED:
                raise Unavailable(
                    f"{source.address}: {error}; try again later, or fetch it by other means and put it at "
                    f"{source.file} in the download folder"
                ) from error
            if stop.wait(wait * attempt):
                raise Stopped from error
            attempt += 1


def fetch(
    source: Source,
    part: Path,
    stop: threading.Event,
    advance: Callable[[int], None] = lambda arrived: None,
    say: Callable[[str], None] = lambda line: None,
    wait: float = 1.0,
) -> Offer:
    """Bring a file whole to `part`, going on where an earlier call stopped; returns what the server said of it.

    stop: set it to end at the next piece. advance: told the bytes on disk at each piece. wait: seconds before the
    second attempt, doubled each time up to a minute. Raises Unavailable for what another attempt cannot mend, for
    FAILURES attempts in a row that brought nothing new, and for a full disk; what had arrived stays for the next call.
    """
    best, failures = arrived(source, part), 0
    while True:
        try:
            return _receive(source, part, stop, advance)
        except Lost as error:
            now = arrived(source, part)
            failures = 1 if now > best else failures + 1
            best = max(best, now)
            if failures == FAILURES:
                raise Unavailable(
                    f"{source.address}: {error}, {FAILURES} times in a row; {now:,} bytes are kept, run the same "
                    "command again to go on from there"
                ) from error
            say(f"{source.file}: {error}; again from byte {now:,}")
            if stop.wait(min(wait * 2 ** (failures - 1), LONGEST_WAIT)):
                raise Stopped from error


def arrived(source: Source, part: Path) -> int:
    """Bytes of `part` that the next attempt can go on from."""
    earlier = _noted(source, part)
    return part.stat().st_size if earlier else 0


def forget_another(source: Source, part: Path, size: int) -> None:
    """Remove a whole `part` of another length than the server states now: nothing is left to ask it for."""
    earlier = _noted(source, part)
    if earlier and earlier.size != size and part.stat().st_size == earlier.size:
        forget(part)


def forget(part: Path) -> None:
    """Remove `part` and what was noted of it."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def settle(part: Path, path: Path) -> None:
    """Move a whole `part` into place."""
    part.replace(path)
    _note(part).unlink(missing_ok=True)


def _receive(source: Source, part: Path, stop: threading.Event, advance: Callable[[int], None]) -> Offer:
    earlier, start = _noted(source, part), arrived(source, part)
    if earlier and start == earlier.size:
        advance(start)
        return earlier
    headers = {}
    if earlier and start:
        # a weak ETag is no condition for a range (RFC 9110, 13.1.5); the comparison below covers it
        condition = earlier.modified if earlier.etag.startswith("W/") or not earlier.etag else earlier.etag
        headers = {"Range": f"bytes={start}-"} | ({"If-Range": condition} if condition else {})
    with _answer("GET", source, headers) as response:
        if response.status_code == 416:
            forget(part)
            raise Lost("the server has no such range")
        offer = _offer(source, response)
        if response.status_code == 206:
            if not _same(offer, earlier) or not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                forget(part)
                raise Lost("the file changed on the server between two parts")
        else:
            start = 0
        with storage.disk_errors(part), _lost_connections():
            _append(source, response, part, start, offer, stop, advance)
    return offer


def _append(
    source: Source,
    response: requests.Response,
    part: Path,
    start: int,
    offer: Offer,
    stop: threading.Event,
    advance: Callable[[int], None],
) -> None:
    # as sent: a .gz must stay one, whatever Content-Encoding an old server gives it
    pieces: Iterator[bytes] = response.raw.stream(storage.CHUNK, decode_content=False)
    first = next(pieces, b"")
    if start == 0:
        strange = file_kinds.strange_start(source.file, first) if not 0 < len(first) < file_kinds.SHORTEST else ""
        if strange:  # told before the rest of it comes
            raise Unavailable(not_the_file(source, strange))
        part.unlink(missing_ok=True)  # the note must never describe bytes of an older file
        storage.atomic_write_text(_note(part), offer.model_dump_json())
    done = start
    with part.open("ab") as stream:
        for piece in itertools.chain([first], pieces):
            if stop.is_set():
                raise Stopped
            stream.write(piece)
            done += len(piece)
            advance(done)
    if done < offer.size:
        raise Lost(f"the connection ended after {done:,} of {offer.size:,} bytes")
    if done > offer.size:
        forget(part)
        raise Unavailable(not_the_file(source, f"{done:,} bytes after announcing {offer.size:,}"))


@contextlib.contextmanager
def _answer(method: str, source: Source, headers: dict[str, str]) -> Iterator[requests.Response]:
    with _lost_connections():
        try:
            response = requests.request(
                method,
                source.address,
                headers={"Accept-Encoding": "identity"} | headers,
                stream=True,
                timeout=TIMEOUT,
                allow_redirects=True,
            )
        except _LOST as error:
            raise Lost(f"no answer ({_line(error)})") from error
        except requests.RequestException as error:
            raise Unavailable(f"{source.address}: cannot be asked ({_line(error)}); check the address") from error
        with response:
            yield response


@contextlib.contextmanager
def _lost_connections() -> Iterator[None]:
    try:
        yield
    except _LOST as error:
        raise Lost(f"the connection was lost ({_line(error)})") from error


def _offer(source: Source, response: requests.Response) -> Offer:
    """What an answer says of the whole file; refuses every answer that is not the file or a part of it."""
    if response.status_code in _WORTH_ANOTHER_TRY:
        raise Lost(f"the server answered {response.status_code} {response.reason}")
    if response.status_code not in (200, 206):
        raise Unavailable(
            f"{source.address}: the server answered {response.status_code} {response.reason}; look whether "
            f"{source.file} has moved, and fetch it by other means"
        )
    headers = response.headers
    if headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
        raise Unavailable(not_the_file(source, "a web page (HTML)"))
    encoding = headers.get("Content-Encoding", "identity")
    if encoding != "identity" and not source.file.endswith(".gz"):
        raise Unavailable(not_the_file(source, f"{encoding}-encoded bytes that were not asked for"))
    stated = headers.get("Content-Range", "").rpartition("/")[2] if response.status_code == 206 else None
    stated = stated or headers.get("Content-Length", "")
    if not stated.isdigit():
        raise Unavailable(not_the_file(source, "no length, by which a file cut short could be told from a whole one"))
    size = int(stated)
    if source.size and size != source.size:
        raise Unavailable(not_the_file(source, f"{size:,} bytes where the known file has {source.size:,}"))
    return Offer(
        address=source.address, size=size, etag=headers.get("ETag", ""), modified=headers.get("Last-Modified", "")
    )


def _same(offer: Offer, earlier: Offer | None) -> bool:
    # an answer to If-Range may leave Last-Modified out (RFC 9110, 15.3.7)
    if earlier is None or offer.size != earlier.size:
        return False
    validators = [(offer.etag, earlier.etag), (offer.modified, earlier.modified)]
    return all(now == before for now, before in validators if now and before)


def not_the_file(source: Source, sent: str) -> str:
    """The line for a server that sends something else than a file."""
    return f"{source.address}: the server sends {sent}, not {source.file}; open the address in a browser to see why"


def _noted(source: Source, part: Path) -> Offer | None:
    """What was noted of the bytes in `part`, if they can be gone on from."""
    try:
        earlier = Offer.model_validate_json(_note(part).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None
    recognisable = bool(earlier.etag or earlier.modified)
    fits = earlier.address == source.address and part.is_file() and part.stat().st_size <= earlier.size
    return earlier if fits and (recognisable or part.stat().st_size == earlier.size) else None


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _line(error: Exception) -> str:
    reason = getattr(error, "args", ("",))
    deepest = reason[0] if reason and isinstance(reason[0], Exception) else error
    return " ".join(str(getattr(deepest, "reason", None) or deepest).split())[:160]
