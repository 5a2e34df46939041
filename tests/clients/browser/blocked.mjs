// A call the gateway does not allow from this origin: the browser must not show the script anything of it.
export default async function ({ base_url, api_key, model }) {
  try {
    const response = await fetch(`${base_url}/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${api_key}` },
      body: JSON.stringify({ model, messages: [{ role: "user", content: "Tell me something." }] }),
    });
    return { blocked: false, status: response.status };
  } catch (error) {
    return { blocked: error instanceof TypeError, message: error.message };
  }
}
