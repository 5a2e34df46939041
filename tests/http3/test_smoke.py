from tests.http3.conftest import QuicFactory, quic_port
from tests.rigs.quic import connect


async def test_a_page_and_a_stream(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        live = await client.ask("GET", "/live")
        assert (live.status, live.end) == (200, "fin"), live.body
        print(live.fields, live.body)
        chat = await client.chat(stream=True).whole()
        print(chat.fields, chat.body)
        assert (chat.status, chat.end) == (200, "fin")
        chat = await client.chat().whole()
        print(chat.fields, chat.body)
        nf = await client.ask("GET", "/nothing")
        print(nf.fields, nf.body)
