// Server-sent events by fetch, because an EventSource cannot send a token, and a token in a URL
// ends up in logs. It comes back by itself, from where it was.

import { Backoff } from "./backoff.js";
import { pause } from "./session.js";

// Heartbeats come every 15 s; a connection that is silent for longer is dead.
const SILENT_MS = 40_000;

/** The server refuses this token, or asks for one. */
export class NotAllowed extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/**
 * Listens until `signal` aborts; throws NotAllowed.
 *
 * @param {string} url
 * @param {object} options
 * @param {string} options.token a bearer token, or ""
 * @param {AbortSignal} options.signal
 * @param {(event: object) => void} options.onEvent the parsed data
 * @param {(state: "live" | "waiting", sentence: string) => void} options.onState
 */
export async function listen(url, { token, signal, onEvent, onState }) {
  const backoff = new Backoff();
  let lastId = null;
  while (!signal.aborted) {
    let why = "The server closed the connection.";
    try {
      const response = await open(url, token, lastId, signal);
      onState("live", "Live.");
      backoff.reset();
      for await (const { id, data } of blocks(response.body, signal)) {
        if (id !== null) lastId = id;
        onEvent(JSON.parse(data));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof NotAllowed) throw error;
      why = error instanceof TypeError ? "The server does not answer." : error.message;
    }
    if (signal.aborted) return;
    const waitS = backoff.next();
    onState("waiting", `${why} Trying again in ${Math.ceil(waitS)} s.`);
    await pause(waitS, signal).catch(() => {});
  }
}

async function open(url, token, lastId, signal) {
  const headers = { Accept: "text/event-stream" };
  if (token !== "") headers.Authorization = `Bearer ${token}`;
  if (lastId !== null) headers["Last-Event-ID"] = lastId;
  const response = await fetch(url, { headers, signal, cache: "no-store" });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const sentence = problem.detail ?? `The server answered ${response.status}.`;
  if (response.status === 401 || response.status === 403) {
    throw new NotAllowed(sentence, response.status);
  }
  throw new Error(sentence);
}

/** The blocks of a stream that carry data (the HTML standard, §9.2.6, as far as it is used). */
export async function* blocks(body, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await inTime(reader.read(), signal);
      if (done) return;
      text += value;
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const fields = Object.fromEntries(part.split("\n").map(field));
        if (fields.data !== undefined) yield { id: fields.id ?? null, data: fields.data };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function field(line) {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
}

function inTime(promise, signal) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("The connection fell silent.")), SILENT_MS);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
