// Markdown as models write it, made into elements one by one: whatever HTML stands in it stays text.
// Headings, paragraphs, code, lists, quotes, rules, tables, emphasis, links to http and https. Nothing else.

import { h } from "./dom.js";

const FENCE = /^\s{0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const ROW = /^\s*\|.*\|\s*$/;

/** The blocks of *text*: `{kind, raw, ...}`; of a text that grows, all but the last stay as they are. */
function blocks(text) {
  const lines = text.split("\n");
  const found = [];
  for (let at = 0; at < lines.length;) {
    const from = at;
    const line = lines[at];
    const fence = FENCE.exec(line);
    let block;
    if (!line.trim()) {
      at += 1;
      continue;
    } else if (fence) {
      at += 1;
      while (
        at < lines.length &&
        !(lines[at].trim().startsWith(fence[1]) && !lines[at].trim().replaceAll(fence[1][0], ""))
      )
        at += 1;
      block = { kind: "code", language: fence[2].trim(), text: lines.slice(from + 1, at).join("\n") };
      at += 1;
    } else if (/^#{1,6}\s/.test(line)) {
      at += 1;
      block = { kind: "heading", level: line.indexOf(" "), text: line.replace(/^#+\s+/, "").replace(/\s#+\s*$/, "") };
    } else if (/^\s{0,3}([-*_])(\s*\1){2,}\s*$/.test(line)) {
      at += 1;
      block = { kind: "rule" };
    } else if (/^\s{0,3}>/.test(line)) {
      while (at < lines.length && /^\s{0,3}>/.test(lines[at])) at += 1;
      block = {
        kind: "quote",
        text: lines
          .slice(from, at)
          .map((each) => each.replace(/^\s{0,3}> ?/, ""))
          .join("\n"),
      };
    } else if (ITEM.test(line)) {
      at += 1;
      while (
        at < lines.length &&
        (ITEM.test(lines[at]) ||
          /^\s{2,}\S/.test(lines[at]) ||
          (!lines[at].trim() && /^(\s{2,}\S|\s*([-*+]|\d{1,9}[.)])\s)/.test(lines[at + 1] ?? "")))
      )
        at += 1;
      block = { kind: "list", lines: lines.slice(from, at) };
    } else if (ROW.test(line) && /^\s*\|(\s*:?-+:?\s*\|)+\s*$/.test(lines[at + 1] ?? "")) {
      at += 2;
      while (at < lines.length && ROW.test(lines[at])) at += 1;
      block = { kind: "table", rows: [lines[from], ...lines.slice(from + 2, at)] };
    } else {
      at += 1;
      while (
        at < lines.length &&
        lines[at].trim() &&
        !FENCE.test(lines[at]) &&
        !ITEM.test(lines[at]) &&
        !/^(#{1,6}\s|\s{0,3}>)/.test(lines[at])
      )
        at += 1;
      block = { kind: "text", text: lines.slice(from, at).join("\n") };
    }
    found.push({ ...block, raw: lines.slice(from, at).join("\n") });
  }
  return found;
}

/** Shows *text* in *element*, and makes only those blocks anew that are others than before. */
export function show(element, text) {
  const now = blocks(text);
  const before = element.blocks ?? [];
  let same = 0;
  while (same < now.length && before[same]?.raw === now[same].raw) same += 1;
  while (element.childNodes.length > same) element.lastChild.remove();
  element.append(...now.slice(same).map((block) => made(block)));
  element.blocks = now;
}

const DEEPEST = 8;

function made(block, depth = 0) {
  if (depth > DEEPEST) return h("p", {}, block.raw);
  if (block.kind === "code") {
    return h("pre", { tabindex: 0, "data-language": block.language.slice(0, 20) || null }, h("code", {}, block.text));
  }
  // The page has a first and a second heading of its own.
  if (block.kind === "heading") return h(`h${Math.min(6, block.level + 2)}`, {}, inline(block.text));
  if (block.kind === "rule") return h("hr");
  if (block.kind === "quote")
    return h(
      "blockquote",
      {},
      blocks(block.text).map((each) => made(each, depth + 1)),
    );
  if (block.kind === "list") return list(block.lines, depth + 1);
  if (block.kind === "table") {
    const [head, ...rows] = block.rows.map((row) =>
      row
        .trim()
        .slice(1, -1)
        .split("|")
        .map((cell) => cell.trim()),
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
            head.map((cell) => h("th", {}, inline(cell))),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((row) =>
            h(
              "tr",
              {},
              row.map((cell) => h("td", {}, inline(cell))),
            ),
          ),
        ),
      ),
    );
  }
  return h("p", {}, inline(block.text));
}

function list(lines, depth) {
  const [, , mark] = ITEM.exec(lines[0]);
  const number = parseInt(mark, 10);
  const margin = ITEM.exec(lines[0])[1].length;
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length <= margin + 1) items.push({ text: item[3], below: [] });
    else items.at(-1).below.push(line);
  }
  return h(
    Number.isNaN(number) ? "ul" : "ol",
    { start: number > 1 ? number : null },
    items.map(({ text, below }) => {
      const step = Math.min(...below.filter((line) => line.trim()).map((line) => line.search(/\S/)));
      return h(
        "li",
        {},
        inline(text),
        below.length > 0 && blocks(below.map((line) => line.slice(step)).join("\n")).map((each) => made(each, depth)),
      );
    }),
  );
}

// Every repetition has a bound: a text made to be slow to read would hold up the page.
const INLINE = new RegExp(
  [
    "(?<tick>`+)(?<code>[^`](?:.{0,999}?[^`])?)\\k<tick>(?!`)",
    '\\[(?<label>[^\\[\\]\\n]{0,999})\\]\\((?<target>[^\\s()]{1,2000}(?:\\([^\\s()]{0,200}\\)[^\\s()]{0,200})?)(?:\\s{1,9}"[^"]{0,200}")?\\)',
    "(?<plain>https?:\\/\\/[^\\s<>\"'`)\\]]{0,2000}[^\\s<>\"'`)\\].,;:!?*_])",
    "\\*\\*(?<strong>\\S(?:.{0,999}?\\S)?)\\*\\*",
    "(?<![\\w*])\\*(?<em>[^\\s*](?:[^*]{0,999}?[^\\s*])?)\\*(?!\\*)",
    "(?<!\\w)_(?<under>[^\\s_](?:[^_]{0,999}?[^\\s_])?)_(?!\\w)",
    "~~(?<gone>\\S(?:.{0,999}?\\S)?)~~",
    "\\\\(?<literal>[\\\\`*_{}\\[\\]()#+\\-.!~|>])",
  ].join("|"),
  "s",
);

function inline(text) {
  const nodes = [];
  while (text) {
    const found = INLINE.exec(text);
    if (!found) break;
    nodes.push(text.slice(0, found.index));
    text = text.slice(found.index + found[0].length);
    const { code, label, target, plain, strong, em, under, gone, literal } = found.groups;
    if (code !== undefined) nodes.push(h("code", {}, code));
    else if (target !== undefined) nodes.push(link(target, label, found[0]));
    else if (plain !== undefined) nodes.push(link(plain, plain, plain));
    else if (strong !== undefined) nodes.push(h("strong", {}, inline(strong)));
    else if (em !== undefined || under !== undefined) nodes.push(h("em", {}, inline(em ?? under)));
    else if (gone !== undefined) nodes.push(h("del", {}, inline(gone)));
    else nodes.push(literal);
  }
  return [...nodes, text].filter((node) => node !== "");
}

/** A link to a page of the web; what leads anywhere else stays as it was written. */
function link(target, label, written) {
  let url;
  try {
    url = new URL(target);
  } catch {
    return written;
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return written;
  return h("a", { href: url.href, rel: "noopener noreferrer", target: "_blank" }, label || target);
}
