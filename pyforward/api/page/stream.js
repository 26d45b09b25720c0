// The console's view of one stream: its publisher, how its viewers fare, and who fares worst.

import { confirm } from "./confirm.js";
import { at, make, reconcile, write } from "./dom.js";
import { draw, History } from "./spark.js";
import { makeEnd, makeParts, makeTable, WORST } from "./stream-parts.js";
import { bitrate, count, duration, milliseconds, percent, plural } from "./words.js";

const SPREADS = [
  ["loss", "lost", percent],
  ["rtt_ms", "round trip", milliseconds],
  ["bitrate_bps", "bitrate", bitrate],
];
const RANKS = ["p50", "p90", "p99", "max"];
const CHARTS = [
  ["viewers", "Viewers"],
  ["bitrate", "From publisher"],
  ["loss", "Lost by viewers, p90"],
];
const NO_PUBLISHER = "Nobody publishes. The stream waits, and keeps its viewers meanwhile.";

export class StreamView {
  #name = null;
  #parts = null;
  #histories = null;
  #end;

  /** @param {{end: (path: string) => Promise<void>}} options `end` sends a DELETE */
  constructor({ end }) {
    this.#end = end;
  }

  /** Another stream is looked at, and nothing is known of it yet. */
  begin(name) {
    if (name === this.#name) return;
    this.#name = name;
    this.#histories = Object.fromEntries(CHARTS.map(([chart]) => [chart, new History()]));
    this.#parts = makeParts(name, CHARTS, () => this.#askForStream());
    at("stream").replaceChildren(...this.#parts.all);
  }

  show({ streams: [stream], worst }) {
    const parts = this.#parts;
    for (const part of [parts.charts, parts.publisher, parts.viewers, parts.worst]) {
      part.hidden = stream === undefined;
    }
    parts.end.disabled = stream === undefined;
    parts.head.dataset.health = stream?.health ?? "waiting";
    write(parts.health, stream?.health ?? "gone");
    write(parts.reason, stream?.health_reason ?? "There is no such stream, or it has ended.");
    if (stream === undefined) return;
    this.#charts(stream);
    this.#publisher(stream.publisher);
    this.#viewers(stream);
    reconcile(parts.rows, worst, {
      key: (viewer) => viewer.session,
      make: (viewer) => this.#row(viewer),
      fill,
    });
    parts.worst.hidden = worst.length === 0;
  }

  #charts({ viewers, publisher, quality }) {
    const values = {
      viewers: [viewers, count(viewers), 1],
      bitrate: [publisher?.bitrate_bps ?? 0, publisher ? bitrate(publisher.bitrate_bps) : "–", 1],
      loss: [quality.loss?.p90 ?? 0, percent(quality.loss?.p90), 0.05],
    };
    for (const [name, [value, text, least]] of Object.entries(values)) {
      const tile = this.#parts.charts.querySelector(`[data-figure=${name}]`);
      this.#histories[name].add(value);
      write(tile.querySelector("strong"), text);
      draw(tile.querySelector("svg"), this.#histories[name], least);
    }
  }

  #publisher(publisher) {
    const card = this.#parts.publisher;
    if (publisher === null) {
      card.replaceChildren(make("h2", {}, "Publisher"), make("p.note", {}, NO_PUBLISHER));
      return;
    }
    if (card.dataset.session !== publisher.session || !card.querySelector("dl")) {
      card.dataset.session = publisher.session;
      card.replaceChildren(
        make("h2", {}, "Publisher"),
        make("dl"),
        make("div.tracks"),
        makeEnd("End publisher", () => this.#askForPublisher(publisher.session)),
      );
    }
    const keyframes = publisher.keyframe_interval_ms;
    describe(card.querySelector("dl"), {
      Codecs: publisher.codecs.join(" + "),
      Keyframes: keyframes === null ? "–" : `every ${(keyframes / 1000).toFixed(1)} s`,
      Bitrate: bitrate(publisher.bitrate_bps),
      Lost: percent(publisher.loss),
      "Round trip": milliseconds(publisher.rtt_ms),
      "Here for": duration(publisher.connected_s),
      Address: publisher.address ?? "–",
      Session: publisher.session,
      Encryption: publisher.srtp_profile ?? "–",
    });
    reconcile(card.querySelector(".tracks"), publisher.tracks, {
      key: (track) => track.kind,
      make: () => make("p.note"),
      fill: (row, track) => write(row, trackWords(track)),
    });
  }

  #viewers({ viewers, quality }) {
    const card = this.#parts.viewers;
    if (!card.querySelector("table")) {
      card.replaceChildren(
        make("h2", {}, "Viewers"),
        make("p.summary"),
        makeTable("spreads", ["", ...RANKS]),
        make("p.note.sum"),
      );
    }
    write(card.querySelector(".summary"), states(viewers, quality));
    reconcile(card.querySelector("tbody"), SPREADS, {
      key: ([name]) => name,
      make: ([, title]) =>
        make("tr", {}, make("th", { scope: "row" }, title), ...RANKS.map(() => make("td"))),
      fill: (row, [name, , word]) => {
        const spread = quality[name];
        const cells = row.querySelectorAll("td");
        RANKS.forEach((rank, index) => {
          write(cells[index], spread === null ? "–" : word(spread[rank]));
        });
      },
    });
    const repaired = `${plural(quality.repaired, "packet")} repaired by retransmission`;
    write(card.querySelector(".sum"), `${repaired}, ${count(quality.drops)} not sent.`);
  }

  #row(viewer) {
    const cells = WORST.slice(0, -1).map(([name]) => make("td", { "data-figure": name }));
    const end = makeEnd("End", () => this.#askForViewer(viewer.session));
    end.classList.add("small");
    return make("tr", {}, ...cells, make("td", {}, end));
  }

  // Ending ----------------------------------------------------------------------------------------

  #askForStream() {
    const name = this.#name;
    confirm({
      title: `End the stream “${name}”?`,
      text:
        "Its publisher and all of its viewers are told farewell. Players wait for it to come back.",
      yes: "End stream",
      act: () => this.#end(`/api/streams/${encodeURIComponent(name)}`),
    });
  }

  #askForPublisher(session) {
    confirm({
      title: "End the publisher?",
      text:
        `Session ${session} is told farewell. ` +
        "The viewers are kept for a while and wait for another one.",
      yes: "End publisher",
      act: () => this.#end(`/api/sessions/${session}`),
    });
  }

  #askForViewer(session) {
    confirm({
      title: "End this viewer?",
      text: `Session ${session} is told farewell. Nothing keeps it from joining again.`,
      yes: "End viewer",
      act: () => this.#end(`/api/sessions/${session}`),
    });
  }
}

function fill(row, viewer) {
  const words = {
    session: viewer.session,
    address: viewer.address ?? "–",
    state: viewer.state,
    loss: percent(viewer.loss),
    repaired: count(viewer.repaired),
    drops: count(viewer.drops),
    rtt: milliseconds(viewer.rtt_ms),
    bitrate: bitrate(viewer.bitrate_bps),
    time: duration(viewer.connected_s),
  };
  for (const [name, text] of Object.entries(words)) {
    write(row.querySelector(`[data-figure=${name}]`), text);
  }
}

function describe(list, words) {
  reconcile(list, Object.entries(words), {
    key: ([term]) => term,
    make: ([term]) => make("div", {}, make("dt", {}, term), make("dd")),
    fill: (pair, [, text]) => write(pair.querySelector("dd"), text),
  });
}

function trackWords(track) {
  const parts = [`${track.kind} ${track.codec}`, `${count(track.packets_received)} packets`];
  if (track.kind === "video") {
    parts.push(`${plural(track.keyframes, "keyframe")} of ${plural(track.frames, "frame")}`);
  }
  parts.push(`${count(track.packets_repaired)} repaired`, `${count(track.packets_lost)} lost`);
  if (track.jitter_ms !== null) parts.push(`jitter ${milliseconds(track.jitter_ms)}`);
  return parts.join(" · ");
}

function states(viewers, { live, starting, connecting, measured }) {
  const parts = [`${plural(live, "viewer")} live`];
  if (starting > 0) parts.push(`${count(starting)} starting`);
  if (connecting > 0) parts.push(`${count(connecting)} connecting`);
  if (measured < viewers) parts.push(`of ${count(measured)} that were measured`);
  return `${parts.join(", ")}.`;
}
