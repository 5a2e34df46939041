// What the calls of the last minute amount to, second by second, however many there are.

import * as format from "./format.js";

const SPAN = 60; // seconds

/** Counts calls as they end. */
export class Rates {
  constructor() {
    this.seconds = []; // [second, calls, failed, first tokens]
  }

  add(call) {
    const second = Math.floor(Date.now() / 1000);
    if (this.seconds.at(-1)?.[0] !== second) this.seconds.push([second, 0, 0, []]);
    const at = this.seconds.at(-1);
    at[1] += 1;
    at[2] += call.outcome !== "ok" && call.outcome !== "refused";
    if (call.time_to_first_token_ms !== null) at[3].push(call.time_to_first_token_ms);
    if (this.seconds.length > SPAN) this.seconds.shift();
  }

  /** Each with its name, as people read it. */
  figures() {
    const since = Math.floor(Date.now() / 1000) - SPAN;
    this.seconds = this.seconds.filter(([second]) => second > since);
    const all = this.seconds.reduce((sum, [, calls]) => sum + calls, 0);
    const failed = this.seconds.reduce((sum, [, , bad]) => sum + bad, 0);
    const first = this.seconds.flatMap(([, , , times]) => times).sort((a, b) => a - b);
    return [
      ["Calls a minute", format.count(all)],
      ["Failed", format.share(failed, all)],
      ["First token, median", format.ms(format.quantile(first, 0.5))],
      ["First token, 95 %", format.ms(format.quantile(first, 0.95))],
    ];
  }
}
