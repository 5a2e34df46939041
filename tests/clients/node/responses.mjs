// The Responses API, whole and as typed events.
import { client, options, print } from "./client.mjs";

const body = { model: options.model, input: "Tell me something." };
const whole = await client.responses.create(body);

const types = [];
let text = "";
let last;
for await (const event of await client.responses.create({ ...body, stream: true })) {
  types.push(event.type);
  if (event.type === "response.output_text.delta") text += event.delta;
  last = event;
}
print({ whole: whole.output_text, usage: whole.usage, types, text, completed: last.response?.output_text });
