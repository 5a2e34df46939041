// The frame of the page: which view is shown, with which key, in which colours.

import { enter, forget, keyOf, look, rights } from "./api.js";
import { dialog, empty, field, h, put, say, toast } from "./dom.js";
import * as configuration from "./configuration.js";
import * as keys from "./keys.js";
import * as live from "./live.js";
import * as playground from "./playground.js";
import * as providers from "./providers.js";
import * as usage from "./usage.js";

// What each needs: `client`, `admin`, or `any` of them.
const VIEWS = {
  playground: { title: "Playground", needs: "client", view: playground },
  live: { title: "Live", needs: "admin", view: live },
  providers: { title: "Providers", needs: "admin", view: providers },
  keys: { title: "Keys", needs: "admin", view: keys },
  usage: { title: "Usage", needs: "any", view: usage },
  config: { title: "Configuration", needs: "admin", view: configuration },
};

const content = document.getElementById("content");
const navigation = document.getElementById("views");
let shown = null;
// Views stay as they were left, with what was written in them, until other keys are at hand.
const made = new Map();

function wanted() {
  const name = location.hash.replace(/^#\//, "").split("?")[0];
  return name in VIEWS ? name : "playground";
}

function show() {
  const name = wanted();
  const { title, needs, view } = VIEWS[name];
  shown?.hide?.();
  shown = null;
  document.title = `${title} · hapax`;
  for (const link of navigation.children) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  navigation.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  const allowed = needs === "any" ? rights.client || rights.admin : rights[needs];
  if (!allowed) {
    put(content, h("h1", { class: "unseen" }, title), locked(title, needs));
    return;
  }
  if (!made.has(name)) made.set(name, view.make());
  const { element, ...rest } = made.get(name);
  put(content, element);
  shown = rest;
  shown.show?.();
}

function locked(title, needs) {
  const button = h("button", { type: "button", class: "primary", onclick: askForKey }, "Enter a key");
  if (needs === "admin") {
    return empty(
      `${title} needs the admin key`,
      "It stands in the configuration as auth.admin_key, or in HAPAX_ADMIN_KEY where that is what the file names.",
      button,
    );
  }
  if (rights.admin && needs === "client") {
    return empty(
      "Calls need a client key",
      "The admin key makes no calls. Enter a client key beside it, or make one under Keys and use it here.",
      h("div", { class: "row centre" }, button, h("a", { class: "button", href: "#/keys" }, "Make a key")),
    );
  }
  return empty(
    "This gateway has keys",
    "Enter yours. A client key opens the playground and its own usage, the admin key the rest. It stays in this tab and is sent to this gateway only.",
    button,
    h("p", { class: "note" }, "None yet? ", h("code", {}, "hapax keys create NAME"), " makes one."),
  );
}

function askForKey() {
  const input = h("input", {
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    placeholder: "hpx_…",
  });
  const trouble = h("p", { class: "trouble", role: "alert" });
  const held = ["client", "admin"]
    .filter(keyOf)
    .map((kind) =>
      h(
        "li",
        {},
        h(
          "span",
          {},
          `${kind === "admin" ? "Admin" : "Client"} key `,
          h("code", {}, `${keyOf(kind).slice(0, 8)}…`),
          rights[kind] ? "" : " (refused)",
        ),
        h("button", { type: "button", onclick: async () => (await forget(kind), box.close(), changed()) }, "Forget"),
      ),
    );
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        trouble.textContent = "";
        try {
          const kinds = await enter(input.value.trim());
          if (!kinds.length) trouble.textContent = "The gateway knows no such key.";
          else {
            box.close();
            toast(kinds.includes("admin") ? "Admin key entered." : "Key entered.");
            changed();
          }
        } catch (error) {
          trouble.textContent = error.message;
        }
      },
    },
    field(
      "Key",
      input,
      "A client key, the admin key, or both, one after the other. Kept in this tab until it is closed.",
    ),
    trouble,
    h("div", { class: "row end" }, h("button", { class: "primary" }, "Use it")),
  );
  const box = dialog(
    "Keys of this tab",
    rights.open && h("p", {}, "This gateway asks for no key. Changes need the token that it printed at its start."),
    held.length > 0 && h("ul", { class: "held" }, held),
    form,
  );
  input.focus();
}

/** Other keys are at hand: everything is looked at anew. */
function changed() {
  shown?.hide?.();
  shown = null;
  for (const { end } of made.values()) end?.();
  made.clear();
  const what = rights.open ? "Open" : [rights.client && "Client", rights.admin && "Admin"].filter(Boolean).join(" + ");
  document.getElementById("key-text").textContent = what || "Enter a key";
  document.getElementById("key").dataset.state = what ? "in" : "out";
  document.getElementById("key").setAttribute("aria-label", `Key: ${what || "none"}. Change it`);
  show();
}

function theme() {
  const button = document.getElementById("theme");
  const dark = () =>
    (document.documentElement.dataset.theme ??
      (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const tell = () => {
    button.textContent = dark() ? "☀" : "☾";
    button.setAttribute("aria-label", dark() ? "Light colours" : "Dark colours");
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    localStorage.setItem("hapax-theme", document.documentElement.dataset.theme);
    tell();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
  tell();
}

put(
  navigation,
  Object.entries(VIEWS).map(([name, { title }]) => h("a", { href: `#/${name}`, "data-view": name }, title)),
);
theme();
document.getElementById("key").addEventListener("click", askForKey);
document.addEventListener("hapax-keys", changed);
addEventListener("hashchange", () => {
  show();
  content.focus({ preventScroll: true });
  scrollTo(0, 0);
  say(document.title);
});
put(content, h("p", { class: "empty" }, "Asking the gateway …"));
try {
  await look();
  changed();
} catch (error) {
  put(
    content,
    empty(
      "The gateway does not answer",
      error.message,
      h("button", { type: "button", onclick: () => location.reload() }, "Try again"),
    ),
  );
}
