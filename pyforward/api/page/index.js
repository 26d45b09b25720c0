// The page at "/": lists the streams, watches one, publishes one.

import { bitrate } from "./meter.js";
import { rememberToken, show } from "./panel.js";
import { Player } from "./player.js";
import { Publisher } from "./publisher.js";
import { makeSynthetic } from "./synthetic.js";

const LIST_EVERY_MS = 3000;

const at = (id) => document.getElementById(id);
const player = new Player(at("video"));
const publisher = new Publisher();
window.pyforward = { player, publisher };

// Watching ----------------------------------------------------------------------------------------

function watch(stream) {
  at("watch-name").value = stream;
  player.play(stream, at("token").value);
}

show(player, {
  direction: "receive",
  status: at("watch-status"),
  stats: at("watch-stats"),
  key: "state",
  onState(state) {
    at("watch-stop").disabled = state === "idle" || state === "error";
  },
});
at("watch-form").addEventListener("submit", (event) => {
  event.preventDefault();
  watch(at("watch-name").value.trim());
});
at("watch-stop").addEventListener("click", () => player.stop());

// Publishing --------------------------------------------------------------------------------------

const SOURCES = {
  camera: () =>
    navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
      audio: true,
    }),
  screen: () => navigator.mediaDevices.getDisplayMedia({ video: true, audio: true }),
  canvas: async () => makeSynthetic(),
};

async function publish(stream, source, codec) {
  publisher.stop();
  let media;
  try {
    media = await SOURCES[source]();
  } catch (error) {
    sayNoSource(source, error);
    return;
  }
  const [video] = media.getVideoTracks();
  if (video && source === "screen") video.contentHint = "detail";
  // The person may end a capture from the browser's own controls.
  video?.addEventListener("ended", () => publisher.stop());
  at("preview").srcObject = media;
  at("preview").play().catch(() => {});
  await publisher.publish(stream, media, {
    token: at("token").value,
    codec,
    keepSize: source === "canvas",
  });
}

function sayNoSource(source, error) {
  const reason = window.isSecureContext
    ? `The ${source} is not to be had: ${error.message}`
    : `A browser gives the ${source} to secure pages only: use https, or localhost.`;
  document.body.dataset.publish = "error";
  at("publish-status").dataset.state = "error";
  at("publish-status").textContent = reason;
}

show(publisher, {
  direction: "send",
  status: at("publish-status"),
  stats: at("publish-stats"),
  key: "publish",
  onState(state) {
    const active = state === "connecting" || state === "waiting" || state === "publishing";
    at("publish-stop").disabled = !active;
    if (!active) at("preview").srcObject = null;
    showLink(state === "publishing" ? at("publish-name").value.trim() : null);
  },
});
at("publish-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  publish(form.get("stream").trim(), form.get("source"), form.get("codec"));
});
at("publish-stop").addEventListener("click", () => publisher.stop());
at("publish-name").addEventListener("input", showWhipUrl);

function showLink(stream) {
  const note = at("publish-link");
  note.replaceChildren();
  if (stream === null) return;
  const link = document.createElement("a");
  link.href = new URL(`/watch/${encodeURIComponent(stream)}`, location.href).href;
  link.textContent = link.href;
  link.target = "_blank";
  link.rel = "noopener";
  note.append("Viewers go to ", link, ".");
}

function showWhipUrl() {
  const name = encodeURIComponent(at("publish-name").value.trim() || "live");
  at("whip-url").textContent = new URL(`/whip/${name}`, location.href).href;
}

// The list ----------------------------------------------------------------------------------------

/** Asks for the streams; where the server tells them to operators only, a name still works. */
async function list() {
  let response = null;
  try {
    if (!document.hidden) response = await fetch("/api/streams", { cache: "no-store" });
  } catch {
    at("streams-note").textContent = "The server does not answer.";
  }
  if (response !== null && !response.ok) {
    at("streams-note").textContent =
      "This server lists its streams to operators only: type the name of one.";
    return;
  }
  if (response !== null) showStreams((await response.json()).items);
  setTimeout(list, LIST_EVERY_MS);
}

function showStreams(items) {
  at("streams-note").textContent = items.length === 0 ? "Nobody publishes yet." : "";
  const rows = new Map([...at("streams").children].map((row) => [row.dataset.name, row]));
  for (const item of items) {
    const row = rows.get(item.name) ?? addRow(item.name);
    rows.delete(item.name);
    row.querySelector(".dot").dataset.state = item.state;
    row.querySelector(".about").textContent = about(item);
  }
  for (const row of rows.values()) row.remove();
}

function addRow(name) {
  const row = document.createElement("li");
  row.dataset.name = name;
  const button = document.createElement("button");
  button.type = "button";
  button.addEventListener("click", () => watch(name));
  for (const part of ["dot", "name", "about"]) {
    const span = document.createElement("span");
    span.className = part;
    button.append(span);
  }
  button.querySelector(".name").textContent = name;
  const link = document.createElement("a");
  link.href = `/watch/${encodeURIComponent(name)}`;
  link.textContent = "player";
  link.setAttribute("aria-label", `The player of ${name} alone`);
  row.append(button, link);
  at("streams").append(row);
  return row;
}

function about(item) {
  const parts = [item.state];
  if (item.publisher?.codecs?.length) parts.push(item.publisher.codecs.join(" + "));
  if (item.publisher?.bitrate_bps) parts.push(bitrate(item.publisher.bitrate_bps));
  parts.push(`${item.viewers} ${item.viewers === 1 ? "viewer" : "viewers"}`);
  return parts.join(" · ");
}

// -------------------------------------------------------------------------------------------------

rememberToken(at("token"));
showWhipUrl();
list();
addEventListener("pagehide", () => {
  player.stop();
  publisher.stop();
});
