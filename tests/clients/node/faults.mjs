// As errors.mjs, all calls at the same time: each must fail in its own way whatever the others do.
import { asError, client, options, print } from "./client.mjs";

const call = async (body) => {
  let pieces = 0;
  try {
    const answer = await client.chat.completions.create({ messages: [{ role: "user", content: "Hi." }], ...body });
    if (body.stream) for await (const chunk of answer) pieces += chunk.choices?.[0]?.delta?.content ? 1 : 0;
    return { class: "no error", pieces };
  } catch (error) {
    return { ...asError(error), pieces };
  }
};
const calls = Object.entries(options.calls);
const results = await Promise.all(calls.map(([, body]) => call(body)));
print(Object.fromEntries(calls.map(([name], index) => [name, results[index]])));
