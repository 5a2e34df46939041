// One streamed chat with one model: what was said, what is being said, and what each answer took.

import { events, get, rights, send } from "./api.js";
import { copy, h, say } from "./dom.js";
import * as format from "./format.js";
import { show as showMarkdown } from "./markdown.js";
import { openTrail } from "./trail.js";

/** The conversation of one column. */
export class Chat {
  constructor() {
    this.turns = [];
    this.element = h("div", { class: "turns" });
    this.stopping = null;
  }

  get busy() {
    return this.stopping !== null;
  }

  /** The request as it goes out for another *text* of the user. */
  body(model, text, { system, temperature, maxTokens }) {
    const said = this.turns.filter((turn) => turn.content);
    return {
      model,
      messages: [
        ...(system ? [{ role: "system", content: system }] : []),
        ...said.map(({ role, content }) => ({ role, content })),
        ...(text ? [{ role: "user", content: text }] : []),
      ],
      stream: true,
      stream_options: { include_usage: true },
      ...(temperature === null ? {} : { temperature }),
      ...(maxTokens === null ? {} : { max_tokens: maxTokens }),
    };
  }

  stop() {
    this.stopping?.abort();
  }

  clear() {
    this.stop();
    this.turns = [];
    this.element.replaceChildren();
  }

  /** Says *text* to *model* and shows the answer as it comes. It ends when the answer has. */
  async say(model, text, options) {
    const body = this.body(model, text, options);
    const question = { role: "user", content: text };
    const turn = { role: "assistant", content: "" };
    this.turns.push(question, turn);
    const card = new Answer(model);
    this.element.append(h("article", { class: "turn user", "aria-label": "You" }, h("p", {}, text)), card.element);
    this.stopping = new AbortController();
    try {
      for await (const piece of answer(body, this.stopping.signal, card)) turn.content = piece;
      card.ended(card.error ? "" : "Answer complete");
    } catch (error) {
      // What came so far stays; a stopped answer is one that the user wanted no more of.
      if (error.name === "AbortError") card.ended("Stopped");
      else card.failed(error);
    } finally {
      this.stopping = null;
      if (!turn.content) this.turns.splice(this.turns.indexOf(question), 2);
    }
    await card.explain();
  }
}

/** Yields the text so far, whenever more of it has come; tells *card* what else there is to know. */
async function* answer(body, signal, card) {
  const came = await send("/v1/chat/completions", { method: "POST", as: "client", body, signal });
  card.head(came.headers);
  let text = "";
  for await (const { data } of events(came)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data);
    if (chunk.error) {
      card.failed(new Error(chunk.error.message ?? "The answer broke off."));
      return;
    }
    if (chunk.usage) card.usage(chunk.usage);
    const choice = chunk.choices?.[0];
    const more = choice?.delta?.content ?? choice?.delta?.refusal ?? "";
    const thought = choice?.delta?.reasoning_content ?? choice?.delta?.reasoning ?? "";
    if (thought) card.thought(thought);
    if (choice?.finish_reason) card.finish = choice.finish_reason;
    if (more) {
      text += more;
      card.more(text);
      yield text;
    }
  }
}

/** An answer on the page, with its figures. */
class Answer {
  constructor(model) {
    this.began = performance.now();
    this.first = null;
    this.text = "";
    this.finish = "";
    this.error = null;
    this.told = {};
    this.trail = null;
    this.pieces = 0;
    this.drawing = 0;
    this.prose = h("div", { class: "prose" });
    this.thoughts = null;
    this.figures = h("dl", { class: "figures" });
    this.actions = h("div", { class: "row actions" });
    this.element = h(
      "article",
      { class: "turn assistant busy", "aria-label": `Answer of ${model}`, "aria-busy": "true" },
      h("h3", { class: "from" }, model),
      this.prose,
      this.figures,
      this.actions,
    );
  }

  head(headers) {
    this.told = {
      provider: headers.get("x-hapax-provider"),
      attempts: headers.get("x-hapax-attempts"),
      shared: headers.get("x-hapax-deduplicated") === "true",
      cache: headers.get("x-hapax-cache"),
      id: headers.get("x-request-id"),
    };
  }

  usage(usage) {
    this.told.usage = usage;
  }

  thought(text) {
    this.first ??= performance.now();
    if (!this.thoughts) {
      this.thoughts = h("p", {});
      this.prose.before(h("details", { class: "thoughts" }, h("summary", {}, "Reasoning"), this.thoughts));
    }
    this.thoughts.append(text);
  }

  more(text) {
    this.first ??= performance.now();
    this.last = performance.now();
    this.pieces += 1;
    this.text = text;
    // As often as the screen shows a picture, however many pieces came.
    this.drawing ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.drawing);
    this.drawing = 0;
    this.growing(() => {
      showMarkdown(this.prose, this.text);
      this.show();
    });
  }

  /** Does *change*; who reads the end of the chat goes on seeing it, and who has scrolled up is left there. */
  growing(change) {
    const scroller = this.element.closest(".turns");
    const follows = scroller && scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
    change();
    if (follows) scroller.scrollTop = scroller.scrollHeight;
  }

  failed(error) {
    this.error = error;
    this.told.id ??= error.requestId;
    this.prose.after(
      h("p", { class: "trouble" }, error.message, error.code ? h("span", {}, " ", h("code", {}, error.code)) : null),
    );
    this.ended("The answer failed: " + error.message);
  }

  ended(how) {
    if (how === "Stopped") this.finish = "stopped";
    this.draw();
    this.element.classList.remove("busy");
    this.element.setAttribute("aria-busy", "false");
    if (this.text) this.growing(() => this.actions.append(copy(() => this.text)));
    if (how) say(how);
  }

  /** What only operators are told: the way the call took, and its cost. */
  async explain() {
    if (!rights.admin || !this.told.id) return;
    const id = this.told.id;
    try {
      this.trail = await get(`/admin/requests/${encodeURIComponent(id)}`);
    } catch {
      return;
    }
    this.growing(() => {
      this.actions.append(
        h("button", { type: "button", onclick: () => openTrail(id, { trail: this.trail }) }, "Timeline"),
      );
      this.show();
    });
  }

  show() {
    if (this.error && !this.text) return;
    const { provider, attempts, shared, cache, usage } = this.told;
    const span = this.first === null ? 0 : (this.last ?? this.first) - this.first;
    const tokens = usage?.completion_tokens ?? this.trail?.tokens?.completion;
    const rate = span > 50 ? ((tokens ?? this.pieces) * 1000) / span : null;
    const figures = [
      ["First token", format.ms(this.first === null ? null : this.first - this.began)],
      ["Tokens a second", rate === null ? format.NONE : format.one(rate)],
      [
        "Tokens",
        usage
          ? `${format.count(usage.prompt_tokens)} in, ${format.count(tokens)} out`
          : this.pieces
            ? `≈ ${format.count(this.pieces)} out`
            : format.NONE,
      ],
      this.trail && ["Cost", format.money(this.trail.cost_micro_usd)],
      ["Provider", provider ?? format.NONE],
      ["Attempts", attempts ?? format.NONE],
      (shared || cache) && ["Answer", shared ? "shared with another call" : `cache: ${cache}`],
      this.finish && this.finish !== "stop" && ["Ended by", this.finish],
    ];
    this.figures.replaceChildren(
      ...figures.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    );
  }
}
