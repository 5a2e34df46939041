// What every scenario shares: its options, the client they describe, and how results and errors are printed.
import OpenAI from "openai";

export const options = JSON.parse(process.argv[2]);

export const client = new OpenAI({ baseURL: options.base_url, apiKey: options.api_key, maxRetries: 0 });

export const print = (result) => process.stdout.write(JSON.stringify(result) + "\n");

export const asError = (error) => ({
  class: error?.constructor?.name,
  status: error?.status,
  code: error?.code,
  type: error?.type,
  request_id: error?.requestID,
  message: error?.message,
});
