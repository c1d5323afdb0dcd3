// Search quality: scores beside chance, classes, confusion, the best and the worst queries.

import * as api from "./api.js";
import { makeFace } from "./card.js";
import { $, el, icon, nameOf, perceived, plural, tell } from "./dom.js";

const DIRECTIONS = ["audio->visual", "visual->audio"];
const POLL = 700; // ms

const FOLD = "A query ranks only the clips of its own fold. Where its class has fewer clips there than "
  + "are shown, the others are of other classes.";

let polling = 0;
let confused = DIRECTIONS[0]; // the direction whose confusion is shown

const arrow = (direction) => {
  const [from, to] = direction.split("->").map((side) => perceived[side] ?? side);
  return `${from} → ${to}`;
};
const number = (value) => value.toFixed(3).replace(/^0\./, ".");
const percent = (value) => `${Math.round(100 * value)} %`;

export function setUpQuality() {
  $("measure-go").addEventListener("click", async () => {
    tell($("quality-failed"), "");
    try {
      await api.measure();
    } catch (error) {
      tell($("quality-failed"), error.message);
      return;
    }
    openQuality();
  });
}

export async function openQuality() {
  clearTimeout(polling);
  let state;
  try {
    state = await api.quality();
  } catch (error) {
    tell($("quality-failed"), error.message);
    return;
  }
  const running = state.state === "running";
  tell($("quality-failed"), state.state === "failed" ? state.error : "");
  $("measure").hidden = false;
  $("measure-go").hidden = running;
  $("measure-bar").hidden = !running;
  if (running && typeof state.progress === "number") $("measure-bar").value = state.progress;
  else $("measure-bar").removeAttribute("value");
  $("measure").classList.toggle("panel", !state.result || running);
  $("measure-go").classList.toggle("strong", !state.result);
  $("measure-go").textContent = state.result ? "Measure again" : "Measure now";
  $("measure-said").textContent = running ? "Searching with every clip …"
    : state.stale ? "The library has changed since these figures were measured."
      : state.result ? "" : "Not measured yet. It takes seconds for hundreds of clips, minutes for tens of thousands.";
  if (running) polling = setTimeout(openQuality, POLL);
  if (state.result) show(state.result);
  else $("quality").replaceChildren();
}

export const leaveQuality = () => clearTimeout(polling);

function show(result) {
  const parts = [el("p", { class: "hint" }, summary(result)),
    el("div", { class: "panels" }, ...DIRECTIONS.filter((d) => result.directions[d])
      .map((d) => direction(d, result.directions[d])))];
  if (result.per_class?.length) parts.push(classes(result.per_class));
  if (result.confusion) parts.push(confusion(result.confusion));
  const fold = result.per_class?.length ? FOLD : "";
  parts.push(queries("Best queries", result.best, fold), queries("Worst queries", result.worst, ""));
  $("quality").replaceChildren(...parts.filter(Boolean));
}

function summary(result) {
  const left = result.left_out ? ` ${plural(result.left_out, "clip")} without sound or without video were left out.` : "";
  return `${plural(result.n_clips, "clip")}.${left} ${result.note ?? ""}`;
}

/** A bar from 0 to 1 with a tick where chance is. */
function bar(value, chance, side) {
  const track = el("span", { class: `bar ${side}`, "aria-hidden": "true" });
  const full = el("span", { class: "full" });
  full.style.width = `${100 * Math.max(0, Math.min(1, value))}%`;
  track.append(full);
  if (chance !== undefined && chance !== null) {
    const tick = el("span", { class: "chance" });
    tick.style.left = `${100 * Math.min(1, chance)}%`;
    track.append(tick);
  }
  return track;
}

function direction(name, figures) {
  const side = name.startsWith("audio") ? "heard" : "seen";
  const panel = el("section", { class: "panel" }, el("h2", {}, arrow(name)));
  if (figures.map !== undefined) {
    panel.append(
      el("p", { class: "big" }, el("span", { class: "figure" }, number(figures.map)),
        el("span", { class: "hint" }, ` MAP, same class; chance ${number(figures.map_chance)}`)),
      bar(figures.map, figures.map_chance, side));
  }
  const ks = Object.keys(figures).filter((key) => key.startsWith("recall@")).map((key) => Number(key.split("@")[1]));
  const rows = ks.sort((a, b) => a - b).map((k) => {
    const chance = figures[`recall_chance@${k}`];
    return el("tr", {}, el("th", { scope: "row" }, `paired item among the first ${k}`),
      el("td", {}, percent(figures[`recall@${k}`])), el("td", { class: "hint" }, `chance ${percent(chance)}`));
  });
  rows.push(el("tr", {}, el("th", { scope: "row" }, "median rank of the paired item"),
    el("td", {}, String(+figures.median_rank.toFixed(1))),
    el("td", { class: "hint" }, figures.gallery ? `of ${Math.round(figures.gallery)}` : "")));
  panel.append(el("table", { class: "plain short" },
    el("caption", { class: "unseen" }, `Recall, ${arrow(name)}`), el("tbody", {}, ...rows)));
  return panel;
}

function classes(rows) {
  const cell = (row, name) => el("td", {}, el("span", { class: "barcell" },
    bar(row[name], row.chance, name.startsWith("audio") ? "heard" : "seen"), el("span", {}, number(row[name]))));
  return el("section", { class: "panel" }, el("h2", {}, "By class"),
    el("p", { class: "hint" }, "Mean average precision of the queries of each class; the tick is chance."),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "By class" },
      el("table", { class: "perclass" },
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "class"), el("th", { scope: "col", class: "right" }, "clips"),
          ...DIRECTIONS.map((d) => el("th", { scope: "col" }, arrow(d))))),
        el("tbody", {}, ...rows.map((row) => el("tr", {},
          el("th", { scope: "row" }, el("bdi", {}, row.label)), el("td", { class: "right" }, String(row.n)),
          ...DIRECTIONS.map((d) => cell(row, d))))))));
}

function confusion(found) {
  const panel = el("section", { class: "panel" }, el("h2", {}, "Confusion between classes"),
    el("p", { class: "hint" }, `The share of each class (column) among the first ${found.k ?? 5} results for queries of a class (row).`));
  const box = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of confusion" });
  const fill = () => box.replaceChildren(heat(found[confused], confused));
  const group = el("fieldset", { class: "switch small" }, el("legend", { class: "unseen" }, "Direction"));
  for (const name of DIRECTIONS.filter((d) => found[d])) {
    group.append(el("label", {}, el("input", { type: "radio", name: "confused", value: name,
      checked: name === confused, onchange: () => { confused = name; fill(); } }), el("span", {}, arrow(name))));
  }
  fill();
  panel.append(group, box);
  return panel;
}

function heat({ labels, rows }, name) {
  const table = el("table", { class: `heat ${name.startsWith("audio") ? "heard" : "seen"}` },
    el("caption", { class: "unseen" }, `Shares of classes among the results, ${arrow(name)}`),
    el("thead", {}, el("tr", {}, el("td", {}),
      ...labels.map((label) => el("th", { scope: "col" }, el("span", {}, el("bdi", {}, label)))))));
  const body = el("tbody");
  rows.forEach((row, at) => {
    const line = el("tr", {}, el("th", { scope: "row" }, el("bdi", {}, labels[at])));
    row.forEach((share, to) => {
      const cell = el("td", { class: at === to ? "same" : "", title: `${labels[at]} → ${labels[to]}: ${percent(share)}` },
        share >= 0.005 ? String(Math.round(100 * share)) : el("span", { class: "unseen" }, "0"));
      cell.style.setProperty("--share", share.toFixed(3));
      line.append(cell);
    });
    body.append(line);
  });
  table.append(body);
  return table;
}

function queries(title, list, hint) {
  if (!list?.length) return null;
  return el("section", { class: "panel" }, el("h2", {}, title),
    hint ? el("p", { class: "hint" }, hint) : null,
    el("ol", { class: "queries" }, ...list.map((one) => el("li", {}, query(one)))));
}

function query(one) {
  const { clip, by } = one;
  const wanted = one.for;
  const figure = one.ap !== undefined && one.ap !== null ? `average precision ${number(one.ap)}`
    : one.rank ? `paired item at rank ${one.rank}` : "";
  const asked = el("div", { class: "query-clip" }, makeFace(clip, by),
    el("p", {}, el("strong", {}, clip.label ?? nameOf(clip.path)), el("br"),
      el("span", { class: "hint" }, `by its ${perceived[by] ?? by}${figure ? `; ${figure}` : ""}`)));
  const results = el("ol", { class: "strip", "aria-label": `Results for ${nameOf(clip.path)}` },
    ...one.answers.map((answer) => {
      const right = clip.label ? answer.label === clip.label : answer.id === clip.id;
      const word = right ? "right" : "another class";
      return el("li", { class: right ? "right" : "wrong" },
        makeFace(answer, wanted, { said: `, ${answer.label ?? ""}, ${word}` }),
        el("p", {}, icon(right ? "check" : "close"), el("span", {}, answer.label ?? nameOf(answer.path))));
    }));
  return el("div", { class: "case" }, asked, results);
}
