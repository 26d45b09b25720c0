// The page at "/watch/{stream}": the player alone. It starts at once and without sound, which is
// what browsers allow without a gesture.

import { rememberToken, show } from "./panel.js";
import { Player } from "./player.js";

const at = (id) => document.getElementById(id);
const stream = decodeURIComponent(location.pathname.split("/")[2]);
const video = at("video");
const player = new Player(video);
window.pyforward = { player };
document.title = `${stream} · pyforward`;

function play() {
  player.play(stream, at("token").value);
}

show(player, {
  direction: "receive",
  status: at("watch-status"),
  stats: at("watch-stats"),
  key: "state",
  onState(state, httpStatus) {
    // Before there is a picture they would control nothing.
    if (state === "playing") video.controls = true;
    at("sound").hidden = state !== "playing" || !video.muted;
    at("token-form").hidden = httpStatus !== 401 && httpStatus !== 403;
  },
});
at("figures").addEventListener("click", () => showFigures(at("watch-stats").hidden));
function showFigures(wanted) {
  at("watch-stats").hidden = !wanted;
  at("figures").setAttribute("aria-pressed", String(wanted));
}
at("sound").addEventListener("click", () => {
  video.muted = false;
  at("sound").hidden = true;
});
video.addEventListener("volumechange", () => {
  if (!video.muted) at("sound").hidden = true;
});
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  play();
});
addEventListener("pagehide", () => player.stop());
// A page that comes back from the browser's cache of pages starts over.
addEventListener("pageshow", (event) => {
  if (event.persisted) play();
});

rememberToken(at("token"));
play();
