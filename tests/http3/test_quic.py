"""What is asked of aioquic's connections beyond what they do by themselves."""

from pylsqpack import Encoder

from tests.http3.conftest import QuicFactory, quic_port
from tests.rigs.quic import connect
from tests.spec.loop import until

HEAD = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/live")]
KNOWN = (b"content-security-policy", b"script-src 'none'; object-src 'none'; base-uri 'none'")
"""The longest of the headers that stand for one or two bytes (RFC 9204 appendix A)."""


def headers_frame(fields: list[tuple[bytes, bytes]]) -> bytes:
    _, block = Encoder().encode(0, fields)
    return b"\x01" + (0x80000000 + len(block)).to_bytes(4, "big") + bytes(block)


async def test_a_short_head_that_unfolds_into_a_long_one_ends_its_connection(quic: QuicFactory) -> None:
    running = await quic()
    frame = headers_frame([*HEAD, *[KNOWN] * 20_000])
    assert len(frame) < 65536
    async with connect(quic_port(running)) as client:
        client._quic.send_stream_data(0, frame, end_stream=True)
        client.transmit()
        await client.until(lambda: client.terminated)
        assert client.terminated is not None
        assert client.terminated.error_code == 0x107


async def test_one_that_is_only_too_long_is_refused(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        reply = client.send("GET", "/live")
        await reply.whole()
        second = client.replies[4] = type(reply)(4)
        client._quic.send_stream_data(4, headers_frame([*HEAD, *[KNOWN] * 900]), end_stream=True)
        client.transmit()
        assert (await second.whole()).status == 431


async def test_headers_of_before_are_not_to_be_referred_to(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        await client.ask("GET", "/live")
        # QPACK's two, the size of a head, and no WebSockets (RFC 9220).
        assert client.http.received_settings == {0x1: 0, 0x6: 65536, 0x7: 0}


async def test_a_frame_of_the_protocol_that_does_not_end_is_read_to_a_limit(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        await client.ask("GET", "/live")
        control = client.http._local_control_stream_id
        assert control is not None
        # MAX_PUSH_ID, which is a few bytes long elsewhere.
        client._quic.send_stream_data(control, b"\x0d\xbf\xff\xff\xff" + bytes(100_000))
        client.transmit()
        await client.until(lambda: client.terminated)
        assert client.terminated is not None
        assert client.terminated.error_code == 0x107
        await until(lambda: not running.listener.gateway.served.open)
