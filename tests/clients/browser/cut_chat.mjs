// Streams a chat that breaks off: what had come by then, and what the browser calls its end.
export default async function ({ base_url, api_key, model }) {
  const response = await fetch(`${base_url}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${api_key}` },
    body: JSON.stringify({ model, stream: true, messages: [{ role: "user", content: "Tell me something." }] }),
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (value) text += value;
      if (done) return { status: response.status, text, end: "whole" };
    }
  } catch (error) {
    return { status: response.status, text, end: error.name };
  }
}
