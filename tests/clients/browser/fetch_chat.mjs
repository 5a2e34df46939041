// Streams one chat with the browser's own fetch, and tells what a script may see of the answer.
export default async function ({ base_url, api_key, model, read_all = true }) {
  const response = await fetch(`${base_url}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${api_key}` },
    body: JSON.stringify({ model, stream: true, messages: [{ role: "user", content: "Tell me something." }] }),
  });
  const seen = {
    status: response.status,
    type: response.headers.get("content-type"),
    request_id: response.headers.get("x-request-id"),
    retry_after: response.headers.get("retry-after"),
  };
  if (!response.ok) return { ...seen, error: (await response.json()).error };

  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (value) text += value;
    if (done) break;
    if (!read_all && text.includes("\n\n")) {
      await reader.cancel();
      // The browser ends with the page, and has told the gateway by the time this is answered.
      await fetch(`${base_url}/models`, { headers: { authorization: `Bearer ${api_key}` } });
      break;
    }
  }
  return { ...seen, text };
}
