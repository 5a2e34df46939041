// The playground: one prompt, one model or two beside each other, and how each does.

import { get } from "./api.js";
import { Chat } from "./chat.js";
import { empty, field, h, put } from "./dom.js";
import { modelChoice } from "./models.js";
import { showSnippets } from "./snippets.js";

const TRIES = [
  "Explain a circuit breaker in three sentences.",
  "Write a Python function that merges two sorted lists.",
  "List five ways a stream can break, as a table.",
];
// Names that no chat answers: what is called so makes vectors, sound or pictures.
const NO_CHAT = /embed|tts|whisper|transcri|moderation|dall-e|image|rerank|realtime|sora/i;

export function make() {
  const columns = [column("Model"), column("Second model")];
  const system = h("textarea", { rows: 3, placeholder: "None" });
  const temperature = h("input", { type: "number", min: 0, max: 2, step: 0.1, placeholder: "default" });
  const maxTokens = h("input", { type: "number", min: 1, step: 1, placeholder: "default" });
  const beside = h("input", { type: "checkbox", role: "switch", onchange: arrange });
  const prompt = h("textarea", { rows: 2, "aria-label": "Message", placeholder: "Say something …", onkeydown: typed });
  const go = h("button", { class: "primary", type: "submit" }, "Send");
  const stop = h(
    "button",
    { type: "button", class: "danger", onclick: () => columns.forEach(({ chat }) => chat.stop()) },
    "Stop",
  );
  const note = h("p", { class: "note", role: "status" });
  const composer = h(
    "form",
    { class: "composer", onsubmit: send },
    prompt,
    h(
      "div",
      { class: "row" },
      h("small", { class: "grow note wide-only" }, "Enter sends, Shift+Enter makes a line."),
      stop,
      go,
    ),
  );
  const tries = h(
    "div",
    { class: "empty" },
    h("h2", {}, "Ask a model something"),
    h(
      "p",
      {},
      "Every answer shows what it took: the time to its first token, its speed, who gave it and at which try.",
    ),
    h(
      "div",
      { class: "row centre" },
      TRIES.map((text) =>
        h("button", { type: "button", onclick: () => ((prompt.value = text), composer.requestSubmit()) }, text),
      ),
    ),
  );
  const chats = h("div", { class: "chats" });
  const settings = h(
    "details",
    { class: "settings", open: matchMedia("(min-width: 60rem)").matches },
    h("summary", {}, "Parameters"),
    h(
      "div",
      { class: "stack" },
      field("System prompt", system),
      h("div", { class: "pair" }, field("Temperature", temperature), field("Max tokens", maxTokens)),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", onclick: () => showSnippets(request(columns[0])) }, "Show as code"),
        h("button", { type: "button", onclick: clear }, "New chat"),
      ),
    ),
  );
  const element = h(
    "div",
    { class: "playground" },
    h("h1", { class: "unseen" }, "Playground"),
    h(
      "aside",
      { class: "panel", "aria-label": "Parameters" },
      columns[0].choice.element,
      h("label", { class: "switch" }, beside, h("span", {}, "Compare two models")),
      columns[1].choice.element,
      note,
      settings,
    ),
    h("section", { class: "talk", "aria-label": "Conversation" }, tries, chats, composer),
  );
  arrange();
  load();

  function column(label) {
    const chat = new Chat();
    const choice = modelChoice(label);
    return { chat, choice, pane: h("section", { class: "pane", "aria-label": label }, chat.element) };
  }

  function arrange() {
    const two = beside.checked;
    columns[1].choice.element.hidden = !two;
    put(chats, columns[0].pane, two && columns[1].pane);
    element.classList.toggle("two", two);
    state();
  }

  function state() {
    const asked = columns.filter((_, index) => index === 0 || beside.checked);
    const busy = asked.some(({ chat }) => chat.busy);
    const begun = asked.some(({ chat }) => chat.element.childElementCount);
    stop.hidden = !busy;
    go.disabled = busy;
    tries.hidden = begun;
    chats.hidden = !begun;
  }

  async function load() {
    let models;
    try {
      models = (await get("/v1/models", { as: "client" })).data.map(({ id }) => id);
    } catch (error) {
      note.textContent = error.message;
      return;
    }
    const chat = models.filter((id) => !NO_CHAT.test(id));
    const all = [...chat, ...models.filter((id) => NO_CHAT.test(id))];
    columns[0].choice.offer(all, 0);
    columns[1].choice.offer(all, Math.min(1, chat.length - 1));
    if (!models.length) {
      put(
        tries,
        empty(
          "No provider has told of a model yet",
          "Give the gateway one in hapax.yaml, or set a provider's key such as OPENAI_API_KEY and start it again. A name that stands in no list can be asked for all the same.",
        ),
      );
    }
  }

  const number = (input) => (input.value === "" || !input.validity.valid ? null : input.valueAsNumber);

  function options() {
    return { system: system.value.trim(), temperature: number(temperature), maxTokens: number(maxTokens) };
  }

  function request({ chat, choice }) {
    return chat.body(choice.name(), prompt.value.trim() || "Hello", options());
  }

  function typed(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      composer.requestSubmit();
    }
  }

  async function send(event) {
    event.preventDefault();
    const text = prompt.value.trim();
    const asked = columns.filter((_, index) => index === 0 || beside.checked);
    const nameless = asked.find(({ choice }) => !choice.name());
    if (nameless) nameless.choice.focus();
    if (!text || nameless || asked.some(({ chat }) => chat.busy)) return;
    prompt.value = "";
    const said = asked.map(({ chat, choice }) => chat.say(choice.name(), text, options()));
    state();
    for (const { chat } of asked) chat.element.scrollTop = chat.element.scrollHeight;
    await Promise.all(said.map((each) => each.then(state)));
    prompt.focus({ preventScroll: true });
  }

  function clear() {
    for (const { chat } of columns) chat.clear();
    state();
    prompt.focus();
  }

  return {
    element,
    show: () => matchMedia("(min-width: 60rem)").matches && prompt.focus(),
    end: () => columns.forEach(({ chat }) => chat.stop()),
  };
}
