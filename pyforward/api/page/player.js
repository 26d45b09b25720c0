// A WHEP player: watches one stream in a <video> until it is stopped, and comes back by itself
// when the stream or the server was away. While it waits it says why, and until when.

import { Backoff } from "./backoff.js";
import { join, lost, pause, Refused } from "./session.js";

// A still screen without sound sends little, but not so little.
const SILENT_AFTER_S = 3;

// A connection that shows no picture by then is given up, so that a path that is blocked is said.
const CONNECT_LIMIT_MS = 15_000;

const WHY = {
  unreachable: "The server does not answer.",
  missing: "There is no publisher yet.",
  "no-publisher": "There is no publisher yet.",
  full: "There are too many viewers.",
  busy: "The server is busy.",
  ended: "The stream has ended.",
  closed: "The connection was closed.",
  blocked: "No media comes from the server; a firewall may block UDP.",
};

export class Player extends EventTarget {
  /** @param {HTMLVideoElement} video */
  constructor(video) {
    super();
    this.video = video;
    this.state = "idle";
    /** Why it waits: a key of WHY, or "away" while the session lives and nothing comes. */
    this.reason = null;
    this.pc = null;
    this.stream = null;
  }

  #stopping = null;
  #session = null;
  #played = false;
  #playedBefore = false;
  #onPlaying = () => {
    this.#played = true;
    this.#playedBefore = true;
    this.#tell("playing", "Playing.");
  };

  /** Watches the stream; resolves when it is stopped or refused. */
  async play(stream, token) {
    this.stop();
    const stopping = new AbortController();
    this.#stopping = stopping;
    this.#playedBefore = false;
    this.stream = stream;
    const { signal } = stopping;
    const backoff = new Backoff();
    try {
      while (!signal.aborted) {
        await this.#once(stream, token, signal);
        if (signal.aborted) return;
        if (this.#played) backoff.reset();
        const reason = this.#played ? "closed" : "blocked";
        this.#leave();
        await this.#wait(reason, backoff.next(), signal);
      }
    } catch (error) {
      if (signal.aborted) return; // stop() has said so, or a newer play() has taken over
      this.#leave();
      const status = error instanceof Refused ? error.status : null;
      this.#tell("error", error.message, { status });
    }
  }

  stop() {
    if (this.#stopping === null) return;
    this.#stopping.abort();
    this.#stopping = null;
    this.#leave();
    this.stream = null;
    this.#tell("idle", "Stopped.");
  }

  async #once(stream, token, signal) {
    this.#leave();
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.pc = pc;
    for (const kind of ["video", "audio"]) pc.addTransceiver(kind, { direction: "recvonly" });
    this.#watchSilence(pc);
    if (!this.#playedBefore) this.#tell("connecting", "Connecting.");
    const session = await join(pc, `/whep/${encodeURIComponent(stream)}`, {
      token,
      signal,
      waitWhenMissing: true,
      onWaiting: ({ reason, waitS }) => this.#sayWait(this.#named(reason), waitS, signal),
    });
    if (signal.aborted) {
      session.end();
      pc.close();
      return;
    }
    this.#session = session;
    this.#start();
    await Promise.race([lost(pc, signal), this.#neverConnected(pc)]);
  }

  /** Who has seen the stream knows that it was there: it has ended. */
  #named(reason) {
    return reason === "missing" && this.#playedBefore ? "ended" : reason;
  }

  async #wait(reason, waitS, signal) {
    this.#sayWait(reason, waitS, signal);
    await pause(waitS, signal);
  }

  /** The sentence, with the seconds that are left, until something else is said. */
  async #sayWait(reason, waitS, signal) {
    const until = performance.now() + 1000 * waitS;
    const said = {};
    this.#saying = said;
    for (;;) {
      const leftS = Math.max(1, Math.ceil((until - performance.now()) / 1000));
      this.#tell("waiting", `${WHY[reason]} Trying again in ${leftS} s.`, { reason, said });
      try {
        await pause(Math.min(1, waitS), signal);
      } catch {
        return;
      }
      if (this.#saying !== said || performance.now() >= until) return;
    }
  }

  #saying = null;

  #neverConnected(pc) {
    return new Promise((resolve) => {
      setTimeout(() => {
        if (pc.connectionState !== "connected") resolve();
      }, CONNECT_LIMIT_MS);
    });
  }

  /** Says so while no packet comes: the publisher is away, the session still lives. Chromium does
   * not mute the tracks then, so the packets are counted. */
  async #watchSilence(pc) {
    let before = 0;
    let silentS = 0;
    while (this.pc === pc) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const packets = await packetsReceived(pc);
      if (this.pc !== pc) return;
      silentS = packets > before ? 0 : silentS + 1;
      before = packets;
      if (this.state === "playing" && silentS >= SILENT_AFTER_S) {
        const sentence = "Nothing arrives; the publisher is away. Waiting for it to come back.";
        this.#tell("waiting", sentence, { reason: "away" });
      } else if (this.state === "waiting" && this.#played && silentS === 0) {
        this.#tell("playing", "Playing.");
      }
    }
  }

  /** Sound needs a gesture in most browsers; without one the picture at least plays. */
  async #start() {
    this.video.addEventListener("playing", this.#onPlaying);
    // Not earlier: an element that waits for a stream would hold back the page's load event.
    const tracks = this.pc.getReceivers().map((receiver) => receiver.track);
    this.video.srcObject = new MediaStream(tracks);
    try {
      await this.video.play();
    } catch (error) {
      if (error.name !== "NotAllowedError") return;
      this.video.muted = true;
      this.video.play().catch(() => {});
    }
  }

  #leave() {
    this.#session?.end();
    this.#session = null;
    this.#played = false;
    this.pc?.close();
    this.pc = null;
    this.video.removeEventListener("playing", this.#onPlaying);
    this.video.srcObject = null;
  }

  #tell(state, sentence, { status = null, reason = null, said = null } = {}) {
    this.#saying = said;
    this.state = state;
    this.reason = reason;
    const detail = { state, sentence, status, reason };
    this.dispatchEvent(new CustomEvent("state", { detail }));
  }
}

async function packetsReceived(pc) {
  const rows = [...(await pc.getStats()).values()].filter((row) => row.type === "inbound-rtp");
  return rows.reduce((total, row) => total + row.packetsReceived, 0);
}
