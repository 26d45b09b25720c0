// Figures of a peer connection, once a second, from getStats() (W3C webrtc-stats).

/** What one second told; undefined where the browser does not say. */
export class Meter {
  /** @param {"receive"|"send"} direction */
  constructor(direction) {
    this.direction = direction;
  }

  #before = null;

  async read(pc) {
    const report = await pc.getStats();
    const all = [...report.values()];
    const rtp = all.filter((one) => one.type === (this.#receives ? "inbound-rtp" : "outbound-rtp"));
    const video = rtp.find((one) => one.kind === "video");
    const transport = all.find((one) => one.type === "transport");
    const pair = transport && report.get(transport.selectedCandidatePairId);
    const now = {
      at: performance.now(),
      bytes: sum(rtp, this.#receives ? "bytesReceived" : "bytesSent"),
      packets: sum(rtp, "packetsReceived"),
      lost: sum(rtp, "packetsLost"),
    };
    const before = this.#before;
    this.#before = now;
    return {
      width: video?.frameWidth,
      height: video?.frameHeight,
      fps: video?.framesPerSecond,
      bitrate: before && (8000 * (now.bytes - before.bytes)) / Math.max(now.at - before.at, 1),
      loss: this.#receives ? lossSince(before, now) : remoteLoss(all),
      rtt: pair?.currentRoundTripTime,
      codec: report.get(video?.codecId)?.mimeType?.replace("video/", ""),
      cipher: transport?.srtpCipher,
    };
  }

  get #receives() {
    return this.direction === "receive";
  }
}

/** One line of text. */
export function describe(figures) {
  const parts = [];
  if (figures.width) parts.push(`${figures.width} × ${figures.height}`);
  if (figures.fps) parts.push(`${Math.round(figures.fps)} fps`);
  if (figures.codec) parts.push(figures.codec);
  if (figures.bitrate) parts.push(bitrate(figures.bitrate));
  if (figures.loss !== undefined) parts.push(`${(100 * figures.loss).toFixed(1)} % lost`);
  if (figures.rtt !== undefined) parts.push(`${milliseconds(figures.rtt)} ms round trip`);
  return parts.join(" · ");
}

export function bitrate(bitsPerS) {
  return bitsPerS >= 1e6
    ? `${(bitsPerS / 1e6).toFixed(2)} Mbit/s`
    : `${Math.round(bitsPerS / 1e3)} kbit/s`;
}

function milliseconds(durationS) {
  const ms = 1000 * durationS;
  return ms < 10 ? ms.toFixed(1) : Math.round(ms);
}

function sum(rows, field) {
  return rows.reduce((total, row) => total + (row[field] ?? 0), 0);
}

/** The part of the last second's packets that did not come. */
function lossSince(before, now) {
  if (before === null) return undefined;
  const lost = Math.max(now.lost - before.lost, 0);
  const expected = now.packets - before.packets + lost;
  return expected > 0 ? lost / expected : 0;
}

/** What the server's receiver reports say. */
function remoteLoss(all) {
  const rows = all.filter((one) => one.type === "remote-inbound-rtp");
  if (rows.length === 0) return undefined;
  return Math.max(...rows.map((row) => row.fractionLost ?? 0));
}
