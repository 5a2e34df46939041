// Numbers, times and money as people read them. An em dash stands for what is not known.

export const NONE = "–";

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

export const count = (value) => (known(value) ? whole.format(value) : NONE);
export const compact = (value) => (known(value) ? (value < 10000 ? whole.format(value) : short.format(value)) : NONE);
export const one = (value) => (known(value) ? value.toFixed(1) : NONE);

/** Milliseconds: `840 ms`, `1.24 s`, `2 min 5 s`. */
export function ms(value) {
  if (!known(value)) return NONE;
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  if (value < 60000) return `${(value / 1000).toFixed(2)} s`;
  return `${Math.floor(value / 60000)} min ${Math.round((value % 60000) / 1000)} s`;
}

/** Micro-dollars. Small sums keep the digits that say something. */
export function money(micro) {
  if (!known(micro)) return NONE;
  const usd = micro / 1e6;
  if (usd === 0) return "$0";
  return `$${usd >= 1 ? usd.toFixed(2) : usd.toFixed(Math.min(6, 1 - Math.floor(Math.log10(usd))))}`;
}

export const share = (part, all) => (all ? `${((100 * part) / all).toFixed(part && part < all / 10 ? 1 : 0)} %` : NONE);

const two = (value) => String(value).padStart(2, "0");

/** A moment as the clock of who looks shows it: `14:02:31`. */
export function clock(moment) {
  const at = new Date(moment);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** `2026-11-30 14:02`. */
export function date(moment) {
  if (!moment) return NONE;
  const at = new Date(moment);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** How long ago: `12 s ago`, `3 h ago`. */
export function ago(moment) {
  if (!moment) return NONE;
  const seconds = Math.max(0, (Date.now() - new Date(moment)) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

/** The value below which *part* of the sorted *values* are. */
export function quantile(values, part) {
  return values.length ? values[Math.min(values.length - 1, Math.floor(values.length * part))] : null;
}
