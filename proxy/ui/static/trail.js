// The decision trail of one call: a timeline of its attempts, who was passed over and why, and how it ended.

import { getIfThere } from "./api.js";
import { badge, dialog, h, put, svg } from "./dom.js";
import * as format from "./format.js";

// The parts of an attempt, in their order: what they are called, and the moment at which each ends.
const PARTS = [
  ["connecting", "connect", (attempt) => attempt.sent_ms],
  ["waiting for an answer", "answer", (attempt) => attempt.head_ms],
  ["waiting for content", "first", (attempt) => attempt.first_content_ms],
  ["content", "content", (attempt) => attempt.ended_ms],
];
const WHY = {
  "breaker open": "its breaker is open",
  "breaker half_open": "its breaker is half open, and its one probe under way",
  resting: "it rests after a rate limit",
  parked: "its keys were refused",
  unhealthy: "its probes fail",
  full: "it has no free place",
  drained: "it is drained",
};
const TONES = { ok: "good", refused: "warn" };

/** Opens the trail of the call *id*. *call*: its event, as far as it is known; *trail*: where it was read already. */
export async function openTrail(id, { call, trail } = {}) {
  const body = h("div", { class: "trail" }, h("p", { class: "note" }, "Asking the gateway …"));
  dialog("Call", body);
  let trouble = "";
  if (!trail) {
    try {
      trail = await getIfThere(`/admin/requests/${encodeURIComponent(id)}`);
    } catch (error) {
      trouble = error.message;
    }
  }
  const known = trail ?? call ?? {};
  put(
    body,
    facts(id, known, call),
    trail?.attempts.length > 0 && timeline(trail),
    trail?.attempts.length > 0 && table(trail.attempts),
    passedOver(known.skipped),
    !trail?.attempts.length &&
      h(
        "p",
        { class: "note" },
        trouble ||
          (trail
            ? "No target was asked, so there is no timeline."
            : "No target was asked, or it is not one of the last thousand calls any more: there is no timeline."),
      ),
  );
}

function facts(id, known, call) {
  const answered = known.answered_model && known.answered_model !== known.model ? ` → ${known.answered_model}` : "";
  const pairs = [
    [
      "Outcome",
      [
        badge(known.outcome ?? format.NONE, TONES[known.outcome] ?? "bad"),
        ` ${known.status ?? ""} ${known.error_code ?? ""}`,
      ],
    ],
    ["Model", `${known.model || format.NONE}${answered}`],
    ["Provider", known.provider || format.NONE],
    ["Key", known.principal || format.NONE],
    ["Took", format.ms(known.duration_ms ?? call?.latency_ms)],
    known.queued_ms > 0 && ["In the queue", format.ms(known.queued_ms)],
    known.tokens && ["Tokens", `${format.count(known.tokens.prompt)} in, ${format.count(known.tokens.completion)} out`],
    ["Cost", format.money(known.cost_micro_usd)],
    ["Path", known.route ?? call?.operation ?? format.NONE],
    known.hedged && ["Hedged", "another target was asked beside a slow one"],
    known.resumed > 0 && ["Resumed", `the stream went on at another target ${known.resumed} ×`],
    known.shared_with && ["Shared", h("span", {}, "with ", h("code", {}, known.shared_with))],
    known.kept_to && ["Kept to", `${known.kept_to}, which holds what the call names`],
    ["Request id", h("code", {}, id)],
  ];
  return h(
    "dl",
    { class: "figures" },
    pairs.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

const LANE = 34;
const WIDTH = 720;
const LEFT = 4;

function timeline({ attempts, duration_ms: total, queued_ms: queued }) {
  const whole = Math.max(total, ...attempts.map((attempt) => attempt.ended_ms ?? 0), 0.001);
  const x = (at) => LEFT + (at / whole) * (WIDTH - 2 * LEFT);
  const lanes = [];
  let y = 22;
  const label = (text, at = y) => svg("text", { x: LEFT, y: at - 5, class: "lane" }, text);
  const bar = (from, to, kind, title) =>
    svg(
      "rect",
      { x: x(from), y, width: Math.max(2, x(to) - x(from)), height: 10, rx: 2, class: `part ${kind}` },
      svg("title", {}, `${title}: ${format.ms(to - from)}`),
    );
  if (queued > 0) {
    lanes.push(label("queue"), bar(0, queued, "queue", "waited in the queue"));
    y += LANE;
  }
  for (const [index, attempt] of attempts.entries()) {
    const how = attempt.failure
      ? `${attempt.failure}${attempt.status ? ` (${attempt.status})` : ""}`
      : attempt.beside
        ? "beside the one before"
        : "";
    lanes.push(label(`${index + 1}  ${attempt.target}${how ? `  ·  ${how}` : ""}`));
    let from = attempt.began_ms;
    for (const [title, kind, ends] of PARTS) {
      const to = ends(attempt);
      if (to === null || to === undefined || to < from) continue;
      // A part that was cut short ends with the attempt, in the colour of what it waited for.
      lanes.push(
        bar(
          from,
          to,
          attempt.failure && kind === "content" && attempt.first_content_ms === null ? "lost" : kind,
          title,
        ),
      );
      from = to;
    }
    if (attempt.failure) {
      const at = x(attempt.ended_ms ?? from);
      lanes.push(
        svg("path", { d: `M${at - 5} ${y}l10 10m0 -10l-10 10`, class: "fault" }, svg("title", {}, attempt.failure)),
      );
    } else if (attempt.first_content_ms !== null) {
      lanes.push(
        svg(
          "circle",
          { cx: x(attempt.first_content_ms), cy: y + 5, r: 4.5, class: "spark" },
          svg("title", {}, `first content at ${format.ms(attempt.first_content_ms)}`),
        ),
      );
    }
    y += LANE;
  }
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => [
    svg("line", { x1: x(whole * part), x2: x(whole * part), y1: 4, y2: y - 12, class: "grid" }),
    svg(
      "text",
      {
        x: x(whole * part),
        y: y + 4,
        class: "tick",
        "text-anchor": part === 0 ? "start" : part === 1 ? "end" : "middle",
      },
      format.ms(whole * part),
    ),
  ]);
  return h(
    "figure",
    { class: "timeline" },
    h(
      "div",
      { class: "wide", tabindex: 0 },
      svg(
        "svg",
        {
          viewBox: `0 0 ${WIDTH} ${y + 10}`,
          role: "img",
          "aria-label": `Timeline of ${attempts.length} attempts; the table below says the same`,
        },
        ticks.flat(),
        lanes,
      ),
    ),
    h(
      "figcaption",
      { class: "legend" },
      [
        ["queue", "queue"],
        ["connect", "connecting"],
        ["answer", "waiting for an answer"],
        ["first", "waiting for content"],
        ["content", "content"],
        ["lost", "lost"],
      ].map(([kind, text]) => h("span", {}, h("i", { class: `swatch ${kind}` }), text)),
    ),
  );
}

function table(attempts) {
  const columns = ["", "Target", "Began", "Sent", "Answered", "First content", "Ended", "Came to"];
  return h(
    "div",
    { class: "wide", tabindex: 0 },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((name) => h("th", { scope: "col" }, name)),
        ),
      ),
      h(
        "tbody",
        {},
        attempts.map((attempt, index) =>
          h(
            "tr",
            {},
            h("td", {}, String(index + 1)),
            h("td", {}, h("code", {}, attempt.target)),
            ["began_ms", "sent_ms", "head_ms", "first_content_ms", "ended_ms"].map((name) =>
              h("td", { class: "number" }, format.ms(attempt[name])),
            ),
            h(
              "td",
              {},
              attempt.failure ? badge(attempt.failure, "bad") : badge("answered", "good"),
              attempt.status ? ` ${attempt.status}` : "",
              attempt.reason ? ` ${attempt.reason}` : "",
            ),
          ),
        ),
      ),
    ),
  );
}

function passedOver(skipped) {
  const entries = Object.entries(skipped ?? {});
  if (!entries.length) return null;
  return h(
    "section",
    {},
    h("h3", {}, "Passed over"),
    h(
      "ul",
      {},
      entries.map(([target, reason]) => h("li", {}, h("code", {}, target), `: ${WHY[reason] ?? reason}`)),
    ),
  );
}
