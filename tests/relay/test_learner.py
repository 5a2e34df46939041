"""What is noticed of an answer on its way: it passes byte for byte, whatever pieces it comes in."""

from typing import Any

import pytest

from proxy.core.headers import Header
from proxy.relay.learner import Learner
from proxy.relay.made import Tells


class Client:
    """Keeps what it is told."""

    paused = False
    on_pause: Any = None
    on_resume: Any = None

    def __init__(self) -> None:
        self.got = b""
        self.status = 0

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        self.status, self.got = status, body

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        self.status = status

    def push(self, chunk: bytes) -> None:
        self.got += chunk

    def finish(self) -> None:
        self.got += b"."

    def cut(self) -> None:
        self.got += b"!"


THREAD = b'event: thread.created\r\ndata: {"id":"thread_1","object":"thread"}\r\n\r\n'
RUN = b'event: thread.run.created\r\ndata: {"id":"run_1","thread_id":"thread_1"}\r\n\r\n'
VLLM = b'event: response.created\ndata: {"response": {"id": "resp_1", "created_at": 1}, "type": "response.created"}\n\n'
LATE = b'data: {"type":"response.created","response":{"object":"response","id":"resp_2"}}\n\n'
START = b'data: {"type":"message_start","message":{"id":"msg_1"}}\n\n'
MESSAGE = b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","container":{"id":"c_1"}}}\n\n'
STREAMS = [
    pytest.param(Tells.MADE, THREAD + RUN, ["thread_1", "run_1"], id="a thread and its run"),
    pytest.param(Tells.MADE, VLLM + b"data: x\n\n", ["resp_1"], id="a response that begins with its id"),
    pytest.param(Tells.MADE, LATE, ["resp_2"], id="a response whose id stands later"),
    pytest.param(Tells.MADE, b"data: [DONE]\n\ndata: 7\n\ndata:\n\n", [], id="nothing that is an object"),
    pytest.param(Tells.CONTAINER, START + MESSAGE, ["c_1"], id="the container of a message"),
    pytest.param(Tells.NOTHING, LATE, [], id="nothing is wanted"),
]


@pytest.mark.parametrize(("tells", "stream", "ids"), STREAMS)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_stream_passes_and_its_ids_are_noticed_once(tells: Tells, stream: bytes, ids: list[str], size: int) -> None:
    client, told = Client(), list[str]()
    learner = Learner(client, tells, told.extend, holds=False)
    learner.start(200, [], None, streamed=True)
    for at in range(0, len(stream), size):
        learner.push(stream[at : at + size])
    learner.finish()
    assert client.got == stream + b"."
    assert told == ids


def test_after_the_first_events_a_stream_is_not_looked_at() -> None:
    told: list[str] = []
    learner = Learner(Client(), Tells.MADE, told.extend, holds=False)
    learner.start(200, [], None, streamed=True)
    for number in range(100):
        learner.push(b'data: {"id":"e%d"}\n\n' % number)
    assert told == [f"e{number}" for number in range(16)]


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        (b' {\n "id" : "big_1", "data": "' + b"x" * 5000, ["big_1"]),
        (b'{"background":false,"error":null,"x":{"id":"deeper"},"y":["id"],"id":"later"' + b" " * 5000, ["later"]),
        (b'{"object":"id","text":"{\\"id\\":\\"said\\"}","id":7' + b" " * 5000, []),
        (b'{"data":"' + b"x" * 5000 + b'","id":"too late"', []),
        (b'{"id":"es\\u0063aped"' + b" " * 5000, []),
        (b"\x89PNG" + b"x" * 5000, []),
    ],
)
def test_of_an_answer_too_long_to_be_held_the_beginning_tells_its_id(body: bytes, ids: list[str]) -> None:
    client, told = Client(), list[str]()
    learner = Learner(client, Tells.MADE, told.extend, holds=True)
    learner.start(200, [], None, streamed=False)
    for at in range(0, len(body), 13):
        learner.push(body[at : at + 13])
    assert (client.got, told) == (body, ids)


def test_a_whole_answer_that_tells_waits_until_it_is_handed_over() -> None:
    client, told = Client(), list[str]()
    learner = Learner(client, Tells.MADE, told.extend, holds=True)
    learner.send(200, [], b'{"id":"file-1"}')
    assert (client.got, told, learner.holds) == (b"", ["file-1"], True)
    learner.hand_over()
    assert client.got == b'{"id":"file-1"}'
    learner.hand_over()
    assert (client.got, learner.holds) == (b'{"id":"file-1"}', False)


@pytest.mark.parametrize(("status", "body"), [(400, b'{"id":"x"}'), (200, b'["x"]'), (200, b"")])
def test_a_whole_answer_that_tells_nothing_passes_at_once(status: int, body: bytes) -> None:
    client, told = Client(), list[str]()
    learner = Learner(client, Tells.MADE, told.extend, holds=True)
    learner.send(status, [], body)
    assert (client.status, client.got, told) == (status, body, [])


def test_a_client_that_reads_slowly_is_known_as_that() -> None:
    client = Client()
    learner = Learner(client, Tells.MADE, print, holds=False)
    learner.on_pause, learner.on_resume = print, repr
    assert (client.on_pause, client.on_resume, learner.paused) == (print, repr, False)
    learner.cut()
    assert client.got == b"!"
