// What a player or a publisher looks like on a page: its sentence, its figures, and its state in
// the document for whoever drives the page by machine.

import { Meter, describe } from "./meter.js";

const READ_EVERY_MS = 1000;

/**
 * Shows what `source` tells.
 *
 * @param {EventTarget & {pc: RTCPeerConnection | null}} source a Player or a Publisher
 * @param {object} options
 * @param {"receive" | "send"} options.direction
 * @param {HTMLElement} options.status
 * @param {HTMLElement} options.stats
 * @param {string} options.key of document.body.dataset
 * @param {(state: string, httpStatus: number | null) => void} [options.onState]
 */
export function show(source, { direction, status, stats, key, onState }) {
  source.addEventListener("state", ({ detail }) => {
    const { state, sentence, status: httpStatus, reason } = detail;
    document.body.dataset[key] = state;
    status.dataset.state = state;
    if (reason) status.dataset.reason = reason;
    else delete status.dataset.reason;
    status.textContent = sentence;
    onState?.(state, httpStatus);
  });

  let measured = null;
  let meter = null;
  setInterval(async () => {
    const { pc } = source;
    if (pc !== measured) {
      measured = pc;
      meter = new Meter(direction);
      stats.textContent = "";
    }
    if (pc === null || pc.connectionState !== "connected") return;
    const figures = await meter.read(pc);
    if (source.pc !== pc) return;
    stats.textContent = describe(figures);
    stats.title = figures.cipher ? `Encrypted with ${figures.cipher}` : "";
    for (const [name, value] of Object.entries(figures)) {
      if (value === undefined || value === null) delete stats.dataset[name];
      else stats.dataset[name] = value;
    }
  }, READ_EVERY_MS);
}

/** The token field, kept for this tab. */
export function rememberToken(field) {
  field.value = sessionStorage.getItem("token") ?? "";
  field.addEventListener("input", () => sessionStorage.setItem("token", field.value));
}
