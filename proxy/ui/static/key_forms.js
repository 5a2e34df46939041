// Dialogs that make a key or give one a new secret, which is shown once and kept nowhere.

import { enter, send } from "./api.js";
import { copy, dialog, field, h, select, toast } from "./dom.js";

/** The periods of budgets, each with how a person says it. */
export const PERIODS = [
  ["hour", "an hour"],
  ["day", "a day"],
  ["week", "a week"],
  ["month", "a month"],
];

/** Asks for a new key, makes it, shows its secret, and calls *done*. */
export function askForNew(done) {
  const name = h("input", {
    required: true,
    maxlength: 64,
    pattern: "[A-Za-z0-9][A-Za-z0-9_.@+\\-]*",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "web-app",
  });
  const team = h("input", { maxlength: 64, autocomplete: "off" });
  const models = h("input", { autocomplete: "off", spellcheck: "false", placeholder: "all; or gpt-*, claude-*" });
  const number = () => h("input", { type: "number", min: 1, step: 1, placeholder: "default" });
  const [requests, tokens, concurrent] = [number(), number(), number()];
  const amount = h("input", { type: "number", min: 0, step: "any", placeholder: "none" });
  const unit = select([
    ["usd", "US dollars"],
    ["tokens", "tokens"],
  ]);
  const per = select(PERIODS, {}, "day");
  const expires = h("input", { autocomplete: "off", placeholder: "never; 90d or 2027-01-31" });
  const value = (input) => (input.value === "" ? undefined : input.valueAsNumber);
  form(
    "New key",
    "Make it",
    done,
    () => ({
      path: "/admin/keys",
      body: {
        name: name.value.trim(),
        ...(team.value.trim() && { team: team.value.trim() }),
        ...(models.value.trim() && {
          models: models.value
            .split(",")
            .map((each) => each.trim())
            .filter(Boolean),
        }),
        limits: {
          requests_per_minute: value(requests),
          tokens_per_minute: value(tokens),
          concurrent: value(concurrent),
        },
        ...(amount.value && { budget: { [unit.value]: amount.valueAsNumber, per: per.value } }),
        ...(expires.value.trim() && { expires: expires.value.trim() }),
      },
    }),
    h("div", { class: "pair" }, field("Name", name), field("Team", team)),
    field("Models", models),
    h(
      "div",
      { class: "pair" },
      field("Calls a minute", requests),
      field("Tokens a minute", tokens),
      field("Calls at once", concurrent),
    ),
    h("div", { class: "pair" }, field("Budget", amount), field("In", unit), field("For", per)),
    field("Expires", expires),
  );
  name.focus();
}

/** The same for a new secret of the key called *name*. */
export function askToRotate(name, done) {
  const overlap = select(
    [
      ["0s", "at once"],
      ["1h", "in an hour"],
      ["24h", "in a day"],
      ["168h", "in a week"],
    ],
    {},
    "24h",
  );
  form(
    `Rotate ${name}`,
    "Give it a new secret",
    done,
    () => ({ path: `/admin/keys/${name}/rotate`, body: { overlap: overlap.value } }),
    field("The old secret ends", overlap),
  );
}

function form(title, action, done, request, ...fields) {
  const trouble = h("p", { class: "trouble", role: "alert" });
  const button = h("button", { class: "primary" }, action);
  const box = dialog(
    title,
    h(
      "form",
      {
        onsubmit: async (event) => {
          event.preventDefault();
          button.disabled = true;
          trouble.textContent = "";
          try {
            const { path, body } = request();
            const made = await (await send(path, { method: "POST", body })).json();
            box.close();
            secret(made);
            done();
          } catch (error) {
            trouble.textContent = error.message;
          } finally {
            button.disabled = false;
          }
        },
      },
      ...fields,
      trouble,
      h("div", { class: "row end" }, button),
    ),
  );
}

function secret({ name, key }) {
  const use = h(
    "button",
    {
      type: "button",
      onclick: async () => {
        if (!(await enter(key)).length) return toast("The gateway does not know it yet; try again in a second.", true);
        box.close();
        document.dispatchEvent(new Event("hapax-keys"));
        toast("The playground uses it now.");
      },
    },
    "Use it in this tab",
  );
  const box = dialog(
    `The secret of ${name}`,
    h("p", {}, "It is shown this once: the gateway keeps a digest alone."),
    h("pre", { class: "secret", tabindex: 0 }, h("code", {}, key)),
    h(
      "div",
      { class: "row end" },
      use,
      copy(() => key),
    ),
  );
}
