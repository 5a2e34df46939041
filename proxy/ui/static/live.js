// Calls as they end, from `/admin/events`. However many come, the page holds a bounded number of them, and draws a few
// times a second what has come since it last drew.

import { events, get, rights, send } from "./api.js";
import { badge, empty, field, h, put, select } from "./dom.js";
import * as format from "./format.js";
import { Rates } from "./rates.js";
import { openTrail } from "./trail.js";

const KEPT = 2000; // calls that a filter can find
const RECALLED = 500; // of the calls that ended before the page was opened
const ROWS = 100; // rows in the document; each is laid out and painted again whenever one comes, and a click waits for it
const EVERY = 200; // milliseconds between two drawings
const COLUMNS = [
  ["Time", ""],
  ["Key", "wide-only"],
  ["Model", ""],
  ["Provider", "wide-only"],
  ["Outcome", ""],
  ["First token", "number wide-only"],
  ["Took", "number"],
  ["Tokens", "number wide-only"],
  ["Cost", "number wide-only"],
];

export function make() {
  const calls = []; // the newest last; each with its number
  let number = 0; // of the last call that came
  let drawn = 0; // of the last call that was drawn
  let paused = false;
  let pressed = false; // a mouse button or finger is down on a row
  let following = null; // ends the reading
  let due = 0;
  const rates = new Rates();
  let missed = 0;

  const words = h("input", { type: "search", placeholder: "model, key, provider, id …", oninput: redraw });
  const outcome = select(
    [
      ["", "all outcomes"],
      ["ok", "ok"],
      ["bad", "not ok"],
      ["refused", "refused"],
      ["failed", "failed"],
      ["cut", "cut"],
      ["client_gone", "client gone"],
    ],
    { onchange: redraw },
  );
  const pause = h("button", { type: "button", "aria-pressed": "false", onclick: pauseOrGoOn }, "Pause");
  const clear = h("button", { type: "button", onclick: () => (calls.splice(0), redraw()) }, "Clear");
  const state = h("p", { class: "note", role: "status" });
  const tiles = h("dl", { class: "tiles", "aria-label": "The last minute" });
  // Rows stand still under a button that is down: where another one came up under it, the press would click on neither.
  const rows = h("tbody", { onclick: opened, onpointerdown: hold });
  const changes = h("ul", { class: "changes", "aria-label": "Changes of providers" });
  const nothing = h("div");
  const table = h(
    "table",
    { class: "calls" },
    h("caption", { class: "unseen" }, "Calls, the newest first"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        COLUMNS.map(([name, kind]) => h("th", { scope: "col", class: kind }, name)),
      ),
    ),
    rows,
  );
  const element = h(
    "div",
    { class: "page" },
    h("div", { class: "head" }, h("h1", {}, "Live"), state),
    tiles,
    h(
      "div",
      { class: "row bar", role: "search" },
      field("Filter", words),
      field("Outcome", outcome),
      h("span", { class: "grow" }),
      pause,
      clear,
    ),
    changes,
    table,
    nothing,
  );
  redraw();

  async function follow() {
    const stop = (following = new AbortController());
    let last = "";
    while (following === stop) {
      try {
        const answer = await send("/admin/events", {
          signal: stop.signal,
          headers: last ? { "Last-Event-ID": last } : {},
        });
        state.textContent = "Following";
        for await (const event of events(answer)) {
          last = event.id ?? last;
          took(event.event, JSON.parse(event.data));
        }
      } catch (error) {
        if (error.name === "AbortError" || following !== stop) return;
        state.textContent = error.status ? error.message : "The gateway is away; trying again.";
        if (error.status === 401 || error.status === 403) return;
      }
      await new Promise((wake) => setTimeout(wake, 1500));
    }
  }

  /** Calls that ended before this page was opened, where the gateway tells of them. */
  async function recall() {
    if (!rights.past) return;
    try {
      const earlier = (await get(`/admin/calls?limit=${RECALLED}`)).calls;
      const known = new Set(calls.map(({ request_id: id }) => id));
      calls.unshift(...earlier.reverse().filter(({ request_id: id }) => !known.has(id)));
      for (const [index, call] of calls.entries()) call.number = index + 1;
      number = calls.length;
      redraw();
    } catch {
      // Those that come are shown all the same.
    }
  }

  function took(kind, about) {
    if (kind === "call") {
      number += 1;
      calls.push({ ...about, number });
      if (calls.length > KEPT + 200) calls.splice(0, calls.length - KEPT);
      rates.add(about);
    } else if (kind === "missed") {
      missed += about.events;
      state.textContent = `Following; ${format.count(missed)} events were missed`;
    } else if (kind === "action") {
      changed(h("code", {}, about.name), ` ${about.action}, by ${about.by}`);
    } else {
      const good = ["healthy", "closed", "in use"].includes(about.state);
      changed(kind, " ", h("code", {}, about.name), " is ", badge(about.state, good ? "good" : "bad"));
    }
    if (!paused) later();
  }

  function changed(...what) {
    changes.prepend(h("li", {}, h("time", {}, format.clock(Date.now())), " ", ...what));
    while (changes.childElementCount > 4) changes.lastChild.remove();
  }

  function later() {
    // A tab that is not seen draws nothing, and nothing piles up: what is drawn is read from `calls`.
    due ||= setTimeout(() => requestAnimationFrame(draw), EVERY);
  }

  function draw() {
    due = 0;
    if (paused || pressed) return;
    const fresh = [];
    for (let at = calls.length - 1; at >= 0 && calls[at].number > drawn && fresh.length < ROWS; at -= 1) {
      if (fits(calls[at])) fresh.push(row(calls[at]));
    }
    drawn = number;
    rows.prepend(...fresh);
    while (rows.childElementCount > ROWS) rows.lastChild.remove();
    tell();
    put(nothing, !rows.childElementCount && quiet());
    table.hidden = !rows.childElementCount;
  }

  function hold() {
    pressed = true;
    // Wherever it is let go; the same listener is there once, however often it is put there.
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, letGo, { once: true });
  }

  function letGo() {
    pressed = false;
    later();
  }

  function redraw() {
    rows.replaceChildren();
    drawn = 0;
    const held = paused;
    paused = false;
    draw();
    paused = held;
  }

  function quiet() {
    if (calls.length) return empty("No call fits the filter");
    return empty(
      "No call has ended since this page was opened",
      "Make one in the playground, or send the gateway one from a program: it appears here when it ends.",
      h("a", { class: "button primary", href: "#/playground" }, "Open the playground"),
    );
  }

  function fits(call) {
    const want = outcome.value;
    if (want && (want === "bad" ? call.outcome === "ok" : call.outcome !== want)) return false;
    const text = words.value.trim().toLowerCase();
    if (!text) return true;
    const all =
      `${call.model} ${call.answered_model} ${call.principal} ${call.provider} ${call.request_id} ${call.error_code} ${call.operation}`.toLowerCase();
    return text.split(/\s+/).every((word) => all.includes(word));
  }

  function row(call) {
    const answered = call.answered_model && call.answered_model !== call.model ? ` → ${call.answered_model}` : "";
    const tries = call.attempts?.length > 1 ? ` ×${call.attempts.length}` : "";
    const cells = [
      h(
        "button",
        { type: "button", class: "link", "aria-label": `Call at ${format.clock(call.start_time)}: open its trail` },
        format.clock(call.start_time),
      ),
      call.principal || format.NONE,
      (call.model || call.operation) + answered,
      (call.provider || format.NONE) + tries,
      badge(
        call.outcome === "ok" ? "ok" : call.error_code || call.outcome,
        call.outcome === "ok" ? (tries ? "warn" : "good") : call.outcome === "refused" ? "warn" : "bad",
      ),
      format.ms(call.time_to_first_token_ms),
      format.ms(call.latency_ms),
      call.tokens ? format.count(call.tokens.total) : format.NONE,
      format.money(call.cost_micro_usd),
    ];
    const made = h(
      "tr",
      {},
      cells.map((cell, index) =>
        h(
          "td",
          {
            class: COLUMNS[index][1],
            "data-tries": index === 3 && tries ? call.attempts.length : null,
            title: typeof cell === "string" && cell.length > 18 ? cell : null,
          },
          cell,
        ),
      ),
    );
    made.call = call;
    return made;
  }

  function opened(event) {
    const call = event.target.closest("tr")?.call;
    if (call) openTrail(call.request_id, { call });
  }

  function tell() {
    put(
      tiles,
      rates.figures().map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    );
  }

  function pauseOrGoOn() {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) draw();
  }

  let ticking = 0;
  return {
    element,
    show() {
      // It is followed on while another view is seen, so that nothing is lost.
      if (!following) {
        follow();
        recall();
      }
      ticking = setInterval(tell, 2000);
    },
    hide: () => clearInterval(ticking),
    end() {
      following?.abort();
      following = null;
    },
  };
}
