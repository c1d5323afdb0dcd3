// The map of the joint space: legend, the clip that was chosen, the query, and the keys.

import * as api from "./api.js";
import { makeCard } from "./card.js";
import { paletteFor } from "./colours.js";
import { $, after, el, nameOf, perceived, plural, tell } from "./dom.js";
import { Projection } from "./projection.js";

let projection = null;
let onSearch = null;
let points = null; // as the API gives them, in the order of the projection
let hidden = new Set(); // numbers of classes that the legend switched off
let palette = null;
let fit = { x: 0, y: 0, scale: 1, reach: [1, 1] }; // from the API's projection into −1…1
let query = null; // {point, name} of the last answer
let stale = true;
const names = new Map(); // id → name of the clips that were pointed at

export function setUpMap(search) {
  onSearch = search;
  projection = new Projection($("canvas"), { hover, choose });
  $("zoom-in").addEventListener("click", () => projection.zoomBy(1.5));
  $("zoom-out").addEventListener("click", () => projection.zoomBy(1 / 1.5));
  $("zoom-all").addEventListener("click", () => projection.all());
  for (const modality of ["audio", "visual"]) $(`show-${modality}`).addEventListener("change", show);
  $("canvas").addEventListener("keydown", onKey);
}

/** The clips have changed: fetch the map again when it is next looked at. */
export function mapIsStale() {
  stale = true;
  names.clear();
}

export function setMapQuery(point, name) {
  query = point ? { point, name } : null;
  placeQuery();
}

export function recolourMap() {
  if (points) show();
}

/** Show the view; fetches the points the first time. */
export async function openMap(info) {
  if (!stale) {
    projection.redraw();
    return;
  }
  tell($("map-failed"), "");
  $("map-note").textContent = "Drawing the map …";
  let found;
  try {
    found = await api.map();
  } catch (error) {
    $("map-note").textContent = "";
    tell($("map-failed"), error.message);
    return;
  }
  stale = false;
  points = found.points.filter((point) => point.modality in perceived);
  palette = paletteFor(Object.keys(info.labels));
  hidden = new Set();
  const share = Math.round(100 * found.explained);
  const sample = found.total > found.points.length ? `, a sample of ${found.total.toLocaleString("en")}` : "";
  $("map-note").textContent = `${plural(points.length, "point")}${sample}. The first two principal components hold ${share} % of the variance, so points that are close here may be far apart in the joint space.`;
  legend();
  spread();
  show();
  placeQuery();
}

function spread() {
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  const range = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
  const [[left, right], [low, high]] = [range(xs), range(ys)];
  const scale = 2 / Math.max(right - left, high - low, 1e-9);
  const reach = [right - left, high - low].map((wide) => Math.max(0.05, (wide * scale) / 2));
  fit = { x: (left + right) / 2, y: (low + high) / 2, scale, reach };
}

const place = (x, y) => [(x - fit.x) * fit.scale, (y - fit.y) * fit.scale];

function show() {
  const n = points.length;
  const made = { n, x: new Float32Array(n), y: new Float32Array(n), group: new Uint8Array(n),
    round: new Uint8Array(n), shown: new Uint8Array(n), reach: fit.reach,
    colours: palette.colours() };
  const wanted = { audio: $("show-audio").checked, visual: $("show-visual").checked };
  points.forEach((point, i) => {
    [made.x[i], made.y[i]] = place(point.x, point.y);
    made.group[i] = palette.group(point.label);
    made.round[i] = point.modality === "audio" ? 1 : 0;
    made.shown[i] = (wanted[point.modality] ?? true) && !hidden.has(made.group[i]) ? 1 : 0;
  });
  const { chosen } = projection;
  projection.set(made);
  if (chosen >= 0 && chosen < n && made.shown[chosen]) projection.chosen = chosen;
  for (const swatch of $("classes").querySelectorAll("[data-group]")) {
    swatch.style.background = made.colours[swatch.dataset.group];
  }
}

function legend() {
  const counts = new Map();
  for (const point of points) {
    const group = palette.group(point.label);
    counts.set(group, (counts.get(group) || 0) + 1);
  }
  const named = palette.ranked.map((name, group) => [name, group]);
  named.push([palette.ranked.length < palette.rest ? "no class" : "other classes, or none", palette.rest]);
  const entries = named.filter(([, group]) => counts.has(group)).map(([name, group]) => {
    const box = el("input", { type: "checkbox", checked: true, onchange: () => {
      if (box.checked) hidden.delete(group);
      else hidden.add(group);
      show();
    } });
    return el("label", { class: "check" }, box, el("span", { class: "swatch", "data-group": group }),
      el("bdi", {}, name));
  });
  $("classes").replaceChildren($("classes").firstElementChild, ...entries);
}

function placeQuery() {
  if (!projection) return;
  if (query && points) {
    const [x, y] = place(...query.point);
    projection.query = { x, y, name: query.name };
  } else {
    projection.query = null;
  }
  projection.redraw();
}

const described = (point, name) =>
  [name, perceived[point.modality], point.label].filter(Boolean).join(", ");

/** Tell what a point is: at once by its class, and by its name once that is known. */
function describe(point, told) {
  const clip = names.get(point.id);
  told(described(point, clip));
  if (clip) return;
  api.clip(point.id).then((found) => {
    names.set(point.id, nameOf(found.path));
    told(described(point, names.get(point.id)));
  }).catch(() => {}); // the clip went meanwhile; a click on it says so
}

const describeLater = after(120, describe); // not for every point that the mouse passes

function hover(index, px, py) {
  const tip = $("tip");
  tip.hidden = index < 0;
  $("canvas").classList.toggle("over", index >= 0);
  if (index < 0) return;
  const point = points[index];
  if (tip.dataset.index !== String(index)) {
    tip.dataset.index = index;
    tip.textContent = described(point, names.get(point.id));
    describeLater(point, (words) => { if (tip.dataset.index === String(index)) tip.textContent = words; });
  }
  const room = $("projection").clientWidth;
  tip.style.left = `${Math.min(px + 14, Math.max(4, room - tip.offsetWidth - 4))}px`;
  tip.style.top = `${Math.max(4, py - 34)}px`;
}

/** A click or Enter: the clip comes into the side panel and plays. */
async function choose(index) {
  if (index < 0) return;
  pointAt(index);
  const point = points[index];
  let clip;
  try {
    clip = await api.clip(point.id);
  } catch (error) {
    tell($("map-failed"), error.message);
    return;
  }
  const card = makeCard(clip, point.modality, onSearch);
  $("map-clip").replaceChildren(card);
  card.querySelector(".face").click();
}

function pointAt(index) {
  projection.chosen = index;
  projection.reveal(index);
  projection.redraw();
  describe(points[index], (words) => { if (projection.chosen === index) $("map-said").textContent = words; });
}

const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  const arrow = ARROWS[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (arrow && event.shiftKey) projection.panBy(-60 * arrow[0], -60 * arrow[1]);
  else if (arrow) step(arrow);
  else if (event.key === "+" || event.key === "=") projection.zoomBy(1.5);
  else if (event.key === "-") projection.zoomBy(1 / 1.5);
  else if (event.key === "0") projection.all();
  else if (event.key === "Enter" || event.key === " ") choose(projection.chosen);
  else return;
  event.preventDefault();
}

/** From the chosen point to its neighbour; the first step goes to the one nearest the middle. */
function step([dx, dy]) {
  const { clientWidth: width, clientHeight: height } = $("canvas");
  const index = projection.chosen < 0
    ? projection.nearest(width / 2, height / 2, Infinity)
    : projection.next(projection.chosen, dx, dy);
  if (index >= 0) pointAt(index);
}
