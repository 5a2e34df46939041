// Charts as drawings: columns over time, bars, a gauge, a line in a small space. A table says the same, or a label.

import { h, svg } from "./dom.js";

const HEIGHT = 190;
const FOOT = 22;
const HEAD = 20;
const percent = (part) => `${(100 * part).toFixed(3)}%`;

/** Columns in the order of time: *entries* are `{name, value}`; *show* writes a value; *label* says what is drawn. */
export function columns(entries, show, label) {
  const most = Math.max(...entries.map(({ value }) => value), 1e-9);
  const step = 1 / entries.length;
  const wide = Math.min(step * 0.72, 0.05);
  const height = (value) => (value / most) * (HEIGHT - FOOT - HEAD);
  const base = HEIGHT - FOOT;
  const every = Math.ceil(entries.length / (innerWidth < 700 ? 4 : 10));
  // Places across are parts of the width, so that letters keep their size however wide the page is.
  return h(
    "div",
    { class: "chart" },
    svg(
      "svg",
      { height: HEIGHT, role: "img", "aria-label": label },
      svg("text", { x: 0, y: 12, class: "tick" }, show(most)),
      svg("line", { x1: 0, x2: "100%", y1: HEAD, y2: HEAD, class: "grid" }),
      entries.map(({ name, value }, index) =>
        svg(
          "g",
          {},
          svg("title", {}, `${name}: ${show(value)}`),
          svg("rect", { x: percent(step * index), y: HEAD, width: percent(step), height: base - HEAD, class: "hit" }),
          svg("rect", {
            x: percent(step * (index + 0.5) - wide / 2),
            y: base - height(value),
            width: percent(wide),
            height: height(value),
            rx: Math.min(3, height(value) / 2),
            class: "column",
          }),
          index % every === 0 &&
            svg(
              "text",
              {
                x: index ? percent(step * (index + 0.5)) : 0,
                y: HEIGHT - 6,
                class: "tick",
                "text-anchor": index ? "middle" : "start",
              },
              name,
            ),
        ),
      ),
      svg("line", { x1: 0, x2: "100%", y1: base, y2: base, class: "base" }),
    ),
  );
}

/** Bars below each other, the largest first: *entries* are `{name, value, before}`, *before* marked by a line. */
export function bars(entries, show, label) {
  const most = Math.max(...entries.map(({ value, before }) => Math.max(value, before)), 1e-9);
  return h(
    "div",
    { class: "chart bars", role: "img", "aria-label": label },
    entries.map(({ name, value, before }) => [
      h("span", { class: "name", title: name }, name),
      svg(
        "svg",
        { height: 18 },
        svg("title", {}, `${name}: ${show(value)}, before: ${show(before)}`),
        svg("rect", { y: 2, width: percent(value / most), height: 14, rx: 3, class: "column" }),
        before > 0 &&
          svg("line", { x1: percent(before / most), x2: percent(before / most), y1: 0, y2: 18, class: "before" }),
      ),
      h("span", { class: "number" }, show(value)),
    ]),
  );
}

/** How much of *all* is used; *tone*: `warn` and `bad` for much and all of it. */
export function gauge(used, all, tone, label) {
  return h(
    "div",
    {
      class: `gauge ${tone}`,
      role: "meter",
      "aria-valuemin": 0,
      "aria-valuemax": all,
      "aria-valuenow": Math.min(used, all),
      "aria-valuetext": label,
      "aria-label": label,
    },
    svg(
      "svg",
      { height: 8, "aria-hidden": "true" },
      svg("rect", { width: percent(Math.min(1, used / all)), height: 8, rx: 4 }),
    ),
  );
}

/** A line of *values* in a small space; null where nothing is known. *bad*: the same length, marked where it is not 0. */
export function spark(values, bad, label) {
  const [width, height] = [180, 36];
  const most = Math.max(...values.map((value) => value ?? 0), 1e-9);
  const x = (index) => (values.length < 2 ? width : (index / (values.length - 1)) * width);
  let path = "";
  let drawing = false;
  values.forEach((value, index) => {
    if (value === null || value === undefined) drawing = false;
    else {
      path += `${drawing ? "L" : "M"}${x(index).toFixed(1)} ${(height - 3 - (value / most) * (height - 8)).toFixed(1)}${drawing ? "" : "h1"}`;
      drawing = true;
    }
  });
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      class: "spark-line",
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
    },
    svg("title", {}, label),
    svg("line", { x1: 0, x2: width, y1: height - 1, y2: height - 1, class: "grid" }),
    (bad ?? []).map(
      (value, index) =>
        value > 0 && svg("rect", { x: x(index) - 1.25, y: height - 8, width: 2.5, height: 7, class: "fault" }),
    ),
    svg("path", { d: path, class: "line" }),
  );
}
