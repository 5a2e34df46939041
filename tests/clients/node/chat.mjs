// One chat, whole and streamed; `body` is laid over both requests.
import { client, options, print } from "./client.mjs";

const body = { model: options.model, messages: [{ role: "user", content: "Tell me something." }], ...options.body };
const { data: whole, request_id } = await client.chat.completions.create(body).withResponse();

const chunks = [];
for await (const chunk of await client.chat.completions.create({
  ...body,
  stream: true,
  stream_options: { include_usage: true },
})) {
  chunks.push(chunk);
}
print({ whole, request_id, chunks });
