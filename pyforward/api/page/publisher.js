// A WHIP publisher: sends one MediaStream under a name. It does not come back by itself: another
// publisher may have taken the name, and two that both return would take it from each other.

import { join, lost, Refused } from "./session.js";

export class Publisher extends EventTarget {
  constructor() {
    super();
    this.state = "idle";
    this.pc = null;
  }

  #stopping = null;
  #session = null;
  #media = null;

  /**
   * @param {string} stream the name
   * @param {MediaStream} media is stopped with the publisher
   * @param {object} options
   * @param {string} options.token a bearer token, or ""
   * @param {string} options.codec "VP8", "H264" or "" for any
   * @param {boolean} options.keepSize whether a short machine costs frames rather than picture size
   */
  async publish(stream, media, { token, codec, keepSize }) {
    this.stop();
    const stopping = new AbortController();
    this.#stopping = stopping;
    this.#media = media;
    const { signal } = stopping;
    try {
      const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
      this.pc = pc;
      for (const track of media.getTracks()) this.#add(pc, track, media, codec);
      this.#tell("connecting", "Connecting.");
      const session = await join(pc, `/whip/${encodeURIComponent(stream)}`, {
        token,
        signal,
        waitWhenMissing: false,
        onWaiting: ({ sentence, waitS }) =>
          this.#tell("waiting", `${sentence} Trying again in ${Math.ceil(waitS)} s.`),
      });
      if (signal.aborted) {
        session.end();
        return;
      }
      this.#session = session;
      await connected(pc, signal);
      if (signal.aborted) return;
      if (keepSize) await keepPictureSize(pc);
      this.#tell("publishing", `Publishing as “${stream}”.`);
      await lost(pc, signal);
      if (signal.aborted) return;
      this.#leave();
      this.#tell("ended", "The session ended: another publisher took the name, or the server left.");
    } catch (error) {
      if (signal.aborted) return;
      this.#leave();
      this.#tell("error", error.message, error instanceof Refused ? error.status : null);
    }
  }

  stop() {
    if (this.#stopping === null) return;
    this.#stopping.abort();
    this.#leave();
    this.#tell("idle", "Stopped.");
  }

  #add(pc, track, media, codec) {
    const transceiver = pc.addTransceiver(track, { direction: "sendonly", streams: [media] });
    if (track.kind !== "video" || codec === "") return;
    const { codecs } = RTCRtpSender.getCapabilities("video");
    const wanted = codecs.filter((one) => one.mimeType === `video/${codec}`);
    const repair = codecs.filter((one) => one.mimeType === "video/rtx");
    if (wanted.length === 0) throw new Error(`This browser cannot encode ${codec}.`);
    transceiver.setCodecPreferences([...wanted, ...repair]);
  }

  #leave() {
    this.#stopping = null;
    this.#session?.end();
    this.#session = null;
    this.pc?.close();
    this.pc = null;
    for (const track of this.#media?.getTracks() ?? []) track.stop();
    this.#media = null;
  }

  #tell(state, sentence, status = null) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, sentence, status } }));
  }
}

async function keepPictureSize(pc) {
  for (const sender of pc.getSenders()) {
    if (sender.track?.kind !== "video") continue;
    const parameters = sender.getParameters();
    parameters.degradationPreference = "maintain-resolution";
    await sender.setParameters(parameters).catch(() => {
      // A browser without this wish decides by itself.
    });
  }
}

function connected(pc, signal) {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (pc.connectionState === "connected" || signal.aborted) resolve();
      else if (pc.connectionState === "failed") {
        reject(new Error("No media path to the server; is its UDP port reachable from here?"));
      }
    };
    pc.addEventListener("connectionstatechange", look);
    signal.addEventListener("abort", look, { once: true });
    look();
  });
}
