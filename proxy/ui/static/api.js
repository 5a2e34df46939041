// The HTTP API of the gateway this page came from, asked as any client asks it: with the keys that were entered here.
// Keys live in the tab's session storage and leave the browser in the header of a call to this gateway only.

export const ROOT = new URL("..", import.meta.url).href.replace(/\/$/, "");
const STORE = { client: "hapax-client-key", admin: "hapax-admin-key" };

/**
 * What the keys at hand open. `client` and `admin`: whether calls and operators' pages; `open`: it needs no key; `past`:
 * it tells of calls that have ended before, and of the last hours.
 */
export const rights = { client: false, admin: false, open: false, past: false };

export const keyOf = (kind) => sessionStorage.getItem(STORE[kind]) ?? "";

/** An answer that is an error, in the gateway's words. */
class ApiError extends Error {
  constructor(status, error = {}) {
    super(error.message ?? `The gateway answered with status ${status}.`);
    this.status = status;
    this.code = error.code ?? "";
    this.requestId = error.request_id ?? "";
    this.details = error.details ?? {};
  }
}

/** The answer to a request, which is no error. *as*: with which key, `client` or `admin`. */
export async function send(path, { method = "GET", as = "admin", body, signal, headers = {}, key = keyOf(as) } = {}) {
  if (key) headers = { ...headers, Authorization: `Bearer ${key}` };
  if (body !== undefined) headers = { ...headers, "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(ROOT + path, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { message: "The gateway cannot be reached." });
  }
  if (!answer.ok) {
    let told = {};
    try {
      told = (await answer.json()).error ?? {};
    } catch {
      // No object of ours: the status has to do.
    }
    throw new ApiError(answer.status, told);
  }
  return answer;
}

export const get = async (path, options) => (await send(path, options)).json();

/** The same, and undefined where this gateway has no such page. */
export async function getIfThere(path, options) {
  try {
    return await get(path, options);
  } catch (error) {
    if (error.status === 404) return undefined;
    throw error;
  }
}

/** The answer where *key* opens *path*, else null. */
const opens = async (path, key) => {
  try {
    return await get(path, { key });
  } catch (error) {
    // A key may be for some routes alone, and this one not among them.
    if (error.code === "route_not_allowed") return {};
    if (error.status !== 401 && error.status !== 403) throw error;
    return null;
  }
};

/** Finds out what the keys at hand open, and that they still do. */
export async function look() {
  const [client, admin] = [keyOf("client"), keyOf("admin")];
  // With a key at hand it is not asked whether there need be none: wrong keys and none are counted against an address.
  rights.client = (await opens("/v1/models", client)) !== null;
  const told = await opens("/admin/providers", admin);
  rights.admin = told !== null;
  // Gateways learned all of this at once; what is not there would be logged as a path that was misspelled.
  rights.past = Object.values(told?.providers ?? {}).some((each) => "drained" in each);
  rights.open = rights.client && rights.admin && !client && !admin;
  return rights;
}

/** Keeps *key* for what it opens; the kinds it opens. */
export async function enter(key) {
  const kinds = [];
  // Where no key is needed every key opens operators' pages; the one that changes them is told by how it begins.
  const counts = !rights.open || key.startsWith("hpx_terminal_");
  if (counts && (await opens("/admin/providers", key))) kinds.push("admin");
  else if (await opens("/v1/models", key)) kinds.push("client");
  for (const kind of kinds) sessionStorage.setItem(STORE[kind], key);
  if (kinds.length) await look();
  return kinds;
}

export async function forget(kind) {
  sessionStorage.removeItem(STORE[kind]);
  await look();
}

/** Every event of an event stream, as `{id, event, data}` (WHATWG HTML, section 9.2). */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = { event: "message", data: [] };
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event.data.length) yield { ...event, data: event.data.join("\n") };
          event = { event: "message", data: [] };
        } else if (!line.startsWith(":")) {
          const colon = line.indexOf(":");
          const name = colon < 0 ? line : line.slice(0, colon);
          const text = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
          if (name === "data") event.data.push(text);
          else if (name === "event" || name === "id") event[name] = text;
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
