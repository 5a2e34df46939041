"""A server that takes mail by SMTP on loopback and keeps it, for programs that send some; without TLS or users."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage


class Mailbox:
    """The messages that came, the oldest first."""

    def __init__(self) -> None:
        self.port = 0
        self.messages: list[tuple[str, EmailMessage]] = []
        """Each with the address it is for."""

    def subjects(self, to: str) -> list[str]:
        """Of the messages for that address."""
        return [str(message["Subject"]) for address, message in self.messages if address == to]

    def texts(self, subject: str) -> list[str]:
        """What the messages say whose subject begins so."""
        found = [message for _, message in self.messages if str(message["Subject"]).startswith(subject)]
        bodies = [message.get_body(("plain",)) for message in found]
        return [str(body.get_content()) for body in bodies if body is not None]

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection (RFC 5321 section 4)."""
        writer.write(b"220 mail.test\r\n")
        to = ""
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"RCPT":
                to = line.partition(b"<")[2].partition(b">")[0].decode()
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                data = (await reader.readuntil(b"\r\n.\r\n"))[:-5].replace(b"\r\n..", b"\r\n.")
                self.messages.append((to, message_from_bytes(data, policy=policy.default)))
            writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            if verb == b"QUIT":
                break
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def mailbox() -> AsyncIterator[Mailbox]:
    """One that takes mail at its `port`."""
    box = Mailbox()
    server = await asyncio.start_server(box.take, "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    async with server:
        yield box
