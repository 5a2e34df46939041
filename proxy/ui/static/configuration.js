// The configuration that is in force: each value, where it came from, and what became of the last reload.

import { getIfThere, rights, send } from "./api.js";
import { badge, empty, field, h, put, toast } from "./dom.js";
import * as format from "./format.js";

export function make() {
  const words = h("input", { type: "search", placeholder: "a path or a value …", oninput: draw });
  const changed = h("input", { type: "checkbox", role: "switch", onchange: draw, checked: true });
  const about = h("div", { class: "stack" });
  const list = h("div");
  const again = h("button", { type: "button", hidden: true, onclick: reload }, "Read it again");
  const element = h(
    "div",
    { class: "page" },
    h("div", { class: "head" }, h("h1", {}, "Configuration"), again),
    about,
    h(
      "div",
      { class: "row bar" },
      field("Find", words),
      h("label", { class: "switch" }, changed, h("span", {}, "Only what was set")),
    ),
    list,
  );
  const bar = element.querySelector(".bar");
  let told = null;

  async function load() {
    try {
      told = await getIfThere("/admin/config");
    } catch (error) {
      bar.hidden = true;
      put(about, empty("The configuration cannot be shown", error.message));
      return;
    }
    bar.hidden = !told;
    again.hidden = !told;
    if (!told) {
      put(
        about,
        empty(
          "This gateway does not tell its configuration here",
          h(
            "p",
            {},
            "On its machine, ",
            h("code", {}, "hapax check"),
            " reads the file and says what is wrong with it.",
          ),
        ),
      );
      return;
    }
    draw();
  }

  function draw() {
    if (!told) return;
    const last = told.last_reload;
    put(
      about,
      h(
        "dl",
        { class: "tiles" },
        [
          ["Read from", told.source],
          ["In force since", format.date(told.since)],
          [
            "Last reload",
            last
              ? [
                  badge(last.outcome, last.outcome === "refused" ? "bad" : "good"),
                  last.at ? ` ${format.ago(last.at)}` : "",
                ]
              : "none yet",
          ],
        ].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      ),
      problems("The last reload was refused", last?.problems, "bad"),
      problems("Waits for a restart", told.needs_restart, "warn"),
      problems("Warnings", told.warnings, "warn"),
    );
    const wanted = words.value.trim().toLowerCase();
    const rows = Object.entries(told.values).filter(
      ([path, { value, source }]) =>
        (!changed.checked || source !== "default") &&
        (!wanted || `${path} ${text(value)}`.toLowerCase().includes(wanted)),
    );
    put(
      list,
      rows.length
        ? h(
            "div",
            { class: "wide", tabindex: 0 },
            h(
              "table",
              { class: "values" },
              h(
                "thead",
                {},
                h(
                  "tr",
                  {},
                  ["Setting", "Value", "From"].map((name) => h("th", { scope: "col" }, name)),
                ),
              ),
              h(
                "tbody",
                {},
                rows.map(([path, { value, source }]) =>
                  h(
                    "tr",
                    {},
                    h("th", { scope: "row" }, h("code", {}, path)),
                    h("td", {}, h("code", {}, text(value))),
                    h("td", { class: "note" }, source),
                  ),
                ),
              ),
            ),
          )
        : empty(
            wanted ? "No setting fits" : "Nothing was set: all are the defaults",
            changed.checked && "Switch “Only what was set” off to see every setting.",
          ),
    );
  }

  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));

  function problems(title, all, tone) {
    if (!all?.length) return null;
    return h(
      "section",
      { class: `notice ${tone}` },
      h("h2", {}, title),
      h(
        "ul",
        {},
        all.map((each) => h("li", {}, text(each))),
      ),
    );
  }

  async function reload() {
    try {
      const done = await (await send("/admin/reload", { method: "POST" })).json();
      toast(done.outcome === "applied" ? "It is in force." : `Reload: ${done.outcome}.`);
    } catch (error) {
      toast(error.message, true);
    }
    if (rights.admin) await load();
  }

  return { element, show: load };
}
