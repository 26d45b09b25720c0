// The operator's console at "/admin": signs in, follows the address, listens while somebody looks.
//
// The token is kept for this tab and travels in a header alone. What is shown comes by one stream
// of events, figures among them once a second; a page that nobody sees listens to nothing.

import { at, make } from "./dom.js";
import { listen, NotAllowed } from "./listen.js";
import { Overview } from "./overview.js";
import { StreamView } from "./stream.js";
import { sentence, weight } from "./words.js";

const TOKEN = "admin-token";
const MOST_EVENTS = 100;

const overview = new Overview();
const streamView = new StreamView({ end: askToEnd });
let token = sessionStorage.getItem(TOKEN) ?? "";
let listening = null;

// What is looked at -------------------------------------------------------------------------------

/** The stream in the address, or null for all of them. */
function chosen() {
  const match = /^#stream=(.+)$/.exec(location.hash);
  if (match === null) return null;
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return null;
  }
}

function show(view) {
  document.body.dataset.view = view;
  at("login").hidden = view !== "login";
  at("overview").hidden = view !== "overview";
  at("stream").hidden = view !== "stream";
  at("log").hidden = view === "login";
  at("sign-out").hidden = token === "" || view === "login";
}

async function look() {
  listening?.abort();
  if (document.hidden) return;
  const mine = new AbortController();
  listening = mine;
  const stream = chosen();
  if (document.body.dataset.view !== "login") show(stream === null ? "overview" : "stream");
  document.title = `${stream ?? "Console"} · pyforward`;
  if (stream !== null) streamView.begin(stream);
  // Those that the server keeps come again, as far as they belong here.
  forgetEvents();
  const query = stream === null ? "" : `&stream=${encodeURIComponent(stream)}`;
  try {
    await listen(`/api/events?figures=true&kept=true${query}`, {
      token,
      signal: mine.signal,
      onEvent: (event) => tell(event, stream),
      onState: (state, text) => {
        if (mine.signal.aborted) return;
        if (state === "live") show(stream === null ? "overview" : "stream");
        link(state, text);
      },
    });
  } catch (error) {
    if (mine.signal.aborted) return;
    if (error instanceof NotAllowed) askForToken(error);
    else throw error;
  }
}

function tell(event, stream) {
  if (event.kind !== "figures") {
    addEvent(event);
    return;
  }
  document.body.dataset.figures = event.time;
  if (stream === null) overview.show(event);
  else streamView.show(event);
}

function link(state, text) {
  at("link").dataset.state = state;
  at("link").textContent = text;
}

// Signing in --------------------------------------------------------------------------------------

function askForToken(error) {
  listening?.abort();
  if (token !== "" || error.status === 403) at("login-note").textContent = error.message;
  token = "";
  sessionStorage.removeItem(TOKEN);
  show("login");
  link("idle", "Signed out.");
  at("token").value = "";
  at("token").focus();
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  at("token").value = "";
  sessionStorage.setItem(TOKEN, token);
  look();
});
at("sign-out").addEventListener("click", () => {
  forgetEvents();
  askForToken(new NotAllowed("Signed out.", 401));
});

// Events ------------------------------------------------------------------------------------------

function addEvent(event) {
  const name = event.stream ?? "";
  const text = sentence(event);
  const time = make("time", { datetime: event.time }, clock(new Date(event.time)));
  const newest = at("events").firstElementChild;
  if (newest?.dataset.same === `${name}: ${text}`) {
    // Many at once that read alike are one line.
    newest.dataset.times = Number(newest.dataset.times ?? 1) + 1;
    newest.firstElementChild.replaceWith(time);
    newest.lastElementChild.textContent = `${text} × ${newest.dataset.times}`;
    return;
  }
  const line = make(
    "li",
    { "data-kind": event.kind, "data-weight": weight(event), "data-same": `${name}: ${text}` },
    time,
    name === "" ? "" : make("a.of", { href: `#stream=${encodeURIComponent(name)}` }, name),
    make("span", {}, text),
  );
  at("events").prepend(line);
  while (at("events").childElementCount > MOST_EVENTS) at("events").lastElementChild.remove();
  at("events-note").hidden = true;
}

function forgetEvents() {
  at("events").replaceChildren();
  at("events-note").hidden = false;
}

function clock(time) {
  const parts = [time.getHours(), time.getMinutes(), time.getSeconds()];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

// Ending ------------------------------------------------------------------------------------------

/** DELETE; throws with the server's sentence. */
async function askToEnd(path) {
  const headers = token === "" ? {} : { Authorization: `Bearer ${token}` };
  let response;
  try {
    response = await fetch(path, { method: "DELETE", headers });
  } catch {
    throw new Error("The server does not answer.");
  }
  if (response.ok) return;
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? `The server answered ${response.status}.`);
}

// -------------------------------------------------------------------------------------------------

addEventListener("hashchange", look);
document.addEventListener("visibilitychange", look);
look();
