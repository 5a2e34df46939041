// A tool call, whole and assembled from its streamed deltas by the SDK itself.
import { client, options, print } from "./client.mjs";

const body = {
  model: options.model,
  messages: [{ role: "user", content: "What is the weather in Paris?" }],
  tools: [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "The weather of a city",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
      },
    },
  ],
};
const whole = await client.chat.completions.create({ ...body, ...options.body });
const streamed = await client.chat.completions.stream({ ...body, ...options.body }).finalChatCompletion();
print({ whole: whole.choices[0], streamed: streamed.choices[0] });
