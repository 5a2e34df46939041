// Providers and their targets: what is thought of each now, by every worker, and how the last hour went.

import { get, rights, send } from "./api.js";
import { spark } from "./chart.js";
import { ask, badge, empty, h, put, toast } from "./dom.js";
import * as format from "./format.js";

const EVERY = 4000; // milliseconds between two looks
const SERIES = 30000;
const ACTIONS = [
  [
    "drain",
    "Drain",
    (name) =>
      `No new call goes to ${name}, at any worker, until it is enabled again. Calls under way end as they would.`,
  ],
  ["enable", "Enable"],
  ["reset", "Reset breakers"],
  ["ask", "Ask now"],
];
const done = (title, { probe }) =>
  probe
    ? probe.ok
      ? `It answered in ${format.ms(probe.seconds * 1000)}.`
      : `It does not answer: ${probe.problem}`
    : `${title}: done.`;
const WORST = ["open", "half_open", "half-open", "closed"];

export function make() {
  const list = h("div", { class: "cards wide-cards" });
  const state = h("p", { class: "note", role: "status" });
  const element = h("div", { class: "page" }, h("div", { class: "head" }, h("h1", {}, "Providers"), state), list);
  let series = null;
  let seriesAt = 0;
  let timer = 0;
  let drawn = "";

  async function look() {
    try {
      const told = await get("/admin/providers");
      if (rights.past && Date.now() - seriesAt > SERIES) {
        seriesAt = Date.now();
        const page = await get("/admin/series?by=provider&since=1h&step=2");
        series = new Map(page.series.map((each) => [each.name, each]));
      }
      state.textContent = told.workers ? `as ${told.workers.length} workers see them` : "";
      draw(together(told));
    } catch (error) {
      state.textContent = error.message;
    }
  }

  function draw(providers) {
    // A card that is made anew loses the focus: only when something is otherwise.
    const now = JSON.stringify([providers, seriesAt]);
    if (now === drawn) return;
    drawn = now;
    const focused = document.activeElement?.dataset?.action;
    const entries = Object.entries(providers);
    put(
      list,
      entries.length
        ? entries.map(([name, about]) => card(name, about))
        : empty(
            "There is no provider",
            "Name one under providers in hapax.yaml, or set a provider's key such as OPENAI_API_KEY, and start the gateway again.",
          ),
    );
    if (focused) list.querySelector(`[data-action="${CSS.escape(focused)}"]`)?.focus();
  }

  function card(name, about) {
    const known = series?.get(name);
    const targets = Object.entries(about.targets);
    return h(
      "article",
      { class: "card", "aria-label": `Provider ${name}` },
      h(
        "header",
        { class: "row" },
        h("h2", { class: "grow" }, name),
        about.drained && badge("drained", "warn"),
        badge(about.healthy ? "healthy" : "unhealthy", about.healthy ? "good" : "bad"),
      ),
      h(
        "dl",
        { class: "figures" },
        [
          ["Under way", format.count(about.in_flight)],
          ["Calls", format.count(about.request_count)],
          ["Failed attempts", format.count(about.failed_attempts)],
          [
            "Last probe",
            about.last_check ? `${format.ago(about.last_check)}, ${format.ms(about.latency_ms)}` : "none yet",
          ],
          about.consecutive_fails > 0 && ["Probes failed", `${about.consecutive_fails} in a row`],
          about.last_error && ["Last error", `${about.last_error.code}, ${format.ago(about.last_error.at)}`],
          about.parked_keys.length > 0 && ["Parked keys", badge(`no. ${about.parked_keys.join(", ")}`, "bad")],
        ]
          .filter(Boolean)
          .map(([title, value]) => h("div", {}, h("dt", {}, title), h("dd", {}, value))),
      ),
      known &&
        h(
          "div",
          { class: "sparks" },
          h(
            "figure",
            {},
            h("figcaption", {}, "Calls, and those that failed; last hour"),
            spark(
              known.calls,
              failures(known),
              `Calls of ${name} in the last hour: ${sum(known.calls)}, failed: ${sum(failures(known))}`,
            ),
          ),
          h(
            "figure",
            {},
            h("figcaption", {}, "First token, median"),
            spark(
              known.ttft_p50_ms,
              null,
              `Median time to first token of ${name}: ${format.ms(known.ttft_p50_ms.filter((each) => each !== null).at(-1))} last`,
            ),
          ),
        ),
      h(
        "div",
        { class: "wide", tabindex: 0 },
        targets.length
          ? h(
              "table",
              {},
              h(
                "thead",
                {},
                h(
                  "tr",
                  {},
                  ["Target", "Breaker", "Now", "Under way"].map((title, index) =>
                    h("th", { scope: "col", class: index === 3 ? "number" : "" }, title),
                  ),
                ),
              ),
              h(
                "tbody",
                {},
                targets.map(([target, its]) =>
                  h(
                    "tr",
                    {},
                    h(
                      "td",
                      {},
                      target.includes("/")
                        ? h("code", {}, target)
                        : h("span", { class: "note" }, "calls that name no model"),
                    ),
                    h(
                      "td",
                      {},
                      badge(
                        its.breaker.replace("_", "-"),
                        its.breaker === "closed" ? "good" : its.breaker === "open" ? "bad" : "warn",
                      ),
                    ),
                    h("td", {}, its.blocked_by || "available"),
                    h("td", { class: "number" }, format.count(its.in_flight)),
                  ),
                ),
              ),
            )
          : h("p", { class: "note" }, "No call has named a model of its yet."),
      ),
      rights.past &&
        h(
          "div",
          { class: "row end" },
          ACTIONS.filter(([action]) => action !== (about.drained ? "drain" : "enable")).map(
            ([action, title, question]) =>
              h(
                "button",
                {
                  type: "button",
                  "data-action": `${name} ${action}`,
                  "aria-label": `${title}: ${name}`,
                  onclick: () => act(name, action, title, question),
                },
                title,
              ),
          ),
        ),
    );
  }

  async function act(name, action, title, question) {
    if (question && !(await ask(`${title} ${name}?`, question(name), title))) return;
    try {
      const answer = await send(`/admin/providers/${encodeURIComponent(name)}/${action}`, { method: "POST" });
      toast(done(title, await answer.json()));
    } catch (error) {
      toast(error.message, true);
    }
    await look();
  }

  return {
    element,
    show() {
      look();
      timer = setInterval(() => document.hidden || look(), EVERY);
    },
    hide: () => clearInterval(timer),
  };
}

const sum = (values) => values.reduce((all, each) => all + each, 0);
const failures = ({ calls, errors }) => calls.map((_, at) => (errors.failed?.[at] ?? 0) + (errors.cut?.[at] ?? 0));

/** What several workers think, as one: sums of what is counted, the worst of what is thought. */
function together({ providers, workers }) {
  if (!workers) return providers;
  const whole = structuredClone(workers[0].providers);
  for (const { providers: theirs } of workers.slice(1)) {
    for (const [name, about] of Object.entries(whole)) {
      const other = theirs[name];
      if (!other) continue;
      for (const figure of ["in_flight", "request_count", "failed_attempts"]) about[figure] += other[figure];
      about.healthy &&= other.healthy;
      if (other.drained) about.drained = true;
      if (other.last_error && !(about.last_error?.at > other.last_error.at)) about.last_error = other.last_error;
      about.parked_keys = [...new Set([...about.parked_keys, ...other.parked_keys])].sort((a, b) => a - b);
      for (const [target, its] of Object.entries(other.targets)) {
        const known = (about.targets[target] ??= { ...its, in_flight: 0 });
        known.in_flight += its.in_flight;
        known.blocked_by ||= its.blocked_by;
        if (WORST.indexOf(its.breaker) < WORST.indexOf(known.breaker)) known.breaker = its.breaker;
      }
    }
  }
  return whole;
}
