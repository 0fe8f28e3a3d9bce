"""A door before an S3 server that counts its visitors, and may let them wait for one another or for a while."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class WaitingS3:
    """Passes requests on. The first ones wait until `together` are under way, or ten seconds at most."""

    def __init__(self, behind: str, together: int = 4, delay: float = 0.0) -> None:
        self.behind, self.together, self.delay = behind, together, delay
        self.requests = self.under_way = self.most = 0
        self.changed = threading.Condition()
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def pass_on(self) -> None:
                body = self._body()
                door.wait()
                to = http.client.HTTPConnection(urlsplit(door.behind).netloc, timeout=30)
                to.request(self.command, self.path, body, {k: v for k, v in self.headers.items() if k != "Expect"})
                reply = to.getresponse()
                data = reply.read()
                self.send_response(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "server", "date"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
                to.close()
                door.leave()

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                raise AssertionError("the client is expected to know how much it sends")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def wait(self) -> None:
        """Come in: count, and wait for the others."""
        with self.changed:
            self.requests += 1
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.changed.notify_all()
            if not self.changed.wait_for(lambda: self.most >= self.together, timeout=10):
                self.together = 0  # they never come: the test will say so, without waiting at every door
        time.sleep(self.delay)

    def leave(self) -> None:
        """Go out again."""
        with self.changed:
            self.under_way -= 1

    def close(self) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()
