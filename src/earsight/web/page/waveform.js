// A clip's sound as bars on a canvas, with the place that is playing.

import * as api from "./api.js";

const STEP = 5; // CSS pixels from bar to bar
const BAR = 3;
const EDGE = 8;
// On the night of a card, which is the same in light and dark.
const SHADES = [[92, 160, 255], [122, 205, 176], [250, 200, 106], [255, 138, 92]];
const REST = "#565c6e"; // what has not played yet

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    load(entry.target);
  }
}, { rootMargin: "200px" });

const sized = new ResizeObserver((entries) => entries.forEach(({ target }) => draw(target)));

const state = new WeakMap(); // canvas → {id, peaks, at}

/** Make the canvas of one clip; its sound is fetched when it comes into view. */
export function waveform(id) {
  const canvas = document.createElement("canvas");
  canvas.className = "wave";
  canvas.setAttribute("aria-hidden", "true");
  state.set(canvas, { id, peaks: null, at: 0 });
  seen.observe(canvas);
  sized.observe(canvas);
  return canvas;
}

/** Show how far it has played, 0 to 1. */
export function playedTo(canvas, at) {
  const one = state.get(canvas);
  if (!one) return;
  one.at = at;
  draw(canvas);
}

async function load(canvas) {
  const one = state.get(canvas);
  try {
    one.peaks = (await api.waveform(one.id)).peaks;
    canvas.dataset.drawn = "yes";
  } catch {
    one.peaks = []; // a flat line: nothing is to be seen of it
  }
  draw(canvas);
}

function draw(canvas) {
  const { peaks, at } = state.get(canvas);
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || !height || peaks === null) return;
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const ink = canvas.getContext("2d");
  ink.scale(scale, scale);
  const bars = Math.max(1, Math.floor((width - 2 * EDGE) / STEP));
  const loudest = Math.max(...peaks, 1e-6);
  for (let bar = 0; bar < bars; bar += 1) {
    const from = Math.floor((bar * peaks.length) / bars);
    const to = Math.max(from + 1, Math.floor(((bar + 1) * peaks.length) / bars));
    const peak = peaks.length ? Math.max(...peaks.slice(from, to)) : 0;
    const loud = (peak / loudest) ** 0.7; // what is quiet stays visible
    const half = Math.max(1.5, loud * (height / 2 - 12));
    ink.fillStyle = at > 0 && bar / bars > at ? REST : shade(loud);
    ink.beginPath();
    ink.roundRect(EDGE + bar * STEP, height / 2 - half, BAR, 2 * half, BAR / 2);
    ink.fill();
  }
  if (at > 0) {
    ink.fillStyle = "#fff";
    ink.fillRect(EDGE + at * bars * STEP, 4, 1.5, height - 8);
  }
}

/** From cool where it is quiet to warm where it is loud. */
function shade(loud) {
  const place = loud * (SHADES.length - 1);
  const from = Math.min(Math.floor(place), SHADES.length - 2);
  const mixed = SHADES[from].map((low, at) => Math.round(low + (place - from) * (SHADES[from + 1][at] - low)));
  return `rgb(${mixed.join(" ")})`;
}
