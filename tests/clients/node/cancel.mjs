// Reads a few chunks of a stream and aborts it, then stays alive until the upstream has seen the end of the call: what
// ends it must be the abort, not the end of this process.
import { client, options, print } from "./client.mjs";

const stream = await client.chat.completions.create({
  model: options.model,
  messages: [{ role: "user", content: "Talk for a long time." }],
  stream: true,
});
let chunks = 0;
for await (const _ of stream) {
  if (++chunks === options.leave_after) stream.controller.abort();
}

const seen = async () => (await (await fetch(options.ledger_url)).json()).at(-1).ending;
let ending = null;
while (ending === null) {
  ending = await seen();
  await new Promise((resolve) => setTimeout(resolve, 10));
}
print({ chunks, ending });
