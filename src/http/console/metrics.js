// Reads what `/metrics` says, in the text form of Prometheus.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

// Who watches over the process, and this page itself, are not what a server is there for. Watches have no end.
const ASIDE = new Set(["/metrics", "/livez", "/readyz", "/healthz", "/watch", "/openapi.json", "/docs", "/"]);

// Samples by name: `[{ labels, value }]`.
export const parse = (text) => {
  const found = new Map();
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : SAMPLE.exec(line);
    if (!match) continue;
    const labels = Object.fromEntries([...(match[2] || "").matchAll(LABEL)].map(([, name, value]) => [name, value]));
    const value = match[3] === "+Inf" ? Infinity : Number(match[3]);
    if (!found.has(match[1])) found.set(match[1], []);
    found.get(match[1]).push({ labels, value });
  }
  return found;
};

export const one = (samples, name) => samples.get(name)?.[0]?.value;

// How many requests were answered, and in which time: cumulative counts by bound.
export const requests = (samples) => {
  const bounds = new Map();
  let count = 0;
  for (const { labels, value } of samples.get("kvstore_http_requests_duration_seconds_bucket") || []) {
    if (ASIDE.has(labels.endpoint)) continue;
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    bounds.set(bound, (bounds.get(bound) || 0) + value);
  }
  for (const { labels, value } of samples.get("kvstore_http_requests_total") || []) if (!ASIDE.has(labels.endpoint)) count += value;
  return { count, bounds };
};

// The time within which a part of the requests between two scrapes was answered, in seconds; null where there were none.
export const quantile = (part, before, now) => {
  const bounds = [...now.bounds.keys()].sort((a, b) => a - b);
  const counts = bounds.map((bound) => now.bounds.get(bound) - (before.bounds.get(bound) || 0));
  const all = counts.at(-1);
  if (!(all > 0)) return null;
  const rank = part * all;
  const at = counts.findIndex((count) => count >= rank);
  const [low, below] = at ? [bounds[at - 1], counts[at - 1]] : [0, 0];
  if (bounds[at] === Infinity) return low;
  return low + (bounds[at] - low) * ((rank - below) / (counts[at] - below || 1));
};

// Where memory is, the largest part first.
export const memory = (samples) => {
  const parts = (samples.get("kvstore_index_bytes") || []).map(({ labels, value }) => ({ part: labels.part, bytes: value }));
  const all = one(samples, "kvstore_store_bytes") || 0;
  const changes = one(samples, "kvstore_changes_bytes") || 0;
  const index = parts.reduce((sum, { bytes }) => sum + bytes, 0);
  parts.push({ part: "values", bytes: Math.max(0, all - index - changes) }, { part: "changes", bytes: changes });
  return { all, most: one(samples, "kvstore_store_bytes_max"), parts: parts.filter(({ bytes }) => bytes > 0).sort((a, b) => b.bytes - a.bytes) };
};

// What keeps the data, as far as its metrics tell.
export const engine = (samples) => {
  if (samples.has("kvstore_engine_partitions_behind")) return "Valkey or Redis; this server holds the index";
  if (samples.has("kvstore_data_disk_bytes")) return "memory, kept in a data directory";
  return "memory; gone when the process ends";
};
