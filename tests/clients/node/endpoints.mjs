// The endpoints beside chat, each called once.
import { createHash } from "node:crypto";
import { toFile } from "openai";
import { client, options, print } from "./client.mjs";

const model = options.model;
const embedding = await client.embeddings.create({ model, input: ["one", "two"] });
const completion = await client.completions.create({ model, prompt: "Once upon a time" });
const moderation = await client.moderations.create({ model, input: "a harmless sentence" });

const speech = await client.audio.speech.create({ model, voice: "alloy", input: "Hello." });
const audio = Buffer.from(await speech.arrayBuffer());

const upload = Buffer.alloc(options.upload_bytes, "0123456789abcdef\n");
const file = await client.files.create({ file: await toFile(upload, "lines.jsonl"), purpose: "batch" });

const models = [];
for await (const listed of client.models.list()) models.push(listed.id);
const retrieved = await client.models.retrieve(model);

print({
  embeddings: embedding.data.map((item) => item.embedding.length),
  completion: completion.choices[0].text,
  flagged: moderation.results.map((result) => result.flagged),
  speech: {
    type: speech.headers.get("content-type"),
    bytes: audio.length,
    sha256: createHash("sha256").update(audio).digest("hex"),
  },
  file: { id: file.id, bytes: file.bytes, filename: file.filename, purpose: file.purpose },
  models,
  retrieved: retrieved.id,
});
