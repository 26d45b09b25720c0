// A WHEP player: watches one stream in a <video> until it is stopped, and comes back by itself
// when the stream or the server was away.

import { join, lost, pause, Refused } from "./session.js";

const REJOIN_AFTER_S = 1;

// A still screen without sound sends little, but not so little.
const SILENT_AFTER_S = 3;

export class Player extends EventTarget {
  /** @param {HTMLVideoElement} video */
  constructor(video) {
    super();
    this.video = video;
    this.state = "idle";
    this.pc = null;
    this.stream = null;
  }

  #stopping = null;
  #session = null;
  #played = false;
  #onPlaying = () => {
    this.#played = true;
    this.#tell("playing", "Playing.");
  };

  /** Watches the stream; resolves when it is stopped or refused. */
  async play(stream, token) {
    this.stop();
    const stopping = new AbortController();
    this.#stopping = stopping;
    this.stream = stream;
    const { signal } = stopping;
    try {
      while (!signal.aborted) {
        await this.#once(stream, token, signal);
        if (signal.aborted) return;
        this.#tell("waiting", "The stream stopped; joining again.");
        await pause(REJOIN_AFTER_S, signal);
      }
    } catch (error) {
      if (signal.aborted) return; // stop() has said so, or a newer play() has taken over
      this.#leave();
      this.#tell("error", error.message, error instanceof Refused ? error.status : null);
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
    this.#tell("connecting", "Connecting.");
    const session = await join(pc, `/whep/${encodeURIComponent(stream)}`, {
      token,
      signal,
      waitWhenMissing: true,
      onWaiting: (sentence) => this.#tell("waiting", sentence),
    });
    if (signal.aborted) {
      session.end();
      pc.close();
      return;
    }
    this.#session = session;
    this.#start();
    await lost(pc, signal);
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
        this.#tell("waiting", "Nothing arrives; the publisher is away.");
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

  #tell(state, sentence, status = null) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, sentence, status } }));
  }
}

async function packetsReceived(pc) {
  const rows = [...(await pc.getStats()).values()].filter((row) => row.type === "inbound-rtp");
  return rows.reduce((total, row) => total + row.packetsReceived, 0);
}
