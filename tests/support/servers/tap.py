"""A server that can be cut off from its clients and given back: a proxy for TCP in this process."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

LOOPBACK = "127.0.0.1"


class Tap:
    """Passes on what comes and goes while it is open."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._is_open = True
        self._lock = threading.Lock()
        self._flowing = set[socket.socket]()
        tap = self

        class Client(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                tap._pass_on(self.request)

        class Clients(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._clients = Clients((LOOPBACK, 0), Client)
        threading.Thread(target=self._clients.serve_forever, daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to be asked in the place of the server's."""
        return LOOPBACK, self._clients.server_address[1]

    def cut(self) -> None:
        """End every connection that there is, and every one that comes."""
        with self._lock:
            self._is_open = False
            flowing = list(self._flowing)
        for one in flowing:
            with contextlib.suppress(OSError):  # its client may be gone
                one.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        self._is_open = True

    def close(self) -> None:
        """For good."""
        self.cut()
        self._clients.shutdown()
        self._clients.server_close()

    def _pass_on(self, client: socket.socket) -> None:
        with socket.create_connection(self._server) as server:
            with self._lock:
                if not self._is_open:
                    return
                self._flowing |= {client, server}
            answers = threading.Thread(target=pump, args=(server, client), daemon=True)
            answers.start()
            pump(client, server)
            answers.join()
            with self._lock:
                self._flowing -= {client, server}


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what one side says until it has no more to say, or the other does not listen."""
    with contextlib.suppress(OSError):
        while piece := source.recv(2**16):
            sink.sendall(piece)
    for one in (source, sink):
        with contextlib.suppress(OSError):  # the other direction may have done it
            one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def tapped(server: tuple[str, int]) -> Iterator[Tap]:
    """A tap before a server while the context is open."""
    tap = Tap(server)
    try:
        yield tap
    finally:
        tap.close()
