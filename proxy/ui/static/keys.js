// Keys of callers: what each may do and has spent. How one is made is in key_forms.js.

import { get, send } from "./api.js";
import { gauge } from "./chart.js";
import { ask, badge, empty, h, put, toast } from "./dom.js";
import * as format from "./format.js";
import { PERIODS, askForNew, askToRotate } from "./key_forms.js";

const TONES = { active: "good", rotating: "warn", expired: "", revoked: "" };

/** When the period of a budget began (docs/limits.md): in UTC, weeks from Monday. */
function began(per, now) {
  const [year, month, day, hour] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate(), now.getUTCHours()];
  if (per === "hour") return new Date(Date.UTC(year, month, day, hour));
  if (per === "week") return new Date(Date.UTC(year, month, day - ((now.getUTCDay() + 6) % 7)));
  return new Date(Date.UTC(year, month, per === "month" ? 1 : day));
}

export function make() {
  const list = h("div");
  const gone = h("input", { type: "checkbox", role: "switch", onchange: () => draw() });
  const element = h(
    "div",
    { class: "page" },
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Keys"),
      h("label", { class: "switch" }, gone, h("span", {}, "Revoked and expired")),
      h("button", { type: "button", class: "primary", onclick: () => askForNew(load) }, "New key"),
    ),
    list,
  );
  let keys = [];
  let spent = new Map();

  async function load() {
    try {
      keys = (await get("/admin/keys")).keys;
      spent = await read();
      draw();
    } catch (error) {
      put(
        list,
        error.code === "store_unavailable"
          ? empty("No keys can be kept", error.message)
          : empty("The keys cannot be shown", error.message),
      );
    }
  }

  /** What was used in the present period, by the periods that there are: by key, its line of the usage. */
  async function read() {
    const periods = new Set(keys.map(({ budget }) => budget?.per).filter(Boolean));
    const read = new Map();
    for (const per of periods) {
      const { lines } = await get(
        `/admin/usage?by=key&since=${encodeURIComponent(began(per, new Date()).toISOString())}`,
      );
      read.set(per, new Map(lines.map((line) => [line.group, line])));
    }
    return read;
  }

  function draw() {
    const shown = keys.filter(({ status }) => gone.checked || status === "active" || status === "rotating");
    if (!keys.length) {
      put(
        list,
        empty(
          "There is no key yet",
          "With the first one the gateway is closed to calls without. Set auth.admin_key before, or this page loses sight of it.",
          h("button", { type: "button", class: "primary", onclick: () => askForNew(load) }, "Make the first key"),
        ),
      );
      return;
    }
    put(
      list,
      !shown.length && empty("Every key is revoked or expired"),
      shown.length > 0 &&
        h(
          "div",
          { class: "cards" },
          shown.map((key) =>
            h(
              "article",
              { class: "card", "aria-label": `Key ${key.name}` },
              h("header", { class: "row" }, h("h2", { class: "grow" }, key.name), badge(key.status, TONES[key.status])),
              h(
                "dl",
                { class: "figures" },
                [
                  ["Team", key.team || format.NONE],
                  ["Models", key.models.filter((each) => each !== "*").join(", ") || "all"],
                  ["Limits", limits(key.limits)],
                  ["Last used", used(key.last_used)],
                  ["From", key.source === "file" ? "the configuration" : `the store, ${format.date(key.created)}`],
                  key.prefix && ["Begins with", h("code", {}, key.prefix)],
                  key.expires && ["Expires", format.date(key.expires)],
                  key.previous_expires &&
                    key.status === "rotating" && ["Old secret until", format.date(key.previous_expires)],
                ]
                  .filter(Boolean)
                  .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
              ),
              key.budget && budget(key),
              key.source === "store" &&
                key.status !== "revoked" &&
                h(
                  "div",
                  { class: "row end" },
                  h(
                    "button",
                    { type: "button", "aria-label": `Rotate ${key.name}`, onclick: () => askToRotate(key.name, load) },
                    "Rotate",
                  ),
                  h(
                    "button",
                    { type: "button", class: "danger", "aria-label": `Revoke ${key.name}`, onclick: () => revoke(key) },
                    "Revoke",
                  ),
                ),
            ),
          ),
        ),
    );
  }

  function limits({ requests_per_minute: requests, tokens_per_minute: tokens, concurrent }) {
    const told = [
      requests && `${format.count(requests)} calls/min`,
      tokens && `${format.compact(tokens)} tokens/min`,
      concurrent && `${concurrent} at once`,
    ];
    return told.filter(Boolean).join(", ") || "the default";
  }

  /** How long ago, and the moment for who wants it exactly. Without a call that the ledger holds there is none. */
  const used = (moment) =>
    moment ? h("time", { datetime: moment, title: moment }, format.ago(moment)) : "no call known";

  function budget({ name, budget }) {
    const line = spent.get(budget.per)?.get(name);
    const inMoney = budget.usd !== undefined;
    const used = inMoney ? (line?.cost_micro_usd ?? 0) : (line?.prompt_tokens ?? 0) + (line?.completion_tokens ?? 0);
    const all = inMoney ? budget.usd * 1e6 : budget.tokens;
    const show = inMoney ? format.money : (value) => `${format.compact(value)} tokens`;
    const text = `${show(used)} of ${show(all)} ${PERIODS.find(([per]) => per === budget.per)[1]}`;
    const tone = used >= all ? "bad" : used >= 0.8 * all ? "warn" : "";
    return h("div", { class: "budget" }, gauge(used, all, tone, `Budget of ${name}: ${text}`), h("small", {}, text));
  }

  async function revoke({ name }) {
    if (
      !(await ask(
        `Revoke ${name}?`,
        "Programs that use it are refused within a second, and it cannot be taken back.",
        "Revoke",
      ))
    )
      return;
    try {
      await send(`/admin/keys/${name}`, { method: "DELETE" });
      toast(`${name} is revoked.`);
    } catch (error) {
      toast(error.message, true);
    }
    await load();
  }

  return { element, show: load };
}
