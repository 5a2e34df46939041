// The openai SDK in a page: a chat whole and streamed, and what it makes of a wrong key.
import OpenAI from "openai";

export default async function ({ base_url, api_key, model }) {
  const connect = (apiKey) => new OpenAI({ baseURL: base_url, apiKey, maxRetries: 0, dangerouslyAllowBrowser: true });
  const body = { model, messages: [{ role: "user", content: "Tell me something." }] };

  const client = connect(api_key);
  const { data: whole, request_id } = await client.chat.completions.create(body).withResponse();
  let streamed = "";
  for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) {
    streamed += chunk.choices[0]?.delta?.content ?? "";
  }
  const models = [];
  for await (const listed of client.models.list()) models.push(listed.id);

  let refused = null;
  try {
    await connect("sk-wrong").chat.completions.create(body);
  } catch (error) {
    refused = { class: error.constructor.name, status: error.status, code: error.code, request_id: error.requestID };
  }
  return { whole: whole.choices[0].message.content, request_id, streamed, models, refused };
}
