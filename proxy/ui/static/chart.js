// Charts as drawings: columns over time, a line in a small space. Every chart stands beside a table that says the same.

import { h, svg } from "./dom.js";

const WIDTH = 720;
const HEIGHT = 190;
const FOOT = 22;
const HEAD = 20;

/** Columns: *entries* are `{name, value, before}`; *show* writes a value; *label* says what is drawn. */
export function columns(entries, show, label) {
  const most = Math.max(...entries.map(({ value, before }) => Math.max(value, before ?? 0)), 1e-9);
  const step = WIDTH / entries.length;
  const height = (value) => (value / most) * (HEIGHT - FOOT - HEAD);
  const base = HEIGHT - FOOT;
  const every = Math.ceil(entries.length / 10);
  const wide = Math.min(step * 0.72, 56);
  return h("div", { class: "chart" },
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      svg("text", { x: 0, y: 12, class: "tick" }, show(most)),
      svg("line", { x1: 0, x2: WIDTH, y1: HEAD, y2: HEAD, class: "grid" }),
      svg("line", { x1: 0, x2: WIDTH, y1: base, y2: base, class: "base" }),
      entries.map(({ name, value, before }, index) => {
        const middle = step * (index + 0.5);
        return svg("g", {},
          svg("title", {}, `${name}: ${show(value)}${before === undefined ? "" : `, before: ${show(before)}`}`),
          svg("rect", { x: step * index, y: HEAD, width: step, height: base - HEAD, class: "hit" }),
          svg("rect", { x: middle - wide / 2, y: base - height(value), width: wide, height: height(value), rx: Math.min(3, height(value) / 2), class: "column" }),
          before !== undefined && svg("line", { x1: middle - wide / 2 - 2, x2: middle + wide / 2 + 2, y1: base - height(before), y2: base - height(before), class: "before" }),
          index % every === 0 && svg("text", { x: middle, y: HEIGHT - 6, class: "tick", "text-anchor": "middle" }, name.length > 12 ? `${name.slice(0, 11)}…` : name),
        );
      }),
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
      path += `${drawing ? "L" : "M"}${x(index).toFixed(1)} ${(height - 3 - (value / most) * (height - 8)).toFixed(1)}${drawing ? "" : "h.01"}`;
      drawing = true;
    }
  });
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "spark-line", role: "img", "aria-label": label },
    svg("title", {}, label),
    svg("line", { x1: 0, x2: width, y1: height - 1, y2: height - 1, class: "grid" }),
    (bad ?? []).map((value, index) => value > 0 && svg("rect", { x: x(index) - 1.25, y: height - 8, width: 2.5, height: 7, class: "fault" })),
    svg("path", { d: path, class: "line" }),
  );
}
