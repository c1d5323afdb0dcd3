// The requests to the server. A refusal becomes an Error whose message is for people.

export class Refused extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

async function request(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not respond. Is `earsight serve` still running?");
  }
  const body = await reply.json().catch(() => null);
  if (reply.ok && body !== null) return body;
  throw new Refused(body?.error || `The server answered ${reply.status} without a reason.`, reply.status);
}

function withQuery(path, parameters) {
  const given = Object.entries(parameters).filter(
    ([, value]) => value !== null && value !== undefined && value !== "",
  );
  const query = new URLSearchParams(given).toString();
  return query ? `${path}?${query}` : path;
}

const post = (path) => request(path, { method: "POST" });

export const library = () => request("/api/library");
export const clip = (id) => request(`/api/clips/${id}`);
export const clips = (parameters, signal) =>
  request(withQuery("/api/clips", parameters), { signal });
export const search = (parameters, signal) =>
  request(withQuery("/api/search", parameters), { signal });
export const searchFile = (file, parameters, signal) => send("/api/search", file, parameters, signal);

function send(path, file, parameters, signal) {
  const body = new FormData();
  body.append("file", file, file.name);
  return request(withQuery(path, parameters), { method: "POST", body, signal });
}

/** How well each second of a clip fits: words or a clip in the parameters, or a file. */
export function timeline(id, parameters, file, signal) {
  const path = `/api/clips/${id}/timeline`;
  return file ? send(path, file, parameters, signal) : request(withQuery(path, parameters), { signal });
}
export const map = () => request("/api/map");
export const quality = () => request("/api/quality");
export const measure = () => post("/api/quality");
export const indexing = () => request("/api/index");
export const index = () => post("/api/index");
export const trouble = () => request("/api/trouble");
export const offset = (id, signal) => request(`/api/clips/${id}/offset`, { signal });
export const text = (id, parameters) => request(withQuery(`/api/clips/${id}/text`, parameters));
export const open = (id) => post(`/api/clips/${id}/open`);

export const mediaOf = (id) => `/api/clips/${id}/media`;
/** Why the server does not give a clip's file, or "" where it does. */
export async function refusalOf(id) {
  const reply = await fetch(mediaOf(id), { headers: { Range: "bytes=0-0" } }).catch(() => null);
  if (reply?.ok) return "";
  const body = await reply?.json().catch(() => null);
  return body?.error ?? "The server did not send the file.";
}
export const repairedOf = (id) => `/api/clips/${id}/repaired`;
export const thumbnailOf = (id, at) =>
  withQuery(`/api/clips/${id}/thumbnail`, { at: at ? at.toFixed(2) : "" });

const waves = new Map(); // id → promise of {peaks, seconds}; small, and asked for again and again
export function waveform(id) {
  if (!waves.has(id)) {
    const asked = request(`/api/clips/${id}/waveform`);
    waves.set(id, asked);
    asked.catch(() => waves.delete(id));
  }
  return waves.get(id);
}

/** After indexing, other clips may stand behind what was remembered. */
export const forget = () => waves.clear();
