"""The playground in a real browser: what is said there is said by the gateway, and what is answered there is text."""

from itertools import pairwise
from typing import Any

from proxy.simulator import Simulator
from tests.conftest import GatewayFactory, provider
from tests.spec.wire import calls

from .conftest import Opening, choose

PROMPT = ".composer textarea"
MODEL = ".model select"


async def test_an_answer_is_seen_while_it_comes_and_its_figures_when_it_has_come(
    gateway: GatewayFactory, opened: Opening
) -> None:
    running = await gateway()
    page = await opened(running, "/")
    assert (await page.evaluate("location.pathname")) == "/ui"
    await page.until(f"document.querySelector('{MODEL}').value == 'sim-1'")
    await page.fill(PROMPT, "Hello there")
    await page.press("Enter")
    # A word every 20 ms: it is read in several states, each longer than the one before.
    seen = [await page.until("document.querySelector('.prose')?.innerText.trim()")]
    for _ in range(3):
        seen.append(
            await page.until(
                f"(document.querySelector('.prose').innerText.length > {len(seen[-1])}) &&"
                " document.querySelector('.prose').innerText"
            )
        )
    assert all(later.startswith(earlier.strip()) for earlier, later in pairwise(seen))
    await page.until("document.querySelector('.turn.assistant:not(.busy)')")
    figures = await page.text(".turn.assistant .figures")
    assert "sim" in figures
    assert "2 in, 32 out" in figures
    await page.until("document.querySelector('#said').textContent == 'Answer complete'")
    await page.click(".actions button", "Timeline")
    assert "sim/sim-1" in await page.until(
        "document.querySelector('dialog svg') && document.querySelector('dialog').innerText"
    )


async def test_a_stopped_answer_stays_as_far_as_it_came_and_ends_the_call(
    gateway: GatewayFactory, opened: Opening, simulator: Simulator
) -> None:
    page = await opened(await gateway(), "/ui")
    await page.until(f"document.querySelector('{MODEL}').value")
    await choose(page, "sim-1:forever,pace=5ms")
    await page.fill(PROMPT, "Never end")
    await page.press("Enter")
    await page.until("document.querySelector('.prose')?.innerText.length > 40")
    await page.click("button", "Stop")
    await page.until("document.querySelector('.turn.assistant:not(.busy)')")
    assert len(await page.text(".prose")) >= 40
    assert "stopped" in await page.text(".figures")
    asked = calls(simulator)[-1]
    assert await asked.closed() in ("client", "reset")


async def test_two_models_answer_side_by_side_and_each_remembers_its_own_chat(
    gateway: GatewayFactory, opened: Opening, simulator: Simulator
) -> None:
    page = await opened(await gateway(), "/ui")
    await page.until(f"document.querySelector('{MODEL}').value")
    await page.click("label", "Compare")
    await choose(page, "sim-echo")
    await choose(page, "sim-fast", 1)
    for text, turns in (("first words", 2), ("second words", 4)):
        await page.fill(PROMPT, text)
        await page.press("Enter")
        await page.until(f"document.querySelectorAll('.turn.assistant:not(.busy)').length == {turns}")
    bodies = [each.json() for each in calls(simulator)]
    by_model: dict[str, list[Any]] = {}
    for body in bodies:
        by_model.setdefault(body["model"], []).append([each["content"] for each in body["messages"]])
    assert by_model["sim-echo"] == [["first words"], ["first words", "first words", "second words"]]
    assert by_model["sim-fast"][1][0] == "first words"
    assert by_model["sim-fast"][1][1] not in ("", "first words")


async def test_parameters_are_sent_and_left_out_where_they_are_empty(
    gateway: GatewayFactory, opened: Opening, simulator: Simulator
) -> None:
    page = await opened(await gateway(), "/ui")
    await page.until(f"document.querySelector('{MODEL}').value")
    await page.fill(".settings textarea", "Be brief")
    await page.fill(".settings input[max='2']", "0.5")
    await page.fill(PROMPT, "hi")
    await page.press("Enter")
    await page.until("document.querySelector('.turn.assistant:not(.busy)')")
    (body,) = [each.json() for each in calls(simulator)]
    assert body == {
        "model": "sim-1",
        "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
    }
    await page.click("button", "Show as code")
    shown = await page.text("#snippet")
    assert f"{page.root}/v1/chat/completions" in shown
    assert "$HAPAX_KEY" in shown


MARKDOWN = """# A heading

Some **bold**, *slanted* and `code`, [a page](https://example.com/x) and [no page](javascript:alert(1)).

1. one
2. two
   - below

```python
print("<b>")
```

| a | b |
|---|---|
| 1 | 2 |
"""


async def test_markdown_becomes_elements(gateway: GatewayFactory, opened: Opening) -> None:
    page = await opened(await gateway(), "/ui")
    await page.until(f"document.querySelector('{MODEL}').value")
    await choose(page, "sim-echo")
    await page.fill(PROMPT, MARKDOWN)
    await page.press("Enter")
    await page.until("document.querySelector('.turn.assistant:not(.busy)')")
    prose = "document.querySelector('.prose')"

    async def texts(selector: str) -> Any:
        return await page.evaluate(f"[...{prose}.querySelectorAll('{selector}')].map((each) => each.textContent)")

    assert await texts("h3") == ["A heading"]
    assert await texts("strong") == ["bold"]
    assert await texts("em") == ["slanted"]
    assert await texts("p code") == ["code"]
    assert await texts("pre code") == ['print("<b>")']
    assert await texts("ol > li ul li") == ["below"]
    assert await texts("td") == ["1", "2"]
    assert await page.evaluate(f"[...{prose}.querySelectorAll('a')].map((each) => each.href)") == [
        "https://example.com/x"
    ]


async def test_a_failed_answer_says_why(gateway: GatewayFactory, opened: Opening, simulator: Simulator) -> None:
    running = await gateway({"providers": {"sim": provider(simulator)}, "failover": {"retries": 0}})
    page = await opened(running, "/ui")
    await page.until(f"document.querySelector('{MODEL}').value")
    await choose(page, "sim-1:status=400")
    await page.fill(PROMPT, "hi")
    await page.press("Enter")
    assert await page.until("document.querySelector('.turn .trouble')?.textContent")
    await page.fill(".model input", "sim-1:rst@6")
    await page.fill(PROMPT, "hi again")
    await page.press("Enter")
    await page.until("document.querySelectorAll('.turn .trouble').length == 2")
    assert await page.evaluate("document.querySelectorAll('.prose')[1].innerText")
