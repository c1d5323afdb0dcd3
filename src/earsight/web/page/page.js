// The page of `earsight serve`: which view is shown, which query stands, and the theme.
// A query by words or by a clip is in the address (#search?clip=12&by=audio&for=visual), so that
// going back goes back to it; a dropped file is not, it stays here.

import * as results from "./results.js";
import * as api from "./api.js";
import { setUpQueryForm } from "./query_form.js";
import { setPlace } from "./card.js";
import { setUpClipDialog } from "./clip_dialog.js";
import { $, fillClasses, nameOf, tell } from "./dom.js";
import { leaveLibrary, openLibrary, setUpLibrary, showFacts } from "./library.js";
import { mapIsStale, openMap, recolourMap, setMapQuery, setUpMap } from "./map.js";
import { setUpClipPicker } from "./clip_picker.js";
import { stop } from "./player.js";
import { leaveQuality, openQuality, setUpQuality } from "./quality.js";

const VIEWS = ["search", "map", "quality", "library"];
const OTHER = { audio: "visual", visual: "audio", text: "visual" };
const TITLES = { search: "Search", map: "Map", quality: "Quality", library: "Library" };

let info = null; // the library, as the API has it
let upload = null; // the dropped or recorded file that is the query
let last = null; // the last query: changed filters and the switch run it again

const wanted = () => document.querySelector('input[name="for"]:checked').value;

function want(modality) {
  const radio = document.querySelector(`input[name="for"][value="${modality}"]`);
  if (radio) radio.checked = true;
}

/** Search by words, a file, or a clip of the library. */
function search(query) {
  // By a side and for nothing said: the other side is looked for.
  const target = query.for ?? (query.by ? OTHER[query.by] : wanted());
  want(target);
  if (query.kind === "file") {
    if (info?.upload_limit && query.file.size > info.upload_limit) {
      show("search");
      results.refuse(tooLarge(query.file));
      return;
    }
    upload = query.file;
    const before = location.hash;
    location.hash = address({ file: query.file.name, by: query.by, for: target });
    if (location.hash === before) route();
  } else if (query.kind === "clip") {
    go(address({ clip: query.clip.id, by: query.by, for: target }));
  } else {
    go(address({ text: query.text, for: target }));
  }
}

function tooLarge(file) {
  const mb = (bytes) => `${Math.ceil(bytes / 1e6).toLocaleString("en")} MB`;
  return `A file to search by may have ${mb(info.upload_limit)} at most; ${file.name} has ${mb(file.size)}. `
    + "Cut a shorter piece.";
}

function address(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return `#search?${new URLSearchParams(given)}`;
}

function go(hash) {
  if (location.hash === hash) route();
  else location.hash = hash;
}

function show(view) {
  stop();
  leaveQuality();
  leaveLibrary();
  for (const name of VIEWS) $(`view-${name}`).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[view]} · Earsight`;
}

async function route() {
  const [name, rest = ""] = location.hash.slice(1).split("?");
  if (name === "main") return; // the skip link
  const view = VIEWS.includes(name) ? name : "search";
  show(view);
  if (!info) return;
  if (view === "map") openMap(info);
  else if (view === "quality") openQuality();
  else if (view === "library") openLibrary(info);
  else await openSearch(new URLSearchParams(rest));
}

async function openSearch(parameters) {
  const asked = location.hash;
  const [side, target] = [parameters.get("by"), parameters.get("for")];
  if (target) want(target);
  const common = { by: side, for: wanted() };
  let query = null;
  if (parameters.has("text")) {
    query = { kind: "text", text: parameters.get("text"), ...common };
    $("text").value = query.text;
  } else if (parameters.has("clip")) {
    try {
      query = { kind: "clip", clip: await api.clip(Number(parameters.get("clip"))), ...common };
    } catch (error) {
      if (location.hash === asked) tell($("failed"), error.message);
      return;
    }
    if (location.hash !== asked) return; // meanwhile somebody went on, or back
  } else if (parameters.has("file") && upload) {
    query = { kind: "file", file: upload, ...common };
  }
  const starting = query === null;
  $("view-search").classList.toggle("searching", !starting);
  $("starters").hidden = !starting || !$("starter-list").children.length;
  last = query;
  if (starting) {
    $("text").value = "";
    results.clear();
    setMapQuery(null);
    return;
  }
  if (query.kind !== "text") $("text").value = "";
  scrollTo({ top: 0 });
  const reply = await results.run(query);
  if (reply) setMapQuery(reply.point, query.kind === "text" ? query.text : nameOf(reply.query.name));
}

async function refresh() {
  try {
    info = await api.library();
  } catch (error) {
    tell($("failed"), error.message);
    return;
  }
  setPlace(info.root, info.local);
  for (const id of ["label", "picker-label"]) fillClasses($(id), info.labels);
  $("text").disabled = $("go").disabled = !info.text;
  tell($("no-words"), !info.space ? "The library is not indexed yet. Open Library and choose “Look for changes”."
    : info.text ? "" : `This library cannot be searched by words. ${info.why_no_text} Search with a clip.`);
  for (const modality of ["audio", "visual"]) {
    document.querySelector(`input[name="for"][value="${modality}"]`).disabled =
      info.modalities.length > 0 && !info.modalities.includes(modality);
  }
  const texts = info.text && info.texts > 0;
  $("for-text").hidden = !texts;
  $("for-text").firstElementChild.disabled = !texts;
  const count = $("trouble-count");
  count.hidden = !info.trouble;
  count.textContent = info.trouble;
  count.setAttribute("aria-label", `, ${info.trouble} with problems`);
  showFacts(info);
  try {
    const some = info.n_clips > 0 && (await results.showStarters(info));
    $("starters").hidden = !some || last !== null;
  } catch (error) {
    tell($("failed"), error.message);
  }
}

/** The library is another one than it was: indexed anew, here or elsewhere. */
async function changed() {
  api.forget();
  mapIsStale();
  await refresh();
}

function setUpTheme() {
  const root = document.documentElement;
  const names = { "": "same as the system", light: "light", dark: "dark" };
  const told = () => {
    $("theme").setAttribute("aria-label", `Colours: ${names[root.dataset.theme ?? ""]}`);
    $("theme").title = $("theme").getAttribute("aria-label");
    recolourMap();
  };
  $("theme").addEventListener("click", () => {
    const next = { "": "light", light: "dark", dark: "" }[root.dataset.theme ?? ""];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    localStorage.setItem("earsight-theme", next);
    told();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolourMap);
  told();
}

function setUpKeys() {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, dialog");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go("#search");
    $("text").focus();
  });
  $("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address names the view, not this place
    $("main").focus();
  });
}

setUpQueryForm(search);
setUpClipPicker(search);
results.setUpResults(search);
setUpClipDialog();
setUpMap(search);
setUpQuality();
setUpLibrary(changed);
setUpTheme();
setUpKeys();
for (const radio of document.querySelectorAll('input[name="for"]')) {
  radio.addEventListener("change", () => last && search({ ...last, for: radio.value }));
}
window.addEventListener("hashchange", route);
window.addEventListener("focus", async () => {
  const now = await api.library().catch(() => info); // a server that is gone is told when it is asked
  if (now?.state === info?.state) return;
  const first = info === null; // it could not be told before: what was tried then is shown now
  await changed();
  if (first && info) {
    tell($("failed"), "");
    await route();
  }
});
show("search");
await refresh();
await route();
document.documentElement.dataset.ready = "yes";
