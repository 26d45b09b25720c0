// Figures and events in words.

import { bitrate } from "./meter.js";

export { bitrate };

/** A share of packets. */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  const value = 100 * share;
  return `${value >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(1)} %`;
}

export function milliseconds(ms) {
  if (ms === null || ms === undefined) return "–";
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** Seconds as people say them: the two largest units. */
export function duration(seconds) {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

export function count(number) {
  return number.toLocaleString("en").replaceAll(",", "\u202f");
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

const REASONS = {
  bye: "it said goodbye",
  consent_expired: "its checks were not answered",
  deleted: "it was ended",
  handshake: "the handshake failed",
  never_connected: "no check came",
  no_common_codec: "it lacks the new codec",
  no_publisher: "no publisher came back",
  no_socket: "no socket was left",
  replaced: "another one took its place",
  silent: "it fell silent",
  stopping: "the server stops",
  stream_ended: "the stream ended",
};

export const reason = (name) => REASONS[name] ?? name;

const SENTENCES = {
  stream_started: (e) => `The stream began (${e.codecs.join(" + ")}).`,
  publisher_lost: (e) =>
    `The publisher is gone: ${reason(e.reason)}. ${plural(e.viewers, "viewer")} wait.`,
  publisher_back: (e) => `The publisher is back after ${duration(e.away_s)}.`,
  publisher_replaced: () => "Another publisher took over.",
  stream_ended: (e) => `The stream ended after ${duration(e.lasted_s)}: ${reason(e.reason)}.`,
  viewer_joined: (e) => `A viewer joined; ${plural(e.viewers, "viewer")} now.`,
  viewer_left: (e) =>
    `A viewer left after ${duration(e.watched_s)}: ${reason(e.reason)}. ${count(e.viewers)} now.`,
  viewers_changed: (e) =>
    `${count(e.joined)} more joined and ${count(e.left)} left; ${count(e.viewers)} now.`,
  capacity_reached: (e) =>
    `Full: ${e.limit} allows ${count(e.value)}; ${plural(e.refused, "join")} refused.`,
  missed: (e) =>
    e.count === null
      ? "The server was restarted; what happened meanwhile is not known here."
      : `${plural(e.count, "event")} went by unseen.`,
};

/** An event as a sentence. An unknown kind, of a newer server, is its own name. */
export function sentence(event) {
  return SENTENCES[event.kind]?.(event) ?? event.kind;
}

/** How much an event matters: it colours its line. */
export function weight(event) {
  if (event.kind === "publisher_lost" || event.kind === "capacity_reached") return "poor";
  if (event.kind === "stream_ended" || event.kind === "missed") return "fair";
  if (event.kind === "stream_started" || event.kind === "publisher_back") return "good";
  return "plain";
}
