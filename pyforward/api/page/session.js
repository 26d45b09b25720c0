// One WHIP or WHEP session over HTTP: the offer goes up, the answer comes back, DELETE ends it
// (RFC 9725 §4.2; draft-ietf-wish-whep). It knows nothing of media or of the page.

// A server that names no time is asked again after this long.
const USUAL_WAIT_S = 2;
const LONGEST_WAIT_S = 30;

// Answers that mean "not yet": no publisher, too many at once. A viewer also waits for a stream
// that does not exist so far, when the server says when to ask again.
const NOT_YET = new Set([409, 429, 503]);

/** The server said no, and asking again will not help. `message` is its own sentence. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * Brings a peer connection to the server.
 *
 * @param {RTCPeerConnection} pc its transceivers are already there
 * @param {string} url of the endpoint
 * @param {object} options
 * @param {string} options.token a bearer token, or ""
 * @param {AbortSignal} options.signal gives up waiting
 * @param {(sentence: string) => void} options.onWaiting told each time the server says "not yet"
 * @param {boolean} options.waitWhenMissing whether 404 with Retry-After is a "not yet"
 * @returns {Promise<Session>}
 */
export async function join(pc, url, { token, signal, onWaiting, waitWhenMissing }) {
  await setStereoOffer(pc);
  for (;;) {
    const response = await post(url, pc.localDescription.sdp, token, signal);
    if (response === null) {
      onWaiting("The server does not answer; trying again.");
      await pause(USUAL_WAIT_S, signal);
      continue;
    }
    if (response.status === 201) {
      const session = new Session(new URL(response.headers.get("Location"), response.url), token);
      try {
        await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
      } catch (error) {
        session.end();
        throw error;
      }
      return session;
    }
    const retryAfter = response.headers.get("Retry-After");
    const sentence = await explain(response);
    const missing = response.status === 404 && retryAfter !== null && waitWhenMissing;
    if (!missing && !NOT_YET.has(response.status)) throw new Refused(sentence, response.status);
    if (response.status === 409 && retryAfter === null) throw new Refused(sentence, 409);
    onWaiting(sentence);
    await pause(seconds(retryAfter), signal);
  }
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
async function explain(response) {
  const fallback = `The server answered ${response.status}.`;
  try {
    const problem = await response.json();
    return problem.detail || problem.title || fallback;
  } catch {
    return fallback;
  }
}

function seconds(retryAfter) {
  const named = Number.parseFloat(retryAfter ?? "");
  return Number.isFinite(named) ? Math.min(Math.max(named, 0.2), LONGEST_WAIT_S) : USUAL_WAIT_S;
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
