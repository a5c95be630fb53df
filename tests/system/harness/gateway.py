"""HTTPS in front of a service that speaks plain HTTP, for those who bring the right login: what stands before a shop's registry."""

import http.server
import ssl
import threading
import urllib.error
import urllib.request

from .broker import free_port


class Gateway:
    """Hands requests on to `address` when their `Authorization` is one of `logins`; answers 401 otherwise."""

    def __init__(self, address, directory, logins):
        self.refused = 0
        gateway = self
        root, _, path = address.partition("/apis")

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_one(self):
                if self.headers.get("Authorization") not in logins:
                    gateway.refused += 1
                    return self.answer(401, b'{"error_code":40101,"message":"no"}')
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else None
                request = urllib.request.Request(f"{root}{self.path}", body, {"Content-Type": "application/json"}, method=self.command)
                try:
                    with urllib.request.urlopen(request, timeout=30) as found:
                        return self.answer(found.status, found.read())
                except urllib.error.HTTPError as error:
                    return self.answer(error.code, error.read())

            def answer(self, code, body):
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = handle_one

            def log_message(self, *_):
                pass

        port = free_port()
        self.address = f"https://localhost:{port}/apis{path}"
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "server.crt", directory / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
