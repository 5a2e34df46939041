// What was used and what it cost, from the ledger: all of it for the admin key, a client key's own for that key.

import { get, rights, send } from "./api.js";
import { bars, columns, gauge } from "./chart.js";
import { badge, empty, field, h, put, select, toast } from "./dom.js";
import * as format from "./format.js";

const DAY = 86400e3;
const SPANS = [
  ["1", "last 24 hours"],
  ["7", "last 7 days"],
  ["30", "last 30 days"],
  ["90", "last 90 days"],
];
const MEASURES = {
  cost: { title: "Cost", of: (line) => line.cost_micro_usd, show: format.money },
  tokens: { title: "Tokens", of: (line) => line.prompt_tokens + line.completion_tokens, show: format.compact },
  requests: { title: "Calls", of: (line) => line.requests, show: format.count },
  failed: { title: "Failed calls", of: (line) => line.failed, show: format.count },
};
const MOST = 40; // groups that are drawn; the table has all

export function make() {
  const groups = rights.admin
    ? ["day", "model", "key", "team", "provider", "route", "outcome"]
    : ["day", "model", "provider", "route", "outcome"];
  const by = select(
    groups.map((each) => [each, each]),
    { onchange: load },
    "day",
  );
  const span = select(SPANS, { onchange: load }, "7");
  const measure = select(
    Object.entries(MEASURES).map(([name, { title }]) => [name, title.toLowerCase()]),
    { onchange: draw },
    "cost",
  );
  const body = h("div", { class: "stack" });
  const element = h(
    "div",
    { class: "page" },
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Usage"),
      h("p", { class: "note" }, rights.admin ? "of all keys" : "of this key"),
    ),
    h(
      "div",
      { class: "row bar" },
      field("Show", measure),
      field("By", by),
      field("Span", span),
      h("span", { class: "grow" }),
      h("button", { type: "button", onclick: save }, "Download CSV"),
    ),
    body,
  );
  const page = rights.admin ? ["/admin/usage", "admin"] : ["/v1/usage", "client"];
  let told = null;
  let before = null;

  function query(extra = {}) {
    const [path] = page;
    // A day is one in UTC: spans by day begin at midnight, so that no first day is half of one.
    const since =
      by.value === "day" && span.value !== "1"
        ? new Date(Math.floor(Date.now() / DAY) * DAY - (span.value - 1) * DAY)
        : new Date(Date.now() - span.value * DAY);
    return [`${path}?${new URLSearchParams({ by: by.value, since: since.toISOString(), ...extra })}`, since];
  }

  async function load() {
    const as = page[1];
    try {
      const [asked, since] = query();
      told = await get(asked, { as });
      const earlier = new Date(since - (Date.now() - since));
      const [path] = page;
      before = await get(
        `${path}?${new URLSearchParams({ by: by.value, since: earlier.toISOString(), until: since.toISOString() })}`,
        { as },
      );
      draw();
    } catch (error) {
      put(body, empty("The usage cannot be shown", error.message));
    }
  }

  /** What the caller may still use, where it is told: of a client key. */
  function left() {
    const { budget, limits = [] } = told;
    if (!budget && !limits.length) return null;
    const show = budget?.unit === "micro_usd" ? format.money : (value) => `${format.compact(value)} tokens`;
    const text =
      budget &&
      (budget.spent === null
        ? "What is spent cannot be told now."
        : `${show(budget.spent)} of ${show(budget.amount)}, anew ${format.date(budget.resets_at)}`);
    return h(
      "section",
      { class: "card", "aria-label": "What is left" },
      h("h2", {}, "What is left"),
      budget &&
        h(
          "div",
          { class: "budget" },
          gauge(
            budget.spent ?? 0,
            budget.amount,
            budget.left === 0 ? "bad" : budget.spent >= 0.8 * budget.amount ? "warn" : "",
            `Budget: ${text}`,
          ),
          h("small", {}, `Budget of the ${budget.per}: ${text}`),
        ),
      limits.length > 0 &&
        h(
          "dl",
          { class: "figures" },
          limits.map((each) =>
            h(
              "div",
              {},
              h(
                "dt",
                {},
                `${each.limit.replaceAll("_", " ")}${each.model || each.route ? `, ${each.model ?? each.route}` : ""}`,
              ),
              h(
                "dd",
                {},
                each.left === 0 ? badge("0", "bad") : format.count(each.left),
                ` of ${format.count(each.amount)}`,
              ),
            ),
          ),
        ),
    );
  }

  function draw() {
    if (!told) return;
    if (!told.lines.length) {
      put(
        body,
        left(),
        empty(
          "Nothing was used in this span",
          "Every call that is admitted is written down here when it ends.",
          rights.client && h("a", { class: "button primary", href: "#/playground" }, "Make a call"),
        ),
      );
      return;
    }
    const { title, of, show } = MEASURES[measure.value];
    const was = new Map(before.lines.map((line) => [line.group, of(line)]));
    const lines = by.value === "day" ? days() : [...told.lines].sort((a, b) => of(b) - of(a));
    const entries = lines
      .slice(by.value === "day" ? -MOST * 3 : 0, by.value === "day" ? undefined : MOST)
      .map((line) => ({
        name: by.value === "day" ? line.group.slice(5) : line.group || "none",
        value: of(line),
        before: by.value === "day" ? undefined : (was.get(line.group) ?? 0),
      }));
    put(
      body,
      h(
        "dl",
        { class: "tiles" },
        Object.values(MEASURES).map((each) =>
          h(
            "div",
            {},
            h("dt", {}, each.title),
            h(
              "dd",
              {},
              each.show(each.of(told.total)),
              h("small", {}, change(each.of(told.total), each.of(before.total))),
            ),
          ),
        ),
      ),
      left(),
      h(
        "figure",
        {},
        (by.value === "day" ? columns : bars)(entries, show, `${title} by ${by.value}; the table below says the same`),
        by.value !== "day" &&
          h(
            "figcaption",
            { class: "legend" },
            h("span", {}, h("i", { class: "swatch column" }), "this span"),
            h("span", {}, h("i", { class: "swatch before" }), "the span before"),
          ),
      ),
      table(lines),
      told.total.unpriced > 0 &&
        h(
          "p",
          { class: "note" },
          `${format.count(told.total.unpriced)} calls asked models without a price: what they cost is not known, and not in these sums.`,
        ),
    );
  }

  /** The lines by day, and one for each day without a call. */
  function days() {
    const known = new Map(told.lines.map((line) => [line.group, line]));
    const nothing = Object.fromEntries(
      Object.entries(told.total).map(([name, value]) => [name, typeof value === "number" ? 0 : value]),
    );
    const found = [];
    for (let at = Math.floor(new Date(told.since) / DAY) * DAY; at <= Date.now(); at += DAY) {
      const group = new Date(at).toISOString().slice(0, 10);
      found.push(known.get(group) ?? { ...nothing, group });
    }
    return found;
  }

  function change(now, then) {
    if (!then) return now ? "nothing before" : "";
    const part = Math.round((100 * (now - then)) / then);
    return `${part > 0 ? "+" : part < 0 ? "−" : "±"}${Math.abs(part)} % on the span before`;
  }

  function table(lines) {
    const names = [
      by.value[0].toUpperCase() + by.value.slice(1),
      "Calls",
      "Failed",
      "Tokens in",
      "Tokens out",
      "Cached",
      "Cost",
    ];
    const row = (name, line, tag) =>
      h(
        "tr",
        {},
        h(tag, { scope: "row" }, name),
        [line.requests, line.failed, line.prompt_tokens, line.completion_tokens, line.cached_tokens].map((value) =>
          h("td", { class: "number" }, format.count(value)),
        ),
        h("td", { class: "number" }, format.money(line.cost_micro_usd)),
      );
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
            names.map((name, index) => h("th", { scope: "col", class: index ? "number" : "" }, name)),
          ),
        ),
        h(
          "tbody",
          {},
          (by.value === "day" ? [...lines].reverse() : lines).map((line) => row(line.group || "none", line, "th")),
        ),
        h("tfoot", {}, row("All", told.total, "th")),
      ),
    );
  }

  async function save() {
    try {
      const blob = await (await send(query({ format: "csv" })[0], { as: page[1] })).blob();
      const link = h("a", { href: URL.createObjectURL(blob), download: `hapax-usage-by-${by.value}.csv` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    } catch (error) {
      toast(error.message, true);
    }
  }

  return { element, show: load };
}
