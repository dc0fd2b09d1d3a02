"""AWS, a provider and a video's host in one https server on 127.0.0.1, with canned answers.

`python -m bench.lambdas.endpoints CERTIFICATE` prints its port. It answers what the handlers ask,
and the same in each invocation. TLS is real, since reading root certificates is a good part of a
cold start.
"""

from __future__ import annotations

import json
import re
import ssl
import sys
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from bench.lambdas import scenes
from functions.tasks.task import key_of
from tests.archive.films import film

FILM = film(size=1_000_000)


class Endpoints(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        stored = Server.checksums.get(self.place)
        if self.place not in scenes.OBJECTS and stored is None:
            self.reply(404, b"")
            return
        content = scenes.OBJECTS.get(self.place, FILM)
        fields = {"ETag": scenes.ETAG, "x-amz-version-id": scenes.VERSION}
        fields |= {"x-amz-checksum-sha256": stored} if stored else {}
        fields |= {"Last-Modified": formatdate(usegmt=True)}
        self.reply(200, b"", {"Content-Length": str(len(content)), **fields})

    def do_GET(self) -> None:
        match self.place:
            case "/api/v1/jobs/recordInfo":
                self.give({"code": 200, "data": {"taskId": "job-1", "state": "generating"}})
            case "/api/v1/chat/credit":
                self.give({"code": 200, "data": 5000})
            case "/film.mp4":
                self.reply(200, FILM, {"Content-Type": "video/mp4", "ETag": scenes.ETAG})
            case "/inbox":
                self.reply(200, _listing(), {"Content-Type": "application/xml"})
            case "/archive":
                self.reply(200, b"<ListMultipartUploadsResult></ListMultipartUploadsResult>")
            case place if place in scenes.OBJECTS:
                self.read(scenes.OBJECTS[place])
            case _:
                self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_PUT(self) -> None:
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
            self.wfile.flush()  # botocore waits a second for it
        tail = self.body()[-300:]
        found = re.search(rb"x-amz-checksum-sha256:([\w+/=]{44})", tail)
        checksum = found[1].decode() if found else self.headers.get("x-amz-checksum-sha256", "")
        Server.checksums[self.place] = checksum
        if self.place.endswith("manifest.json"):  # the last write of a task; the next is as new
            Server.checksums.clear()
        self.reply(200, b"", {"ETag": scenes.ETAG, "x-amz-checksum-sha256": checksum})

    def do_POST(self) -> None:
        body = json.loads(self.body() or b"{}")
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if not operation:
            self.give({"code": 200, "msg": "success", "data": {"taskId": "job-1"}})
        else:
            self.give(self.answer(operation, body), "application/x-amz-json-1.0")

    def answer(self, operation: str, body: Any) -> Any:
        match operation:
            case "GetSecretValue":
                return {"SecretString": json.dumps(scenes.secrets(Server.origin)[body["SecretId"]])}
            case "GetItem":
                return {"Item": row} if (row := self.row(body)) else {}
            case "UpdateItem":
                return {"Attributes": self.row(body) or {}}
            case "BatchGetItem":
                return {"Responses": {"tasks": [scenes.SLOTS]}, "UnprocessedKeys": {}}
            case "Query":
                return {"Items": [], "Count": 0, "ScannedCount": 0}
            case "PutEvents":
                taken = [{"EventId": str(number)} for number, _ in enumerate(body["Entries"])]
                return {"FailedEntryCount": 0, "Entries": taken}
            case "StartExecution":
                return {"executionArn": "arn", "startDate": 1.0}
            case "GetQueueAttributes":
                return {"Attributes": {"ApproximateNumberOfMessages": "0"}}
            case _:
                return {}

    def row(self, body: Any) -> Any:
        pk = body["Key"]["pk"]["S"]
        return scenes.slots_with_a_turn() if pk == "slots#kie" else Server.rows.get(pk)

    @property
    def place(self) -> str:
        return self.path.partition("?")[0]

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def read(self, content: bytes) -> None:
        fields = {"ETag": scenes.ETAG, "x-amz-version-id": scenes.VERSION}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not wanted:
            self.reply(200, content, fields)
            return
        first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
        fields["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self.reply(206, content[first : last + 1], fields)

    def give(self, answer: Any, kind: str = "application/json") -> None:
        self.reply(200, json.dumps(answer).encode(), {"Content-Type": kind})

    def reply(self, status: int, body: bytes, fields: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(fields or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _listing() -> bytes:
    found = "".join(
        f"<Contents><Key>{place.removeprefix('/inbox/')}</Key><ETag>{scenes.ETAG}</ETag>"
        f"<Size>{len(content)}</Size><LastModified>{scenes.AT}</LastModified></Contents>"
        for place, content in scenes.OBJECTS.items()
    )
    count = len(scenes.OBJECTS)
    head = f"<Name>inbox</Name><KeyCount>{count}</KeyCount><IsTruncated>false</IsTruncated>"
    return f"<ListBucketResult>{head}{found}</ListBucketResult>".encode()


class Server(ThreadingHTTPServer):
    origin = ""
    rows: ClassVar[dict[str, Any]] = {}
    checksums: ClassVar[dict[str, str]] = {}
    daemon_threads = True


def main() -> None:
    secure, plain = (Server(("127.0.0.1", 0), Endpoints) for _ in range(2))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    secure.socket = context.wrap_socket(
        secure.socket, server_side=True, do_handshake_on_connect=False
    )
    Server.origin = f"https://127.0.0.1:{secure.server_port}"
    # The archive trusts no stranger at an address such as this but by http.
    videos = f"http://127.0.0.1:{plain.server_port}"
    Server.rows = {
        key_of(scenes.task_of(name)): scenes.row(name, videos) for name in scenes.STATUSES
    }
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    print(secure.server_port, flush=True)
    secure.serve_forever()


if __name__ == "__main__":
    main()
