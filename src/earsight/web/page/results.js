// Search results: run a query, show the query and its results, filter them, download them.

import * as api from "./api.js";
import { setQuery } from "./clip_dialog.js";
import { makeCard, makeFace, walkWithArrows } from "./card.js";
import { $, after, clock, el, icon, nameOf, perceived, plural, save, tell } from "./dom.js";
import { stop } from "./player.js";

const OTHER = { audio: "visual", visual: "audio", text: "visual" };

let onSearch = null; // asks anew: set by page.js
let query = null; // {kind, text | clip | file, by, for}
let found = null; // the server's answer to it
let running = null; // AbortController of the request under way
let preview = null; // object URL of a dropped file

export function setUpResults(search) {
  onSearch = search;
  for (const [id, other] of [["moments", "timing"], ["timing", "moments"]]) {
    $(id).addEventListener("change", () => { $(other).checked = false; }); // only whole clips are compared by timing
  }
  for (const id of ["label", "top", "moments", "timing"]) $(id).addEventListener("change", again);
  for (const id of ["min", "max"]) $(id).addEventListener("input", after(350, again));
  $("csv").addEventListener("click", () => save("earsight.csv", "text/csv", asCsv()));
  $("json").addEventListener("click", () => save("earsight.json", "application/json", asJson()));
  walkWithArrows($("results"));
  walkWithArrows($("starter-list"));
}

const again = () => query && run(query);

/** A switch that can do nothing for this query stays as it is, and is not asked for. */
const chosen = (id) => ($(id).checked && !$(id).disabled ? "true" : "");

function shapeSwitches() {
  $("moments").disabled = query.for === "text"; // a text has no seconds
  $("timing").disabled = query.for === "text" || query.by === "text" || query.kind === "text"; // words have no timing
}

function parameters() {
  const base = { by: query.by, for: query.for, top: $("top").value, label: $("label").value,
    min_seconds: $("min").value, max_seconds: $("max").value,
    moments: chosen("moments"), rhythm: chosen("timing") };
  if (query.kind === "text") return { ...base, by: null, text: query.text };
  if (query.kind === "clip") return { ...base, clip: query.clip.id };
  return base;
}

/** A video file has two modalities: unless one was chosen, it searches by the one that is not looked for. */
async function askFile(signal) {
  const asked = parameters();
  if (query.by || !query.file.type.startsWith("video/")) return api.searchFile(query.file, asked, signal);
  try {
    return await api.searchFile(query.file, { ...asked, by: OTHER[query.for] }, signal);
  } catch (error) {
    if (error.status !== 400) throw error;
    return api.searchFile(query.file, asked, signal); // it has one side only
  }
}

/** Search; returns the response, or null where it was refused or overtaken. */
export async function run(asked) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  query = asked;
  shapeSwitches();
  stop();
  tell($("failed"), "");
  $("results").setAttribute("aria-busy", "true");
  $("said").textContent = chosen("timing") ? "Comparing the timing of sound and motion. The first time takes a while …"
    : asked.kind === "file" ? `Reading ${asked.file.name} …` : "";
  try {
    const reply = await (asked.kind === "file" ? askFile(signal) : api.search(parameters(), signal));
    if (signal.aborted) return null;
    found = reply;
    show();
    return reply;
  } catch (error) {
    if (signal.aborted) return null;
    found = null;
    setQuery(null);
    $("said").textContent = "";
    $("results").replaceChildren();
    showQuery();
    $("refine").hidden = true;
    tell($("failed"), error.message);
    return null;
  } finally {
    if (!signal.aborted) $("results").removeAttribute("aria-busy");
  }
}

/** Say that a query cannot even be asked, and why. */
export function refuse(message) {
  running?.abort();
  $("said").textContent = "";
  tell($("failed"), message);
}

/** Back to the start: no query. */
export function clear() {
  running?.abort();
  [query, found] = [null, null];
  setQuery(null);
  for (const id of ["asked", "results"]) $(id).replaceChildren();
  $("asked").hidden = $("refine").hidden = true;
  $("said").textContent = "";
  tell($("failed"), "");
}

function show() {
  const wanted = found.query.for;
  setQuery(currentQuery());
  showQuery();
  $("refine").hidden = false;
  $("results").replaceChildren(...found.answers.map((clip, at) =>
    el("li", {}, makeCard(clip, wanted, onSearch, at + 1))));
  const what = perceived[wanted];
  const n = found.answers.length;
  $("said").textContent = n
    ? `${plural(n, $("moments").checked && wanted !== "text" ? "moment" : `${perceived[wanted]} result`)}, ${chosen("timing") ? "re-ranked by timing" : "best first"}, in ${Math.max(1, Math.round(found.seconds * 1000))} ms.`
    : `No ${what} found. Choose another class or length.`;
  for (const id of ["csv", "json"]) $(id).disabled = !n;
}

/** The query that the clip dialog compares each second with. */
function currentQuery() {
  const name = query.kind === "text" ? `“${query.text}”`
    : `the ${perceived[found.query.by]} of ${query.kind === "clip" ? nameOf(query.clip.path) : query.file.name}`;
  if (query.kind === "text") return { name, parameters: { text: query.text } };
  const by = found.query.by;
  if (query.kind === "clip") return { name, parameters: { clip: query.clip.id, by } };
  return { name, parameters: { by }, file: query.file };
}

/** The panel of the query: what it is, which modality is used, and the notes. */
function showQuery() {
  const panel = $("asked");
  panel.hidden = query.kind === "text" && !found?.notes.length; // the words stand in the box above
  panel.replaceChildren();
  const by = found?.query.by ?? query.by;
  const title = query.kind === "text" ? `“${query.text}”`
    : query.kind === "clip" ? nameOf(query.clip.path) : query.file.name;
  if (query.kind === "clip") panel.append(makeFace(query.clip, by ?? "visual"));
  if (query.kind === "file") panel.append(previewOf(query.file));
  const words = el("div", { class: "asked-words" },
    el("h2", {}, el("bdi", {}, title)));
  if (query.kind !== "text") words.append(sides(by));
  for (const note of found?.notes ?? []) words.append(el("p", { class: "hint" }, note));
  panel.append(words, el("button", { type: "button", class: "quiet over", id: "start-over",
    onclick: () => { location.hash = "#search"; } }, "Start over"));
}

function sides(by) {
  const have = query.kind === "clip" ? [...query.clip.has, ...(query.clip.text ? ["text"] : [])] : ["audio", "visual"];
  const group = el("fieldset", { class: "switch small" }, el("legend", { class: "unseen" }, "Search by"));
  for (const side of ["audio", "visual", "text"]) {
    if (!have.includes(side)) continue;
    const radio = el("input", { type: "radio", name: "by", value: side, checked: side === by,
      onchange: () => onSearch({ ...query, by: side }) });
    group.append(el("label", {}, radio, el("span", {}, el("span", { class: "wide" }, "by"), `its ${perceived[side]}`)));
  }
  return group;
}

function previewOf(file) {
  if (preview) URL.revokeObjectURL(preview);
  preview = URL.createObjectURL(file);
  const kind = file.type.split("/")[0];
  if (kind === "image") return el("img", { class: "preview", src: preview, alt: `The picture ${file.name}` });
  if (kind === "video" || kind === "audio") {
    return el(kind, { class: `preview ${kind}`, src: preview, controls: true, playsinline: true,
      "aria-label": `The query ${file.name}` });
  }
  return el("span", { class: "preview blank" }, "file");
}

const COLUMNS = ["rank", "score", "path", "label", "start", "end", "seconds"];

const rows = () => found.answers.map((one, at) => ({ rank: at + 1, score: one.score, path: one.path,
  label: one.label, start: one.start, end: one.end, seconds: one.seconds, copies: one.copies }));

function asCsv() {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [COLUMNS, ...rows().map((row) => COLUMNS.map((name) => row[name]))]
    .map((line) => `${line.map(cell).join(",")}\r\n`).join("");
}

function asJson() {
  return `${JSON.stringify({ query: found.query, answers: rows() }, null, 2)}\n`;
}

/** A few clips to begin with, of as many classes as there are. */
export async function showStarters(info) {
  const labels = Object.keys(info.labels).slice(0, 8);
  const asked = labels.length > 1 ? labels.map((label) => ({ label, limit: 1 })) : [{ limit: 8 }];
  const pages = await Promise.all(asked.map((one) => api.clips(one)));
  const clips = pages.flatMap((page) => page.clips).filter((clip) => clip.has.length);
  $("starter-list").replaceChildren(...clips.map((clip) => {
    const by = clip.has.includes("visual") ? "visual" : "audio";
    return el("li", {}, el("article", { class: "card" }, makeFace(clip, by),
      el("div", { class: "line" }, el("span", { class: "label" }, clip.label ?? nameOf(clip.path)),
        el("span", { class: "length" }, clock(clip.seconds))),
      el("div", { class: "sides" }, ...clip.has.map((side) =>
        el("button", { type: "button", "aria-label": `Search by the ${perceived[side]} of ${nameOf(clip.path)}`,
          onclick: () => onSearch({ kind: "clip", clip, by: side, for: null }) },
        icon(side === "audio" ? "ear" : "eye"), perceived[side])))));
  }));
  return clips.length > 0;
}
