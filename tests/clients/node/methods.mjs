// Calls every method of openai-node once with made-up ids, and once for each example that the package shows of it. The
// mock is told which call comes next; what it answers it has learned from the Python suite, or is {}.
import fs from "node:fs";
import path from "node:path";
import OpenAI, { toFile } from "openai";

const { base_url, control, only } = JSON.parse(process.argv[2]);
const RESOURCES = path.join(process.cwd(), "node_modules", "openai", "resources");
const MOST_PAGES = 20;
const client = new OpenAI({ baseURL: base_url, apiKey: "My API Key", adminAPIKey: "My Admin API Key", maxRetries: 0 });
const outcomes = {};
const lists = {};

const told = (test) => fetch(`${control}/__test`, { method: "POST", body: test });

async function attempt(test, run) {
  if (only && !test.includes(only)) return;
  await told(test);
  try {
    await run();
    outcomes[test] = "passed";
  } catch (error) {
    outcomes[test] = `failed: ${error?.constructor?.name} ${error?.status ?? ""} ${String(error?.message).slice(0, 120)}`;
  }
}

// A resource's methods that send a request themselves; helpers that poll or stream over others are left out.
function* methods(resource, name, seen = new Set()) {
  if (seen.has(resource)) return;
  seen.add(resource);
  for (const key of Object.getOwnPropertyNames(Object.getPrototypeOf(resource))) {
    const method = resource[key];
    if (key !== "constructor" && !key.startsWith("_") && typeof method === "function") {
      const source = method.toString();
      if (/this\._client\.(get|post|put|patch|delete|getAPIList)\(/.test(source)) yield [`${name}.${key}`, resource, key, source];
    }
  }
  for (const [key, below] of Object.entries(resource)) {
    if (key !== "_client" && below && typeof below === "object" && below._client === client) {
      yield* methods(below, `${name}.${key}`, seen);
    }
  }
}

function argumentsFor(source) {
  const names = source.slice(source.indexOf("(") + 1, source.indexOf(") {")).split(",").map((each) => each.trim().split(" ")[0]);
  return names
    .filter((name) => name && name !== "options")
    .map((name) => {
      if (!/^(body|params|query|\{)/.test(name)) return `${name}_1`;
      const taken = [...source.matchAll(/const \{([^}]*)\} = params/g)].flatMap((match) => match[1].split(","));
      const ids = taken.map((each) => each.trim().split(":")[0]).filter((each) => /_id$|_name$|^(name|version)$/.test(each));
      const made = Object.fromEntries(ids.map((each) => [each, `${each}_1`]));
      return name === "query" ? { limit: 2, ...made } : { model: "model", ...made };
    });
}

async function taken(result, test) {
  if (result?.[Symbol.asyncIterator] && typeof result.iterPages === "function") {
    let pages = 0;
    for await (const _ of result.iterPages()) if (++pages >= MOST_PAGES) break;
    lists[test] = pages;
  }
}

for (const [key, resource] of Object.entries(client)) {
  if (!resource || typeof resource !== "object" || resource._client !== client) continue;
  for (const [name, owner, method, source] of methods(resource, key)) {
    await attempt(name, async () => taken(await owner[method](...argumentsFor(source)), name));
  }
}

const AsyncFunction = (async () => {}).constructor;
const files = fs.readdirSync(RESOURCES, { recursive: true }).filter((file) => file.endsWith(".d.ts")).sort();
for (const file of files) {
  const text = fs.readFileSync(path.join(RESOURCES, file), "utf8");
  const examples = [...text.matchAll(/@example\s+\* ```(?:ts|typescript|js)\n([\s\S]*?)\* ```/g)];
  for (const [number, match] of examples.entries()) {
    const code = match[1]
      .replace(/^\s*\* ?/gm, "")
      .replace(/^import .*$/gm, "")
      .replace(/fs\.createReadStream\([^)]*\)/g, "await toFile(Buffer.from('{}'), 'sample.jsonl')");
    await attempt(`${file}: example ${number + 1}`, () => new AsyncFunction("client", "OpenAI", "toFile", "console", code)(client, OpenAI, toFile, { log() {} }));
  }
}
process.stdout.write(JSON.stringify({ outcomes, lists }));
