// What the console's view of one stream is built of, empty: stream.js fills it.

import { make } from "./dom.js";
import { makeSpark } from "./spark.js";

/** The columns of the worst viewers, as [figure, title]; the last one holds a button. */
export const WORST = [
  ["session", "session"],
  ["address", "address"],
  ["state", "state"],
  ["loss", "lost"],
  ["repaired", "repaired"],
  ["drops", "dropped"],
  ["rtt", "round trip"],
  ["bitrate", "bitrate"],
  ["time", "here for"],
  ["end", ""],
];

/** Every part by its name, and `all` of them in order. */
export function makeParts(name, charts, onEnd) {
  const health = make("span.health");
  const reason = make("p.reason");
  const end = makeEnd("End stream", onEnd);
  const watch = make(
    "a.button",
    { href: `/watch/${encodeURIComponent(name)}`, target: "_blank", rel: "noopener" },
    "Watch",
  );
  const head = make(
    "div.head",
    {},
    make("div", {}, make("h2.name", {}, name), health, reason),
    make("div.row", {}, watch, end),
  );
  const tiles = make("div.tiles", {}, ...charts.map(makeTile));
  const publisher = make("div.card.publisher");
  const viewers = make("div.card.viewers");
  const table = makeTable("viewers", WORST.map(([, title]) => title));
  const worst = make("div.card.worst", {}, make("h2", {}, "Who fares worst"), table);
  const back = make("p.back", {}, make("a", { href: "#" }, "← All streams"));
  const halves = make("div.halves", {}, publisher, viewers);
  return {
    all: [back, head, tiles, halves, worst],
    head,
    health,
    reason,
    end,
    charts: tiles,
    publisher,
    viewers,
    worst,
    rows: table.querySelector("tbody"),
  };
}

/** A button that ends something, after a question. */
export function makeEnd(text, click) {
  return make("button.danger", { type: "button", click }, text);
}

/** A table without rows, which scrolls by itself where the page is narrow. */
export function makeTable(name, titles) {
  const head = make("tr", {}, ...titles.map((title) => make("th", {}, title)));
  const table = make(`table.${name}`, {}, make("thead", {}, head), make("tbody"));
  return make("div.scroll", {}, table);
}

function makeTile([name, title]) {
  return make(
    "div.tile",
    { "data-figure": name },
    make("span.title", {}, title),
    make("strong", {}, "–"),
    makeSpark(),
  );
}
