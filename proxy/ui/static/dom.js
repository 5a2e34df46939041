// Elements made by calls. Text that came from elsewhere enters a page here, as text nodes and attributes only: there is
// no innerHTML in this page.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("p", {class: "note", onclick: f}, "text", child)`. False, null and undefined are left out. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for a drawing. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked" || key === "disabled") element[key] = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...flat(children));
  return element;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== false && child !== null && child !== undefined);
}

/** Puts *children* in the place of everything in *element*. */
export function put(element, ...children) {
  element.replaceChildren(...flat(children));
}

/** A sentence for screen readers. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** A short notice that goes away by itself. */
export function toast(text, bad = false) {
  const note = h("p", { class: bad ? "toast bad" : "toast" }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), bad ? 8000 : 3500);
}

/** A field with its label. */
export function field(label, control, hint) {
  return h("label", { class: "field" }, h("span", {}, label), control, hint && h("small", {}, hint));
}

export function select(options, attributes = {}, chosen) {
  return h(
    "select",
    attributes,
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
}

/** A dialog that is shown at once, takes the focus, and is gone from the page when it is closed. */
export function dialog(title, ...children) {
  const box = h(
    "dialog",
    { "aria-label": title },
    h(
      "header",
      {},
      h("h2", {}, title),
      h("button", { type: "button", class: "quiet icon", "aria-label": "Close", onclick: () => box.close() }, "✕"),
    ),
    ...children,
  );
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  return box;
}

/** Asks; what was answered. */
export function ask(title, text, action) {
  return new Promise((answer) => {
    let said = false;
    const box = dialog(
      title,
      h("p", {}, text),
      h(
        "div",
        { class: "row end" },
        h("button", { type: "button", onclick: () => box.close() }, "Cancel"),
        h("button", { type: "button", class: "danger", onclick: () => ((said = true), box.close()) }, action),
      ),
    );
    box.addEventListener("close", () => answer(said));
  });
}

/** A button that copies what *text* gives. */
export function copy(text, label = "Copy") {
  return h(
    "button",
    {
      type: "button",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(text());
          toast("Copied.");
        } catch {
          toast("The browser allows no copying here; select the text.", true);
        }
      },
    },
    label,
  );
}

/** What stands where there is nothing yet: what it is, and what to do next. */
export function empty(title, ...what) {
  return h(
    "div",
    { class: "empty" },
    h("h2", {}, title),
    ...what.map((each) => (each instanceof Node ? each : h("p", {}, each))),
  );
}

export const badge = (text, tone = "") => h("span", { class: `badge ${tone}` }, text);
