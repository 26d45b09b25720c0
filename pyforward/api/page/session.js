// One WHIP or WHEP session over HTTP: the offer goes up, the answer comes back, DELETE ends it
// (RFC 9725 §4.2; draft-ietf-wish-whep). It knows nothing of media or of the page.

import { Backoff } from "./backoff.js";

const LONGEST_WAIT_S = 60;

// Answers that mean "not yet": no publisher, too many at once, and whatever a server or a proxy
// before it cannot do right now. A viewer also waits for a stream that does not exist so far, when
// the server says when to ask again.
const isNotYet = (status) => status === 409 || status === 429 || status >= 500;

/** The server said no, and asking again will not help. `message` is its own sentence. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * Why a join waits.
 *
 * @typedef {object} Waiting
 * @property {"unreachable" | "missing" | "no-publisher" | "full" | "busy"} reason
 * @property {string} sentence the server's own, or what stands for it
 * @property {number} waitS until the next attempt
 */

/**
 * Brings a peer connection to the server.
 *
 * @param {RTCPeerConnection} pc its transceivers are already there
 * @param {string} url of the endpoint
 * @param {object} options
 * @param {string} options.token a bearer token, or ""
 * @param {AbortSignal} options.signal gives up waiting
 * @param {(waiting: Waiting) => void} options.onWaiting told each time there is a wait
 * @param {boolean} options.waitWhenMissing whether 404 with Retry-After is a "not yet"
 * @returns {Promise<Session>}
 */
export async function join(pc, url, { token, signal, onWaiting, waitWhenMissing }) {
  await setStereoOffer(pc);
  const backoff = new Backoff();
  for (;;) {
    const response = await post(url, pc.localDescription.sdp, token, signal);
    if (response?.status === 201) return accepted(pc, response, token);
    const waiting = await whyToWait(response, waitWhenMissing, backoff);
    onWaiting(waiting);
    await pause(waiting.waitS, signal);
  }
}

async function accepted(pc, response, token) {
  const session = new Session(new URL(response.headers.get("Location"), response.url), token);
  try {
    await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  } catch (error) {
    session.end();
    throw error;
  }
  return session;
}

/** Throws Refused where waiting will not help. */
async function whyToWait(response, waitWhenMissing, backoff) {
  if (response === null) {
    const sentence = "The server does not answer.";
    return { reason: "unreachable", sentence, waitS: backoff.next() };
  }
  const { status } = response;
  const retryAfter = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  const problem = await problemOf(response);
  const mayCome = Number.isFinite(retryAfter);
  const missing = status === 404 && mayCome && waitWhenMissing;
  const inUse = status === 409 && !mayCome;
  if (inUse || (!missing && !isNotYet(status))) throw new Refused(problem.sentence, status);
  return {
    reason: reasonOf(status, problem.limit),
    sentence: problem.sentence,
    // The server spreads its own times; where it names none we do.
    waitS: mayCome ? Math.min(Math.max(retryAfter, 0.2), LONGEST_WAIT_S) : backoff.next(),
  };
}

function reasonOf(status, limit) {
  if (status === 404) return "missing";
  if (status === 409) return "no-publisher";
  if (status >= 500 && status !== 503) return "unreachable";
  return limit.endsWith(".viewers") ? "full" : "busy";
}

/** A session that the server has accepted. */
export class Session {
  constructor(url, token) {
    this.url = url;
    this.token = token;
    this.ended = false;
  }

  /** Ends it; works while the page is being closed, and only the first call does anything. */
  end() {
    if (this.ended) return;
    this.ended = true;
    fetch(this.url, {
      method: "DELETE",
      headers: authorization(this.token),
      keepalive: true,
    }).catch(() => {
      // The server is away, or has ended the session before us: either way it is over.
    });
  }
}

/** Opus in stereo must be asked for by each side (RFC 7587 §7.1). */
async function setStereoOffer(pc) {
  const offer = await pc.createOffer();
  try {
    await pc.setLocalDescription({ type: "offer", sdp: withStereo(offer.sdp) });
  } catch {
    // A browser that takes no altered offer sends and plays mono.
    await pc.setLocalDescription(offer);
  }
}

export function withStereo(sdp) {
  const opus = new Set(
    [...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000\/2\r?$/gim)].map((match) => match[1]),
  );
  return sdp.replace(/^(a=fmtp:(\d+) )([^\r\n]*)/gm, (line, head, type, parameters) =>
    opus.has(type) && !/(^|;)\s*stereo=/.test(parameters)
      ? `${head}${parameters};stereo=1;sprop-stereo=1`
      : line,
  );
}

/** The response, or null when there is none; a wish to stop is thrown on. */
async function post(url, sdp, token, signal) {
  try {
    return await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", ...authorization(token) },
      body: sdp,
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    return null;
  }
}

function authorization(token) {
  return token === "" ? {} : { Authorization: `Bearer ${token}` };
}

/** What a problem body (RFC 9457) says, or at least the status. */
async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  return {
    sentence: problem.detail || problem.title || `The server answered ${response.status}.`,
    limit: String(problem.limit ?? ""),
  };
}

export function pause(durationS, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, durationS * 1000);
    signal.addEventListener("abort", stop, { once: true });
  });
}

/** Resolves once an established connection is lost for good, or `signal` aborts. */
export function lost(pc, signal) {
  const patienceMs = 5000;
  return new Promise((resolve) => {
    let timer = null;
    const look = () => {
      clearTimeout(timer);
      const transports = pc
        .getTransceivers()
        .map((transceiver) => transportOf(transceiver)?.state);
      const state = pc.connectionState;
      // A farewell from the server closes DTLS; a network that went away disconnects ICE first.
      if (state === "failed" || state === "closed" || transports.includes("closed")) resolve();
      else if (state === "disconnected") timer = setTimeout(resolve, patienceMs);
    };
    pc.addEventListener("connectionstatechange", look);
    for (const transceiver of pc.getTransceivers()) {
      transportOf(transceiver)?.addEventListener("statechange", look);
    }
    signal.addEventListener("abort", () => resolve(), { once: true });
    look();
  });
}

function transportOf(transceiver) {
  return transceiver.receiver.transport ?? transceiver.sender.transport;
}
