// How well each second of a clip fits, as a small area chart that is also a slider of its time.

import { clock } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const TALL = 100; // units of the drawing; its width is in seconds
const STEPS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };

const shape = (name, attributes) => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};

export class Timeline {
  /**
   * @param box The element that is the slider.
   * @param jump Called with seconds, and whether it is to play from there.
   * @param toggle Called to play or to pause.
   */
  constructor(box, jump, toggle) {
    Object.assign(this, { box, jump, toggle, seconds: 0, now: 0, times: [], scores: [], line: null });
    box.addEventListener("click", (event) => {
      const frame = box.getBoundingClientRect();
      this.go(((event.clientX - frame.left) / frame.width) * this.seconds, true);
    });
    box.addEventListener("keydown", (event) => this.key(event));
  }

  /** Show an empty chart of a clip so long. */
  clear(seconds) {
    Object.assign(this, { seconds, now: 0, times: [], scores: [], line: null });
    this.box.replaceChildren();
    this.box.setAttribute("aria-valuemin", "0");
    this.box.setAttribute("aria-valuemax", seconds.toFixed(1));
    this.tell();
  }

  /** Draw, marked from start to end where that is a part of the clip; returns the best second, {time, score}, or null where there is none. */
  draw({ times, scores, step }, { start, end, seconds }, isPart) {
    const known = scores.filter((score) => score !== null);
    this.clear(Math.max(seconds ?? 0, (times.at(-1) ?? 0) + step / 2));
    Object.assign(this, { times, scores });
    if (!known.length) return null;
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const spread = Math.max(high - low, 1e-3);
    const y = (score) => TALL - 6 - ((score - low) / spread) * (TALL - 14);
    const drawing = shape("svg", { viewBox: `0 0 ${this.seconds} ${TALL}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    if (isPart) {
      drawing.append(shape("rect", { class: "moment", x: start, y: 0, width: Math.min(end, this.seconds) - start, height: TALL }));
    }
    for (const run of runs(times, scores, step, this.seconds)) {
      const top = run.map(([time, score]) => `${time.toFixed(2)} ${y(score).toFixed(2)}`).join("L");
      drawing.append(shape("path", { class: "area", d: `M${run[0][0].toFixed(2)} ${TALL}L${top}L${run.at(-1)[0].toFixed(2)} ${TALL}Z` }));
      drawing.append(shape("path", { class: "curve", d: `M${top}` }));
    }
    this.line = shape("line", { class: "now", y1: 0, y2: TALL });
    drawing.append(this.line);
    this.box.replaceChildren(drawing);
    this.playing(start || 0);
    const best = scores.indexOf(high);
    return { time: times[best], score: high };
  }

  /** Show which second plays. */
  playing(seconds) {
    this.now = seconds;
    if (this.line) for (const end of ["x1", "x2"]) this.line.setAttribute(end, seconds.toFixed(2));
    this.tell();
  }

  tell() {
    const at = this.scores[this.times.findIndex((time) => Math.abs(time - this.now) <= 0.5)];
    this.box.setAttribute("aria-valuenow", this.now.toFixed(1));
    this.box.setAttribute("aria-valuetext", at === null || at === undefined ? clock(this.now)
      : `${clock(this.now)}, similarity ${at.toFixed(2).replace("-", "−")}`);
  }

  go(seconds, plays) {
    const within = Math.min(Math.max(seconds, 0), this.seconds);
    this.playing(within);
    this.jump(within, plays);
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own
    const step = STEPS[event.key];
    if (step) this.go(this.now + step, false);
    else if (event.key === "Home") this.go(0, false);
    else if (event.key === "End") this.go(this.seconds, false);
    else if (event.key === "Enter" || event.key === " ") this.toggle();
    else return;
    event.preventDefault();
  }
}

/** The stretches that have a score, each as [time, score] from its beginning to its end. */
function runs(times, scores, step, seconds) {
  const found = [];
  let run = [];
  const close = () => {
    if (!run.length) return;
    const [first, last] = [run[0], run.at(-1)];
    found.push([[Math.max(0, first[0] - step / 2), first[1]], ...run, [Math.min(seconds, last[0] + step / 2), last[1]]]);
    run = [];
  };
  times.forEach((time, at) => {
    if (scores[at] === null) close();
    else run.push([Math.min(time, seconds), scores[at]]);
  });
  close();
  return found;
}
