"""A simulated internet: names, public addresses, and https servers that behave as badly as a test
wants.

Only the wire is replaced: the resolver and the call that connects. A public address leads to a
server on this machine; every address anybody tried is kept, and one that no test gave a server
cannot be reached.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[["Visit"], None]


@dataclass
class Visit:
    """One connection to a server, its request read."""

    connection: socket.socket
    path: str
    headers: dict[str, str]
    rest: bytes = b""  # what of the body came with the head
    falls_silent_after: int | None = None

    def send(self, content: bytes) -> None:
        self.connection.sendall(content[: self.falls_silent_after])
        if self.falls_silent_after is not None and len(content) > self.falls_silent_after:
            self.connection.recv(1)  # until the other side hangs up

    def head(self, status: str = "200 OK", **headers: object) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.send(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1"))


class Server:
    """Answers each connection in a thread of its own, as the test says. `visits` are the requests
    it saw."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None) -> None:
        self.answer = answer
        self.visits: list[Visit] = []
        self._tls = tls
        self._open = True
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._open = False
        self._socket.close()

    def _serve(self) -> None:
        while self._open:
            with suppress(OSError):
                connection, _ = self._socket.accept()
                threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError), connection:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    request += piece
                head, _, rest = request.partition(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").split("\r\n")
                headers = {
                    n.lower(): v.strip()
                    for n, _, v in (line.partition(":") for line in lines if ":" in line)
                }
                visit = Visit(connection, first.split(" ")[1], headers, rest)
                self.visits.append(visit)
                self.answer(visit)


@dataclass
class Internet:
    """`names` are the resolver's answers: a list of addresses, or a function that gives one each
    time it is asked."""

    authority: Authority
    names: dict[str, list[str] | Callable[[], list[str]]] = field(default_factory=dict)
    routes: dict[tuple[str, int], int] = field(default_factory=dict)
    house: set[tuple[str, int]] = field(default_factory=set)
    tried: list[tuple[str, int]] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)

    def site(
        self, name: str, answer: Answer, *, address: str = "93.184.216.34", tls: bool = True
    ) -> Server:
        """A server under this name and address, on port 443 as its clients see it."""
        server = Server(answer, self.authority.context(name) if tls else None)
        self.servers.append(server)
        self.names.setdefault(name, [address])
        self.routes[(address, 443)] = server.port
        return server

    def plain(self, answer: Answer) -> Server:
        """A plain http server on this machine, reachable only where it is allowed."""
        server = Server(answer, None)
        self.servers.append(server)
        self.routes[("127.0.0.1", server.port)] = server.port
        return server

    def resolve(self, host: str, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if isinstance(port, int) and (host, port) in self.house:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        known = self.names.get(host)
        addresses = known() if callable(known) else known
        if addresses is None:
            addresses = _literal(host)
        return [_entry(address, int(port)) for address in addresses]

    def connect(
        self, connection: socket.socket, address: Any, dial: Callable[[Any, Any], None]
    ) -> None:
        place = (str(address[0]), int(address[1]))
        if place in self.house:
            return dial(connection, address)
        self.tried.append(place)
        if place not in self.routes:
            raise ConnectionRefusedError(f"nothing listens at {place}")
        return dial(connection, ("127.0.0.1", self.routes[place]))

    def close(self) -> None:
        for server in self.servers:
            server.close()


def _literal(host: str) -> list[str]:
    """A host that is a number, in any of the ways that inet_aton reads (decimal, octal, hex,
    short)."""
    with suppress(OSError):
        return [socket.inet_ntoa(socket.inet_aton(host))]
    with suppress(OSError):
        return [socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))]
    raise socket.gaierror(socket.EAI_NONAME, "no such name")


def _entry(address: str, port: int) -> tuple[Any, ...]:
    """The family is always v4: the socket made for it leads to 127.0.0.1, and not every machine has
    v6."""
    return (
        socket.AF_INET,
        socket.SOCK_STREAM,
        6,
        "",
        (address, port, 0, 0)[: 4 if ":" in address else 2],
    )


class Authority:
    """A certificate authority made for the tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "Talkdrop's test authority")]
        )
        certificate = self._certificate(self._name, self._key.public_key(), is_authority=True)
        self.path = folder / "authority.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, name: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._certificate(subject, key.public_key(), is_authority=False)
        place = self._folder / f"{name}.pem"
        place.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place)
        return context

    def _certificate(self, subject: x509.Name, key: Any, *, is_authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        name = subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(str(name))]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


def _alternative(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def simulate(monkeypatch: Any, authority: Authority) -> Iterator[Internet]:
    internet = Internet(authority)
    dial = socket.socket.connect
    monkeypatch.setattr(socket, "getaddrinfo", internet.resolve)
    monkeypatch.setattr(
        socket.socket, "connect", lambda self, address: internet.connect(self, address, dial)
    )
    yield internet
    internet.close()
