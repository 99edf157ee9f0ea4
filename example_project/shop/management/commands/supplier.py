"""``manage.py supplier``: the supplier's webhook is up again."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Webhook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        print("received", body.decode(errors="replace"), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        """The order is printed already."""


class Command(BaseCommand):
    help = "Answer at the supplier's webhook until Ctrl-C, so that replayed dead letters get through."

    def handle(self, *_args: Any, **_options: Any) -> None:
        address = urlsplit(settings.SUPPLIER_WEBHOOK)
        try:
            server = HTTPServer((address.hostname or "127.0.0.1", address.port or 80), Webhook)
        except OSError as error:
            raise CommandError(f"cannot listen at {settings.SUPPLIER_WEBHOOK}: {error}") from None
        with server:
            self.stdout.write(f"The supplier answers at {settings.SUPPLIER_WEBHOOK}. Stop it with Ctrl-C.")
            self.stdout.flush()
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                self.stdout.write("")
