// The console's view of one stream: its publisher, how its viewers fare, and who fares worst.

import { confirm } from "./confirm.js";
import { at, make, reconcile, write } from "./dom.js";
import { draw, History, makeSpark } from "./spark.js";
import { bitrate, count, duration, milliseconds, percent, plural } from "./words.js";

const SPREADS = [
  ["loss", "lost", percent],
  ["rtt_ms", "round trip", milliseconds],
  ["bitrate_bps", "bitrate", bitrate],
];
const CHARTS = [
  ["viewers", "Viewers"],
  ["bitrate", "From publisher"],
  ["loss", "Lost by viewers, p90"],
];

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
    this.#parts = this.#make(name);
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

  #make(name) {
    const health = make("span.health");
    const reason = make("p.reason");
    const end = make("button.danger", { type: "button", click: () => this.#askForStream() }, "End stream");
    const head = make(
      "div.head",
      {},
      make("div", {}, make("h2.name", {}, name), health, reason),
      make(
        "div.row",
        {},
        make("a.button", { href: `/watch/${encodeURIComponent(name)}`, target: "_blank", rel: "noopener" }, "Watch"),
        end,
      ),
    );
    const charts = make(
      "div.tiles",
      {},
      ...CHARTS.map(([chart, title]) =>
        make("div.tile", { "data-figure": chart }, make("span.title", {}, title), make("strong", {}, "–"), makeSpark()),
      ),
    );
    const publisher = make("div.card.publisher");
    const viewers = make("div.card.viewers");
    const rows = make("tbody");
    const titles = ["session", "address", "state", "lost", "repaired", "dropped", "round trip", "bitrate", "here for", ""];
    const worst = make(
      "div.card.worst",
      {},
      make("h2", {}, "Who fares worst"),
      make("div.scroll", {}, make("table", {}, make("thead", {}, make("tr", {}, ...titles.map((t) => make("th", {}, t)))), rows)),
    );
    const back = make("p.back", {}, make("a", { href: "#" }, "← All streams"));
    const columns = make("div.halves", {}, publisher, viewers);
    return { all: [back, head, charts, columns, worst], head, health, reason, end, charts, publisher, viewers, worst, rows };
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
      card.replaceChildren(make("h2", {}, "Publisher"), make("p.note", {}, "Nobody publishes. The stream waits, and keeps its viewers meanwhile."));
      return;
    }
    if (card.dataset.session !== publisher.session || !card.querySelector("dl")) {
      card.dataset.session = publisher.session;
      card.replaceChildren(
        make("h2", {}, "Publisher"),
        make("dl"),
        make("div.tracks"),
        make("button.danger", { type: "button", click: () => this.#askForPublisher(publisher.session) }, "End publisher"),
      );
    }
    const keyframes = publisher.keyframe_interval_ms;
    describe(card.querySelector("dl"), {
      Session: publisher.session,
      Address: publisher.address ?? "–",
      Codecs: publisher.codecs.join(" + "),
      "Here for": duration(publisher.connected_s),
      Bitrate: bitrate(publisher.bitrate_bps),
      Lost: percent(publisher.loss),
      "Round trip": milliseconds(publisher.rtt_ms),
      Keyframes: keyframes === null ? "–" : `every ${(keyframes / 1000).toFixed(1)} s`,
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
      const head = make("tr", {}, ...["", "p50", "p90", "p99", "max"].map((t) => make("th", {}, t)));
      card.replaceChildren(
        make("h2", {}, "Viewers"),
        make("p.summary"),
        make("div.scroll", {}, make("table.spreads", {}, make("thead", {}, head), make("tbody"))),
        make("p.note.sum"),
      );
    }
    write(card.querySelector(".summary"), states(viewers, quality));
    reconcile(card.querySelector("tbody"), SPREADS, {
      key: ([name]) => name,
      make: ([, title]) => make("tr", {}, make("th", { scope: "row" }, title), ...[0, 1, 2, 3].map(() => make("td"))),
      fill: (row, [name, , word]) => {
        const spread = quality[name];
        ["p50", "p90", "p99", "max"].forEach((rank, index) =>
          write(row.querySelectorAll("td")[index], spread === null ? "–" : word(spread[rank])),
        );
      },
    });
    write(
      card.querySelector(".sum"),
      `${plural(quality.repaired, "packet")} repaired by retransmission, ${count(quality.drops)} not sent.`,
    );
  }

  #row(viewer) {
    const cells = ["session", "address", "state", "loss", "repaired", "drops", "rtt", "bitrate", "time"];
    const end = make("button.danger.small", { type: "button", click: () => this.#askForViewer(viewer.session) }, "End");
    return make("tr", {}, ...cells.map((name) => make("td", { "data-figure": name })), make("td", {}, end));
  }

  // Ending ----------------------------------------------------------------------------------------

  #askForStream() {
    const name = this.#name;
    confirm({
      title: `End the stream “${name}”?`,
      text: "Its publisher and all of its viewers are told farewell. Players wait for it to come back.",
      yes: "End stream",
      act: () => this.#end(`/api/streams/${encodeURIComponent(name)}`),
    });
  }

  #askForPublisher(session) {
    confirm({
      title: "End the publisher?",
      text: `Session ${session} is told farewell. The viewers are kept for a while and wait for another one.`,
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
  if (track.kind === "video") parts.push(`${plural(track.keyframes, "keyframe")} of ${plural(track.frames, "frame")}`);
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
