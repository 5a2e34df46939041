// A call as a program makes it: curl, Python and Node, with this gateway's address and a placeholder for the key.

import { ROOT } from "./api.js";
import { copy, dialog, h } from "./dom.js";

// JSON's texts are JavaScript's, but for a shell's quotes; Python needs other words for true, false and null.
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const python = (value) =>
  Array.isArray(value)
    ? `[${value.map(python).join(", ")}]`
    : value && typeof value === "object"
      ? `{${Object.entries(value)
          .map(([key, each]) => `${JSON.stringify(key)}: ${python(each)}`)
          .join(", ")}}`
      : value === true
        ? "True"
        : value === false
          ? "False"
          : JSON.stringify(value);

const SNIPPETS = {
  curl: (body) =>
    [
      `curl -N ${ROOT}/v1/chat/completions \\`,
      `  -H "Authorization: Bearer $HAPAX_KEY" \\`,
      `  -H "Content-Type: application/json" \\`,
      `  -d ${shell(JSON.stringify(body, null, 2))}`,
    ].join("\n"),
  Python: (body) =>
    [
      "import os",
      "",
      "from openai import OpenAI",
      "",
      `client = OpenAI(base_url="${ROOT}/v1", api_key=os.environ["HAPAX_KEY"])`,
      "stream = client.chat.completions.create(",
      ...Object.entries(body).map(([key, value]) => `    ${key}=${python(value)},`),
      ")",
      "for chunk in stream:",
      "    if chunk.choices:",
      '        print(chunk.choices[0].delta.content or "", end="", flush=True)',
    ].join("\n"),
  Node: (body) =>
    [
      'import OpenAI from "openai";',
      "",
      `const client = new OpenAI({ baseURL: "${ROOT}/v1", apiKey: process.env.HAPAX_KEY });`,
      `const stream = await client.chat.completions.create(${JSON.stringify(body, null, 2)});`,
      "for await (const chunk of stream) {",
      '  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");',
      "}",
    ].join("\n"),
};

/** Shows *body*, a chat's request, in three languages. */
export function showSnippets(body) {
  const text = h("code");
  const languages = Object.keys(SNIPPETS).map((name) =>
    h("button", { type: "button", onclick: () => choose(name) }, name),
  );
  const choose = (name) => {
    text.textContent = SNIPPETS[name](body);
    for (const each of languages) each.setAttribute("aria-pressed", String(each.textContent === name));
  };
  choose("curl");
  dialog(
    "The same call from a program",
    h("div", { class: "tabs", role: "group", "aria-label": "Language" }, languages),
    h("pre", { id: "snippet", tabindex: 0 }, text),
    h(
      "div",
      { class: "row end" },
      h("p", { class: "note" }, "Put a client key into HAPAX_KEY."),
      copy(() => text.textContent),
    ),
  );
}
