"""A stand-in for the model hub: the part of its HTTP API that the real clients ask for, over real files."""

import hashlib
import json
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

Kind = Literal["model", "dataset"]
Content = Path | bytes
_LARGE = {".bin", ".gguf", ".onnx", ".parquet", ".pt", ".pth", ".safetensors"}  # what a real hub keeps as LFS
_ID = r"(?P<id>[^/]+(?:/[^/]+)??)"
_API = re.compile(
    rf"/api/(?P<kind>model|dataset)s/{_ID}"
    r"(?:/(?P<verb>revision|tree|paths-info)/(?P<rev>[^/]+)(?:/(?P<path>.+))?)?"
)
_RESOLVE = re.compile(rf"/(?P<set>datasets/)?{_ID}/resolve/(?P<rev>[^/]+)/(?P<path>.+)")


@dataclass(frozen=True)
class _File:
    """One published file: where it lies, its size, git's name for it, and what a large file has beside."""

    path: Path
    size: int
    sha1: str
    lfs: dict[str, Any] | None


class _Missing(Exception):
    """Not here: the code that tells the client which error to raise, and the commit where it is known."""


def files_of(folder: Path) -> dict[str, Content]:
    """Every file below a folder by its relative name, ready for `Hub.add`."""
    return {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}


class Hub:
    """Serves published revisions on a free local port, from `with` until its end."""

    def __init__(self, root: Path) -> None:
        self.requests: list[str] = []  # 'METHOD path', decoded, without the query
        self._root = root
        self._commits: dict[tuple[str, str], dict[str, dict[str, _File]]] = {}  # main is the last
        self.connections: set[socket.socket] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def add(self, kind: Kind, repo_id: str, files: Mapping[str, Content]) -> str:
        """Publish a revision as `main` and return its commit id, which follows from the content alone."""
        data = {name: f if isinstance(f, bytes) else f.read_bytes() for name, f in sorted(files.items())}
        digests = {name: hashlib.sha256(d).hexdigest() for name, d in data.items()}
        commit = hashlib.sha1(json.dumps([kind, repo_id, digests]).encode()).hexdigest()
        tree: dict[str, _File] = {}
        for name, body in data.items():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{name} is not a relative name inside a repository")
            path = self._root / f"{kind}s" / repo_id / commit / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
            lfs = {"oid": digests[name], "sha256": digests[name], "size": len(body), "pointerSize": 134}
            tree[name] = _File(path, len(body), blob, lfs if path.suffix in _LARGE else None)
        commits = self._commits.setdefault((kind, repo_id), {})
        commits.pop(commit, None)
        commits[commit] = tree
        return commit

    def find(self, kind: str, repo_id: str, revision: str) -> tuple[str, dict[str, _File]]:
        """The commit that a revision means, with its files."""
        if (commits := self._commits.get((kind, repo_id))) is None:
            raise _Missing("RepoNotFound")
        commit = next(reversed(commits)) if revision == "main" else revision
        if commit not in commits:
            raise _Missing("RevisionNotFound")
        return commit, commits[commit]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:  # one kept alive must not outlive the server
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


def _listing(tree: dict[str, _File], commit: str, under: str, recursive: bool) -> list[dict[str, Any]]:
    """The folders and files below a path."""
    prefix = f"{under}/" if under else ""
    found: dict[str, dict[str, Any]] = {}
    for name, file in tree.items():
        if not name.startswith(prefix):
            continue
        parts = name[len(prefix) :].split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            path = prefix + "/".join(parts[:depth])
            oid = hashlib.sha1(f"{commit}/{path}".encode()).hexdigest()
            found[path] = {"type": "directory", "path": path, "size": 0, "oid": oid}
        if recursive or len(parts) == 1:
            found[name] = {"type": "file", "path": name, "size": file.size, "oid": file.sha1}
            found[name] |= {"lfs": file.lfs} if file.lfs else {}
    if under and not found:
        raise _Missing("EntryNotFound", commit)
    return [found[path] for path in sorted(found)]


def _info(repo_id: str, commit: str, tree: dict[str, _File]) -> dict[str, Any]:
    """A repository as of one commit, with the header of its README as card data."""
    siblings = [{"rfilename": n, "size": f.size, "blobId": f.sha1, "lfs": f.lfs} for n, f in tree.items()]
    readme = tree["README.md"].path.read_text("utf-8") if "README.md" in tree else ""
    header = re.match(r"---\n(.*?)\n---", readme, re.DOTALL)
    card = yaml.safe_load(header[1]) if header else None
    return {"id": repo_id, "sha": commit, "siblings": siblings, "cardData": card, "tags": []}


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, hub: Hub, connection: socket.socket, *args: Any) -> None:
        self.hub = hub
        hub.connections.add(connection)
        super().__init__(connection, *args)

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.hub.requests.append(f"{self.command} {unquote(url.path)}")
        try:
            if match := _RESOLVE.fullmatch(url.path):
                kind = "dataset" if match["set"] else "model"
                commit, tree = self.hub.find(kind, unquote(match["id"]), unquote(match["rev"]))
                if (file := tree.get(unquote(match["path"]))) is None:
                    raise _Missing("EntryNotFound", commit)
                self._send_file(commit, file)
            elif match := _API.fullmatch(url.path):
                answer = json.dumps(self._api(match, parse_qs(f"{url.query}&{form}")))
                self._send(200, answer.encode(), {"Content-Type": "application/json"})
            else:
                raise _Missing("NotFound")
        except _Missing as e:
            headers = {"X-Error-Code": e.args[0], "X-Error-Message": f"{e.args[0]}: {unquote(url.path)}"}
            self._send(404, b"", headers | ({"X-Repo-Commit": e.args[1]} if e.args[1:] else {}))

    do_HEAD = do_POST = do_GET

    def _api(self, match: re.Match[str], asked: dict[str, list[str]]) -> object:
        kind, repo_id, verb = match["kind"], unquote(match["id"]), match["verb"]
        commit, tree = self.hub.find(kind, repo_id, unquote(match["rev"] or "main"))
        if verb == "tree":
            recursive = asked.get("recursive", [""])[0].lower() == "true"
            return _listing(tree, commit, unquote(match["path"] or "").strip("/"), recursive)
        if verb == "paths-info":
            wanted = {path.strip("/") for path in asked.get("paths", [])}
            return [entry for entry in _listing(tree, commit, "", True) if entry["path"] in wanted]
        return _info(repo_id, commit, tree)

    def _send_file(self, commit: str, file: _File) -> None:
        etag = file.lfs["oid"] if file.lfs else file.sha1
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        first, last, status = 0, file.size - 1, 200
        if part := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
            if part[1]:
                first, last = int(part[1]), min(int(part[2] or last), last)
            elif part[2]:
                first = max(file.size - int(part[2]), 0)
            status = 206 if first <= last else 416
            where = f"{first}-{last}" if status == 206 else "*"
            headers["Content-Range"] = f"bytes {where}/{file.size}"
        with file.path.open("rb") as source:
            source.seek(first)
            self._send(status, source.read(last - first + 1) if status != 416 else b"", headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
