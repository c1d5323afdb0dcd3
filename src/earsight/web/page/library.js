// The library: what is in it, bringing it up to date, and the clips that had trouble.

import * as api from "./api.js";
import { $, clock, el, plural, readable, tell } from "./dom.js";

const POLL = 500; // ms

let polling = 0;
let seen = false; // whether this page has seen the indexing at work
let onChange = null;

/** @param changed Called when an indexing that this page saw has ended. */
export function setUpLibrary(changed) {
  onChange = changed;
  $("index-go").addEventListener("click", async () => {
    tell($("library-failed"), "");
    try {
      await api.index();
      seen = true;
    } catch (error) {
      tell($("library-failed"), error.message);
      return;
    }
    follow();
  });
}

export function openLibrary(info) {
  showFacts(info);
  showTrouble();
  follow();
}

export const leaveLibrary = () => clearTimeout(polling);

export function showFacts(info) {
  const labels = Object.entries(info.labels);
  const facts = [
    ["clips", info.n_clips.toLocaleString("en")],
    ["classes", labels.length ? labels.map(([label, count]) => `${label} ${count}`).join(", ") : "none. Put the clips of each class into a folder of its own."],
    ["active embedding", info.space ?? "none yet"],
    ["search by words", info.text ? "available" : `not available. ${info.why_no_text}`],
    ["Earsight version", info.version],
  ];
  facts.unshift(["folder", info.root]);
  $("facts").replaceChildren(...facts.flatMap(([name, value]) =>
    [el("dt", {}, name), el("dd", {}, el("bdi", {}, readable(String(value))))]));
  $("library-note").textContent = info.name;
}

async function showTrouble() {
  let list = [];
  try {
    if ((await api.library()).n_clips) list = await api.trouble();
  } catch (error) {
    $("trouble").replaceChildren(el("p", { class: "failed" }, error.message));
    return;
  }
  if (!list.length) {
    $("trouble").replaceChildren(el("p", { class: "hint" }, "None. Every clip was read completely."));
    return;
  }
  $("trouble").replaceChildren(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Clips with problems" },
    el("table", { class: "plain trouble" },
      el("thead", {}, el("tr", {}, ...["clip", "status", "reason"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...list.map((one) => el("tr", {},
        el("th", { scope: "row" }, el("bdi", {}, readable(one.path))), el("td", {}, one.status), el("td", {}, one.message)))))));
}

async function follow() {
  clearTimeout(polling);
  let state;
  try {
    state = await api.indexing();
  } catch (error) {
    tell($("library-failed"), error.message);
    return;
  }
  $("index-go").disabled = state.running;
  const bar = $("index-bar");
  bar.hidden = !state.running;
  if (state.running && state.total) {
    bar.max = state.total;
    bar.value = state.done;
  } else {
    bar.removeAttribute("value");
  }
  $("index-messages").replaceChildren(...(state.messages ?? []).slice(-8).map((line) => el("li", {}, line)));
  tell($("library-failed"), state.error ?? "");
  if (state.running) {
    seen = true;
    $("index-said").textContent = progress(state);
    polling = setTimeout(follow, POLL);
    return;
  }
  $("index-said").textContent = state.report ? told(state.report) : "";
  if (seen) {
    seen = false;
    onChange();
    showTrouble();
  }
}

function progress(state) {
  const parts = [state.what ?? "Working"];
  if (state.total) parts.push(`${state.done.toLocaleString("en")} of ${state.total.toLocaleString("en")}`);
  if (state.rate) parts.push(`${state.rate.toFixed(state.rate < 10 ? 1 : 0)} a second`);
  if (state.seconds_left !== null && state.seconds_left !== undefined) parts.push(`about ${clock(state.seconds_left)} left`);
  return parts.join(" · ");
}

function told(report) {
  const done = [["added", "read"], ["again", "read again"], ["moved", "moved"], ["gone", "gone"], ["unchanged", "unchanged"]]
    .filter(([name]) => report[name]).map(([name, what]) => `${report[name].toLocaleString("en")} ${what}`);
  const took = report.seconds ? ` It took ${clock(report.seconds)}.` : "";
  return `${plural(report.n_clips, "clip")}${done.length ? `: ${done.join(", ")}` : ""}.${took}`;
}
