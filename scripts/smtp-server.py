"""The server of scripts/smtp-server.

Each mail becomes a file NNN.json in the folder, written whole; `port` there says where it listens. By the name before the @:

later…   is refused for now twice (451), then taken
us…      is refused twice because of who we are (554), then taken
never…   is refused for good (550)
slow…    is kept, but the first time the answer never comes

With SMTP_ASCII_ONLY in its environment it does not take addresses with letters beyond ASCII.
"""

import asyncio
import email
import email.policy
import json
import os
import pathlib
import ssl
import sys
from collections import Counter

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self, folder):
        self.folder = folder
        self.tried = Counter()
        # Another server may have kept some before.
        self.kept = len(list(folder.glob("*.json")))

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.tried[address] += 1
        if address.startswith("later") and self.tried[address] <= 2:
            return "451 4.7.1 <%s> try again" % address
        if address.startswith("us") and self.tried[address] <= 2:
            return "554 5.7.1 <%s> relay access denied" % address
        if address.startswith("never"):
            return "550 5.1.1 <%s> is nobody here" % address
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.kept += 1
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
        self.write(
            "%03d.json" % self.kept,
            json.dumps(
                {
                    "recipients": envelope.rcpt_tos,
                    "sender": envelope.mail_from,
                    "headers": {name.lower(): str(value) for name, value in message.items()},
                    "kind": message.get_content_type(),
                    "text": parts.get("text/plain"),
                    "html": parts.get("text/html"),
                    "is_tls": session.ssl is not None,
                    "user": session.auth_data and session.auth_data.login.decode(),
                }
            ),
        )
        address = envelope.rcpt_tos[0]
        if address.startswith("slow") and self.tried[address] == 1:
            await asyncio.Event().wait()
        return "250 OK"

    def write(self, name, text):
        unfinished = self.folder / ("." + name)
        unfinished.write_text(text)
        os.rename(unfinished, self.folder / name)


def authenticate(server, session, envelope, mechanism, data):
    is_right = data.login == b"weir" and data.password == b"hunter2"
    # Not handled: the server says 235 or 535.
    return AuthResult(success=is_right, handled=False, auth_data=data if is_right else None)


async def main():
    folder, port, *certificate = sys.argv[1:]
    handler = Handler(pathlib.Path(folder))
    more = {}
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        more = {"tls_context": context, "require_starttls": True, "authenticator": authenticate, "auth_required": True}
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, enable_SMTPUTF8="SMTP_ASCII_ONLY" not in os.environ, hostname="mail.test", **more), "127.0.0.1", int(port)
    )
    handler.write("port", str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


asyncio.run(main())
