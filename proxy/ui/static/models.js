// The choice of a model: one of the list, or any other name, since a name that stands in no list can be asked for too.

import { field, h, put } from "./dom.js";

const OTHER = ""; // the value of the entry for another name: no model is called so

/** A list with *label*, to be given names by `offer`; `name` gives the one that is chosen. */
export function modelChoice(label) {
  const other = h("input", {
    "aria-label": `${label}: its name`,
    placeholder: "name of the model",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 256,
  });
  const list = h("select", { onchange: () => (arrange(), other.hidden || other.focus()) });

  function arrange() {
    other.hidden = list.value !== OTHER;
  }

  function offer(names, chosen) {
    put(
      list,
      names.map((name, index) => h("option", { value: name, selected: index === chosen }, name)),
      h("option", { value: OTHER }, "another name …"),
    );
    arrange();
  }

  offer([], 0);
  return {
    element: h("div", { class: "model" }, field(label, list), other),
    offer,
    name: () => (list.value === OTHER ? other.value.trim() : list.value),
    focus: () => (other.hidden ? list : other).focus(),
  };
}
