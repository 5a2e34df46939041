// Calls that must fail, each with the class and the facts of the error the SDK made of it. `calls` maps a name to the
// body of a chat; a body may say `stream: true`.
import { asError, client, options, print } from "./client.mjs";

const results = {};
for (const [name, body] of Object.entries(options.calls)) {
  let pieces = 0;
  try {
    const answer = await client.chat.completions.create({ messages: [{ role: "user", content: "Hi." }], ...body });
    if (body.stream) for await (const chunk of answer) pieces += chunk.choices?.[0]?.delta?.content ? 1 : 0;
    results[name] = { class: "no error", pieces };
  } catch (error) {
    results[name] = { ...asError(error), pieces };
  }
}
print(results);
