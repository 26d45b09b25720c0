// The console's first view: the server in four figures, and every stream in a row.

import { at, make, reconcile, write } from "./dom.js";
import { draw, History, makeSpark } from "./spark.js";
import { bitrate, count, duration, percent, plural } from "./words.js";

const TILES = [
  ["viewers", "Viewers", (server) => server.viewers, count],
  ["out", "To viewers", (server) => server.bitrate_out_bps, bitrate],
  ["in", "From publishers", (server) => server.bitrate_in_bps, bitrate],
];

export class Overview {
  #histories = new Map();

  constructor() {
    const tiles = [["streams", "Streams on air"], ...TILES].map(([name, title]) =>
      make(
        "div.tile",
        { id: `tile-${name}` },
        make("span.title", {}, title),
        make("strong", {}, "–"),
        makeSpark(),
      ),
    );
    at("tiles").append(...tiles);
  }

  show({ server, streams, left_out: leftOut }) {
    this.#tile("streams", server.streams_live, `${server.streams_live} of ${server.streams}`);
    for (const [name, , read, word] of TILES) this.#tile(name, read(server), word(read(server)));
    const names = new Set(streams.map((stream) => stream.name));
    for (const name of this.#histories.keys()) {
      const [of, stream] = name.split("/");
      if (of === "stream" && !names.has(stream)) this.#histories.delete(name);
    }
    reconcile(at("streams"), streams, {
      key: (stream) => stream.name,
      make: makeRow,
      fill: (row, stream) => this.#fill(row, stream),
    });
    at("streams-note").textContent = note(server, streams, leftOut);
  }

  #tile(name, value, text) {
    const history = this.#history(`tile/${name}`);
    history.add(value);
    const tile = at(`tile-${name}`);
    write(tile.querySelector("strong"), text);
    draw(tile.querySelector("svg"), history);
  }

  #fill(row, stream) {
    const { publisher, quality } = stream;
    const figures = {
      viewers: [stream.viewers, count(stream.viewers)],
      bitrate: [publisher?.bitrate_bps ?? 0, publisher ? bitrate(publisher.bitrate_bps) : "–"],
      loss: [quality.loss?.p90 ?? 0, percent(quality.loss?.p90)],
    };
    row.dataset.health = stream.health;
    write(row.querySelector(".health"), stream.health);
    write(row.querySelector(".reason"), stream.health_reason || about(stream));
    for (const [name, [value, text]] of Object.entries(figures)) {
      const cell = row.querySelector(`[data-figure=${name}]`);
      const history = this.#history(`stream/${stream.name}/${name}`);
      history.add(value);
      write(cell.querySelector("strong"), text);
      draw(cell.querySelector("svg"), history, name === "loss" ? 0.05 : 1);
    }
  }

  #history(name) {
    const found = this.#histories.get(name) ?? new History();
    this.#histories.set(name, found);
    return found;
  }
}

function makeRow(stream) {
  const figures = [
    ["viewers", "viewers"],
    ["bitrate", "from publisher"],
    ["loss", "lost, p90"],
  ].map(([name, title]) =>
    make(
      "span.figure",
      { "data-figure": name },
      make("span.title", {}, title),
      make("strong", {}, "–"),
      makeSpark(),
    ),
  );
  return make(
    "a.stream",
    { href: `#stream=${encodeURIComponent(stream.name)}` },
    make("span.who", {}, make("span.name", {}, stream.name), make("span.health", {}, "")),
    make("span.reason", {}, ""),
    make("span.figures", {}, ...figures),
  );
}

function about({ publisher, age_s: age }) {
  return `${publisher.codecs.join(" + ")} · for ${duration(age)}`;
}

function note(server, streams, leftOut) {
  if (streams.length === 0) return "There is no stream.";
  const parts = [`pyforward ${server.version}, up for ${duration(server.uptime_s)}.`];
  if (leftOut > 0) parts.unshift(`${plural(leftOut, "stream")} with fewer viewers not shown.`);
  if (server.listeners_dropped > 0) {
    parts.push(`${plural(server.listeners_dropped, "slow listener")} dropped.`);
  }
  for (const hook of server.webhooks) {
    const { target, dropped, waiting } = hook;
    if (dropped > 0) parts.push(`${plural(dropped, "event")} lost to ${target}.`);
    else if (waiting > 0) parts.push(`${plural(waiting, "event")} wait for ${target}.`);
  }
  return parts.join(" ");
}
