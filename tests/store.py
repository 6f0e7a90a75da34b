"""A stand-in for an S3-compatible store: the part of its HTTP API that MLflow's server asks for, over real files.

PYTEST_DONT_REWRITE: it asserts nothing. Keys that a real store refuses, several parts of one file and pages of a long
list are not here: what is not here is answered by 501, and so an error.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree.ElementTree import Element, SubElement, tostring


@contextmanager
def store(root: Path) -> Iterator[str]:
    """Serves the folders below `root` as buckets; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, root))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, root: Path, *words: object) -> None:
        self._root = root
        super().__init__(*words)  # type: ignore[arg-type]

    def do_PUT(self) -> None:
        """A bucket, or a file of one."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, place, query = self._asked()
        if query or "aws-chunked" in self.headers.get("Content-Encoding", ""):
            return self._answer(501)
        if place.parent == self._root:
            place.mkdir()
        elif self._root / place.relative_to(self._root).parts[0] in self._root.iterdir():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(body)
        else:
            return self._answer(404, _error("NoSuchBucket"))
        return self._answer(200)

    def do_GET(self) -> None:
        """The buckets, what is in one, or a file."""
        path, place, query = self._asked()
        if path == "/":
            return self._answer(200, _buckets([found.name for found in self._root.iterdir()]))
        if query.get("list-type") == ["2"]:
            return self._answer(200, _listed(place, query.get("prefix", [""])[0], query.get("delimiter", [""])[0]))
        if query:
            return self._answer(501)
        return self._answer(200, place.read_bytes()) if place.is_file() else self._answer(404, _error("NoSuchKey"))

    do_HEAD = do_GET

    def _asked(self) -> tuple[str, Path, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        given = {name: value for name, value in parse_qs(parts.query).items() if name != "x-id"}
        return path, self._root / path.strip("/"), given

    def _answer(self, code: int, body: bytes = b"") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Wed, 25 Nov 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _buckets(names: list[str]) -> bytes:
    root = Element("ListAllMyBucketsResult")
    all_of_them = SubElement(root, "Buckets")
    for name in names:
        SubElement(SubElement(all_of_them, "Bucket"), "Name").text = name
    return tostring(root)


def _listed(bucket: Path, prefix: str, delimiter: str) -> bytes:
    root, folders = Element("ListBucketResult"), set()
    for file in sorted(found for found in bucket.rglob("*") if found.is_file()):
        key = file.relative_to(bucket).as_posix()
        if not key.startswith(prefix):
            continue
        head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        if cut:
            folders.add(prefix + head + cut)
            continue
        content = SubElement(root, "Contents")
        SubElement(content, "Key").text = key
        SubElement(content, "Size").text = str(file.stat().st_size)
    for folder in sorted(folders):
        SubElement(SubElement(root, "CommonPrefixes"), "Prefix").text = folder
    SubElement(root, "IsTruncated").text = "false"
    return tostring(root)


def _error(code: str) -> bytes:
    root = Element("Error")
    SubElement(root, "Code").text = code
    return tostring(root)
